"""The chapters of a report: what else is measured of an evaluated model, each with a page of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.errors import DataError
from melascope.evaluate import cases, doubt, hold_out, lesion, stress
from melascope.evaluate.predictions import Evaluation
from melascope.prepare.tree import open_trees
from melascope.progress import Progress, silent
from melascope.report import card as card_page
from melascope.report import cases as cases_page
from melascope.report import doubt as doubt_page
from melascope.report import lesion as lesion_page
from melascope.report import stress as stress_page
from melascope.report.page import renew

CHAPTERS = ("stress", "lesion", "doubt", "cases", "card")
"""The card is last, since it names what the others measured."""
_SHOWN = {"stress", "lesion", "doubt"}  # in report.html


@dataclass(frozen=True)
class Chapter:
    """What one chapter measured."""

    results: Any = None
    """What its JSON file holds; of `cases`, `melascope.evaluate.cases.Findings`; of `card`, None."""
    pages: tuple[Path, ...] = ()
    reason: str | None = None
    """Why it was left out."""


def check(
    evaluation: Evaluation,
    chapters: Sequence[str] = (),
    *,
    masks: str | Path | None = None,
    images: int | None = None,
    band: tuple[float, float] | None = None,
    hold_out_file: Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Chapter]:
    """Measure chapters, write their pages into the report folder, and renew `report.html`.

    Args:
        evaluation: a report folder, read.
        chapters: names out of `CHAPTERS`; by default all, and those that cannot be measured are left out.
        masks: folder or ZIP of lesion masks, named by image id; for `lesion`.
        images: at most this many for `stress` and for `lesion`; None for their own numbers.
        band: two probabilities between which a decision is weak, for `cases`; None for the model's prediction sets.
        hold_out_file: `hold-out.json` of the same settings and data, for `card`.
        seed: of everything random.
        progress: called with (what, done, total).

    Raises:
        DataError: if a chapter that is named cannot be measured.
        ModelError: if the model cannot be used.
    """
    if unknown := sorted(set(chapters) - set(CHAPTERS)):
        raise DataError(f"{unknown[0]}: no such chapter; there are {', '.join(CHAPTERS)}")
    shared: dict[str, Any] = {"seed": seed, "progress": progress}
    sized = shared if images is None else {**shared, "images": images}
    measures: dict[str, Callable[[], Chapter]] = {
        "stress": lambda: _stress(evaluation, **sized),
        "lesion": lambda: _lesion(evaluation, masks, **sized),
        "doubt": lambda: _doubt(evaluation, **shared),
        "cases": lambda: _cases(evaluation, band, progress),
        "card": lambda: _card(evaluation, hold_out_file),
    }
    done: dict[str, Chapter] = {}
    try:
        for name in CHAPTERS:
            if name in (chapters or CHAPTERS):
                try:
                    done[name] = measures[name]()
                except DataError as error:
                    if chapters:
                        raise
                    done[name] = Chapter(reason=str(error))
    finally:
        if any(name in _SHOWN and chapter.pages for name, chapter in done.items()):
            renew(evaluation.folder, progress)
    return done


def _stress(evaluation: Evaluation, **options: Any) -> Chapter:
    results, examples = stress.measure(evaluation, **options)
    return Chapter(results, (stress_page.write(results, examples, evaluation.folder),))


def _lesion(evaluation: Evaluation, masks: str | Path | None, **options: Any) -> Chapter:
    folder = evaluation.folder
    if masks is None:
        raise DataError("lesion masks are needed; give --masks FOLDER_OR_ZIP")
    members = [m.locator for tree in open_trees(masks) for m in (*tree.images, *tree.passed_over)]
    results, examples = lesion.measure(evaluation, members, **options)
    return Chapter(results, (lesion_page.write(results, examples, folder),))


def _doubt(evaluation: Evaluation, **options: Any) -> Chapter:
    results = doubt.measure(evaluation, **options)
    return Chapter(results, (doubt_page.write(results, evaluation.folder),))


def _cases(evaluation: Evaluation, band: tuple[float, float] | None, progress: Progress) -> Chapter:
    findings = cases.measure(evaluation, band=band)
    return Chapter(findings, (cases_page.write(findings, evaluation, band, progress),))


def _card(evaluation: Evaluation, hold_out_file: Path | None) -> Chapter:
    known = hold_out.read(hold_out_file, evaluation.card()) if hold_out_file else None
    return Chapter(None, card_page.write(evaluation, hold_out=known))
