"""`melascope check`: the chapters of a report."""

import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

import melascope as ms
from melascope.cli.options import Band, HoldOut, Masks, Report, Seed, option
from melascope.cli.progress import progress_bar
from melascope.cli.table import table


class Chapter(StrEnum):
    """A chapter of a report."""

    STRESS = "stress"
    LESION = "lesion"
    DOUBT = "doubt"
    CASES = "cases"
    CARD = "card"


def check(
    report: Report,
    chapters: Annotated[
        list[Chapter] | None,
        typer.Argument(metavar="CHAPTER", help="stress, lesion, doubt, cases, card.", show_choices=False),
    ] = None,
    masks: Masks = None,
    images: Annotated[
        int | None,
        option("N", "Maximum number of images (default: 400 for stress, 2000 for lesion).", min=20),
    ] = None,
    band: Band = None,
    hold_out: HoldOut = None,
    seed: Seed = 0,
) -> None:
    """Add chapters to a report: all of them, or those that you name.

    stress: change images as a clinic might (hair, ruler, ink, gel, light, blur, framing), and count the labels that
    change.

    lesion: hide the lesions, then hide all else, and see what the model still knows; test its heat maps. Needs --masks.

    doubt: compare measures of doubt by the errors that they catch at equal referral rate.

    cases: show where the model is unsure or wrong, or where the label may be.

    card: write a card of the model, and where TRIPOD+AI, STARD-AI and CLAIM 2024 are answered.

    Each chapter writes a page into the report folder, and report.html shows what is there.

    Exit code 1: an image that was evaluated can no longer be read; each is named.

    Examples:
        $ melascope check report/
        $ melascope check report/ stress doubt
        $ melascope check report/ lesion --masks masks.zip
    """
    opened = ms.Report(report)
    with progress_bar() as progress:
        done = opened.check(
            *(name.value for name in chapters or ()),
            masks=masks,
            images=images,
            band=limits(band),
            hold_out=hold_out,
            seed=seed,
            progress=progress,
        )
    show(done)


def limits(band: str | None) -> tuple[float, float] | None:
    """The two probabilities of `--band`."""
    if band is None:
        return None
    try:
        low, high = map(float, band.split(","))
    except ValueError:
        raise ms.DataError(f"--band {band}: give two probabilities, such as 0.45,0.55") from None
    return low, high


def show(done: dict[str, Any]) -> None:
    """Print what chapters measured; exit with code 1 if an image can no longer be read."""
    lost: tuple[str, ...] = ()
    for number, (name, chapter) in enumerate(done.items()):
        if chapter.reason:
            sys.stderr.write(f"{name} was left out: {chapter.reason}\n")
            continue
        for line in ("",) * (number > 0), _LINES[name](chapter.results), chapter.pages:
            for each in line:
                typer.echo(each)
        if name == "cases":
            lost = chapter.results.gone
    for line in lost:
        sys.stderr.write(f"{line}\n")
    if lost:
        raise typer.Exit(1)


def _stress(results: dict[str, Any]) -> Iterator[str]:
    rows = (
        (row["change"], row["description"], ms.Figure.of(row["flipped"]), ms.Figure.of(row["roc_auc_change"]))
        for row in results["changes"]
    )
    yield from table([("change", "level", "labels that change", "change of ROC-AUC"), *rows])


def _lesion(results: dict[str, Any]) -> Iterator[str]:
    from melascope.evaluate.lesion import PARTS

    for target, parts in results["parts"].items():
        if parts["reason"]:
            yield f"{target}: {parts['reason']}"
            continue
        rows = [(PARTS[name], ms.Figure.of(parts[name])) for name in PARTS]
        rest = f"{ms.Figure.of(parts['rest']):.2f}"
        yield f"ROC-AUC for {target}, {parts['n']} images"
        yield from (f"  {line}" for line in table([*rows, ("left without the lesion", rest)]))
    everyone = results["maps"][0]
    names = {
        "inside": "heat in the lesion",
        "area": "area of the lesion",
        "hit": "hottest place in the lesion",
    }
    yield from table(
        [
            *((text, ms.Figure.of(everyone[name])) for name, text in names.items()),
            *(
                (f"{name}, heat less chance", ms.Figure.of(results["faithful"][name]))
                for name in ("deletion", "insertion")
            ),
        ]
    )
    for row in results["randomised"] or []:
        yield f"{row['layers']:4} of {row['of']} layers shuffled: maps correlate {row['correlation']:.2f}"


def _doubt(results: dict[str, Any]) -> Iterator[str]:
    rates = [f"{100 * float(rate):.0f} %" for rate in results["methods"][0]["caught"]]
    rows = (
        (
            row["name"],
            *(f"{100 * figure['value']:.1f} %" for figure in row["caught"].values()),
            ms.Figure.of(row["area"]),
        )
        for row in results["methods"]
    )
    yield from table([("errors caught at a referral of", *rates, "area"), *rows])


def _cases(findings: Any) -> Iterator[str]:
    rows = {
        "weak decisions": findings.weak,
        "false negatives": findings.missed,
        "false positives": findings.alarms,
        "suspected labels": findings.suspected,
    }
    yield from table([(name, len(found)) for name, found in rows.items()])


_LINES: dict[str, Callable[[Any], Iterable[str]]] = {
    "stress": _stress,
    "lesion": _lesion,
    "doubt": _doubt,
    "cases": _cases,
    "card": lambda _: (),
}
