"""What an audit means, in sentences for a person who does not program.

The limits are explained in docs/audit.md.
"""

from typing import Any

BAD, WARN, GOOD = "bad", "warn", "good"

VOID = 0.80  # lower end of a pixel probe's ROC-AUC from which on the data supports no claim
SHORTCUT = 0.65  # from which on there is a shortcut to be watched
TELLING = 0.75  # lower end of the ROC-AUC of source and file
EXTREME = 0.02  # a source of which fewer, or all but fewer, are positive tells the label by itself
ENOUGH = 50  # images of a source to say so
FEW = 100  # positives of the rarer class below which figures will be rough


def verdicts(found: dict[str, Any]) -> list[dict[str, str]]:
    """Judge what an audit found, worst first.

    Returns:
        For each verdict `level` (bad, warn or good), `title` and `text`, one or two sentences with the figures.
    """
    said = [
        *_shortcuts(found),
        *_leaks(found),
        *_sources(found),
        *_copies(found),
        *_amount(found),
        *_splits(found),
    ]
    order = (BAD, WARN, GOOD)
    return [
        {"level": level, "title": title, "text": text}
        for level, title, text in sorted(said, key=lambda verdict: order.index(verdict[0]))
    ]


Verdict = tuple[str, str, str]


def _shortcuts(found: dict[str, Any]) -> list[Verdict]:
    said: list[Verdict] = []
    for target, probes in found["probes"].items():
        for probe in probes:
            by_file = probe["name"] == "file"
            figure = probe["roc_auc" if by_file else "within_sources"]
            if figure["low"] is None:
                continue
            told = f"ROC-AUC {figure['value']:.2f}, 95 % interval {figure['low']:.2f} to {figure['high']:.2f}"
            if by_file:
                if figure["low"] >= TELLING:
                    said.append(
                        (
                            WARN,
                            f"Source and file tell the label ({target})",
                            f"Source, image size and file size alone predict it ({told}). A figure over all sources "
                            "mixes recognising the clinic with recognising the lesion: read the figures per source.",
                        )
                    )
            elif figure["low"] >= VOID:
                said.append(
                    (
                        BAD,
                        "This data cannot support a claim",
                        f"Whether a lesion is {target} can be guessed from {probe['what']}, without seeing the lesion "
                        f"({told}). A network trained and tested on this data may be praised for the same trick.",
                    )
                )
            elif figure["low"] >= SHORTCUT:
                said.append(
                    (
                        WARN,
                        f"There is a shortcut ({target})",
                        f"It can be told from {probe['what']}, better than it should be ({told}; chance is 0.5). "
                        "Test the model with that part hidden, or on images of another clinic.",
                    )
                )
    if any(found["probes"].values()) and not said:
        said.append((GOOD, "No shortcut found", "Neither corners, border nor file tell the label by much."))
    return said


def _leaks(found: dict[str, Any]) -> list[Verdict]:
    said: list[Verdict] = []
    for split in ("test", "validation"):
        leak = (found["leaks"] or {}).get(split)
        if leak and leak["any"]:
            ways = ", ".join(f"{n:,} by {name}" for name, n in leak["by"].items() if n)
            said.append(
                (
                    BAD,
                    f"The {split} images that came with this data leak",
                    f"{leak['any']:,} of {leak['images']:,} {split} images ({leak['any'] / leak['images']:.1%}) are "
                    f"also in {' or '.join(leak['with'])} ({ways}). Figures on that {split} split are void.",
                )
            )
    return said


def _sources(found: dict[str, Any]) -> list[Verdict]:
    extreme = [
        f"{row['source']} ({row['malignant']['positive']:,} of {row['malignant']['n']:,} malignant)"
        for row in found["sources"]
        if row["malignant"]["n"] >= ENOUGH and not EXTREME <= row["malignant"]["share"] <= 1 - EXTREME
    ]
    if not extreme or len(found["sources"]) == 1:
        return []
    text = f"In {'; '.join(extreme)} nearly all images are of one class, so recognising the source is half the answer."
    return [(WARN, "A source gives the label away", text)]


def _copies(found: dict[str, Any]) -> list[Verdict]:
    clash = found["duplicates"]["conflicting_labels"]["n"]
    if not clash:
        return []
    text = f"{clash:,} pairs of copies have different labels: at least one of each pair is wrong."
    return [(WARN, "Copies contradict each other", text)]


def _amount(found: dict[str, Any]) -> list[Verdict]:
    said: list[Verdict] = []
    counts = found["counts"]["malignant"]
    rarer = min(counts.get("malignant", 0), counts.get("not malignant", 0))
    if rarer < FEW:
        said.append(
            (WARN, "Few images of one class", f"Only {rarer:,}: every figure will have a wide interval.")
        )
    unreadable = sum(
        entry["n"] for reason, entry in found["excluded"].items() if reason.startswith("unreadable")
    )
    if unreadable:
        said.append((WARN, "Some files cannot be read", f"{unreadable:,} are excluded and listed below."))
    return said


def _splits(found: dict[str, Any]) -> list[Verdict]:
    splits = found["splits"]
    if splits["groups_in_two_splits"]:
        text = f"{splits['groups_in_two_splits']:,} groups span two splits, as --allow-leaks permits. Tests are void."
        return [(BAD, "The splits in use leak", text)]
    text = f"No patient, lesion or copy is in two splits ({splits['groups']:,} groups)."
    return [(GOOD, "The splits made here do not leak", text)]
