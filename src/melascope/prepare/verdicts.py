"""What an audit means, in sentences for a person who does not program.

The limits are explained in docs/audit.md.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from melascope.intervals import Figure

BAD, WARN, GOOD = "bad", "warn", "good"

VOID = 0.80  # lower end of a pixel probe's ROC-AUC from which on the data supports no claim
SHORTCUT = 0.65  # from which on there is a shortcut to watch
SOURCE_AND_FILE = 0.75  # the same for the probe of source and file
EXTREME = 0.02  # share of positives, or of negatives, below which the source alone predicts the label
MIN_OF_SOURCE = 50  # images of a source to say so
MIN_OF_CLASS = 100  # images of the rarer class below which every interval is wide


class Verdict(NamedTuple):
    """One thing that an audit shows."""

    level: str
    """`BAD`, `WARN` or `GOOD`."""
    title: str
    text: str
    """One or two sentences with the figures."""


def verdicts(audit: Mapping[str, Any]) -> list[dict[str, str]]:
    """Say what an audit means, the worst first.

    Args:
        audit: what `audit.measure` returns, apart from the verdicts.

    Returns:
        The fields of each `Verdict`.
    """
    order = (BAD, WARN, GOOD)
    every = [
        *_shortcuts(audit["probes"]),
        *_leaks(audit["leaks"] or {}),
        *_sources(audit["sources"]),
        *_copies(audit["duplicates"]["conflicting_labels"]["n"]),
        *_amount(audit["counts"]["malignant"], audit["excluded"]),
        *_splits(audit["splits"]),
    ]
    return [verdict._asdict() for verdict in sorted(every, key=lambda verdict: order.index(verdict.level))]


def _shortcuts(probes: Mapping[str, list[dict[str, Any]]]) -> Iterator[Verdict]:
    warned = False
    for target, results in probes.items():
        for probe in results:
            verdict = _shortcut(target, probe)
            if verdict is not None:
                warned = True
                yield verdict
    if any(probes.values()) and not warned:
        text = "Neither corners, border nor source and file predict the label well."
        yield Verdict(GOOD, "No shortcut detected", text)


def _shortcut(target: str, probe: Mapping[str, Any]) -> Verdict | None:
    by_file = probe["name"] == "file"
    figure = Figure.of(probe["roc_auc" if by_file else "within_sources"])
    if figure.low is None:
        return None
    measured = f"ROC-AUC {figure:.2f}, where 0.5 is chance"
    if by_file:
        if figure.low < SOURCE_AND_FILE:
            return None
        return Verdict(
            WARN,
            f"Source and file predict the label ({target})",
            f"Source, image size and file size alone predict it: {measured}. A figure over all sources mixes "
            "recognising the clinic with recognising the lesion: read the figures per source.",
        )
    if figure.low >= VOID:
        return Verdict(
            BAD,
            "This data cannot support a claim",
            f"Whether a lesion is {target} can be predicted from {probe['what']} alone, without seeing the lesion: "
            f"{measured}. A network trained and tested on this data may be praised for the same trick.",
        )
    if figure.low >= SHORTCUT:
        return Verdict(
            WARN,
            f"There is a shortcut ({target})",
            f"The label can be predicted from {probe['what']} alone: {measured}. "
            "Test the model with that part hidden, or on images of another clinic.",
        )
    return None


def _leaks(leaks: Mapping[str, Any]) -> Iterator[Verdict]:
    for split in ("test", "validation"):
        leak = leaks.get(split)
        if leak and leak["any"]:
            ways = ", ".join(f"{n:,} by {name}" for name, n in leak["by"].items() if n)
            yield Verdict(
                BAD,
                f"The {split} images that came with this data leak",
                f"{leak['any']:,} of {leak['images']:,} {split} images ({leak['any'] / leak['images']:.1%}) are "
                f"also in {' or '.join(leak['with'])} ({ways}). Figures on that {split} split are void.",
            )


def _sources(sources: list[dict[str, Any]]) -> Iterator[Verdict]:
    extreme = [
        f"{row['source']} ({row['malignant']['positive']:,} of {row['malignant']['n']:,} malignant)"
        for row in sources
        if row["malignant"]["n"] >= MIN_OF_SOURCE and not EXTREME <= row["malignant"]["share"] <= 1 - EXTREME
    ]
    if extreme and len(sources) > 1:
        text = (
            f"In {'; '.join(extreme)} nearly all images are of one class, so the source is half the answer."
        )
        yield Verdict(WARN, "A source gives the label away", text)


def _copies(conflicting: int) -> Iterator[Verdict]:
    if conflicting:
        text = f"{conflicting:,} pairs of copies have different labels: at least one of each pair is wrong."
        yield Verdict(WARN, "Copies contradict each other", text)


def _amount(counts: Mapping[str, int], excluded: Mapping[str, Any]) -> Iterator[Verdict]:
    rarer = min(counts.get("malignant", 0), counts.get("not malignant", 0))
    if rarer < MIN_OF_CLASS:
        yield Verdict(WARN, "Few images of one class", f"Only {rarer:,}: every figure has a wide interval.")
    unreadable = sum(entry["n"] for reason, entry in excluded.items() if reason.startswith("unreadable"))
    if unreadable:
        yield Verdict(WARN, "Some files cannot be read", f"{unreadable:,} are excluded and listed below.")


def _splits(splits: Mapping[str, Any]) -> Iterator[Verdict]:
    if leaking := splits["groups_in_two_splits"]:
        text = f"{leaking:,} groups span two splits, as --allow-leaks permits. Tests are void."
        yield Verdict(BAD, "The splits in use leak", text)
    else:
        text = f"No patient, lesion or copy is in two splits ({splits['groups']:,} cases)."
        yield Verdict(GOOD, "The splits made here do not leak", text)
