"""Evaluating models, from Python."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melascope.api.data import Dataset
from melascope.api.model import Model
from melascope.api.paths import StrPath
from melascope.errors import ModelError
from melascope.intervals import Figure
from melascope.model.card import Card
from melascope.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from melascope.report.check import Chapter


class Figures:
    """Figures by name, as `metrics.json` has them: `figures.roc_auc` is a `Figure`.

    >>> figures = Figures("malignant", {"n": 120, "roc_auc": {"value": 0.92, "low": 0.87, "high": 0.97}})
    >>> print(figures.n, figures.roc_auc)
    120 0.920 (0.870 to 0.970)
    >>> figures.roc_auk
    Traceback (most recent call last):
    AttributeError: malignant has no figure roc_auk; it has n, roc_auc
    """

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self._name, self._document = name, document

    def __getattr__(self, name: str) -> Any:
        try:
            value = self._document[name]
        except KeyError:
            reason = self._document.get("reason") or f"it has {', '.join(self._document)}"
            raise AttributeError(f"{self._name} has no figure {name}; {reason}") from None
        if not isinstance(value, dict):
            return value
        return Figure.of(value) if "value" in value else Figures(f"{self._name}.{name}", value)

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._document]

    def __repr__(self) -> str:
        return f"<Figures {self._name}: {', '.join(self._document)}>"


class Report:
    """A report folder, made by `evaluate`."""

    def __init__(self, folder: StrPath) -> None:
        from melascope.evaluate.predictions import Evaluation

        self.evaluation = Evaluation.read(Path(folder))
        """What the face hides: the folder, read."""

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Report({str(self.folder)!r})"

    @property
    def folder(self) -> Path:
        """The report folder."""
        return self.evaluation.folder

    @property
    def page(self) -> Path:
        """The report as a page for a browser."""
        from melascope.evaluate.predictions import PAGE

        return self.folder / PAGE

    @property
    def predictions(self) -> "pd.DataFrame":
        """One row for each image: truth, probability, status; see `melascope.evaluate.predictions.predict`."""
        return self.evaluation.predictions

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; see `melascope.evaluate.evaluation`."""
        return self.evaluation.metrics

    @property
    def warnings(self) -> list[str]:
        """What to read before any figure."""
        warnings: list[str] = self.metrics["warnings"]
        return warnings

    @property
    def malignant(self) -> Figures:
        """Figures for any malignant lesion, such as `roc_auc` and `at_threshold.sensitivity`."""
        return Figures("malignant", self.metrics["targets"]["malignant"])

    @property
    def melanoma(self) -> Figures:
        """Figures for melanoma."""
        return Figures("melanoma", self.metrics["targets"]["melanoma"])

    def check(
        self,
        *chapters: str,
        masks: StrPath | None = None,
        images: int | None = None,
        band: tuple[float, float] | None = None,
        hold_out: StrPath | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> "dict[str, Chapter]":
        """Measure chapters of the report, write their pages, and renew the report.

        Args:
            *chapters: `stress` (hair, ink, light, blur), `lesion` (hide the lesion, test the heat maps), `doubt` (which
                decisions to look at again), `cases` (weak decisions and errors), `card` (the model's card, and
                reporting guidelines). None: all that apply.
            masks: folder or ZIP of lesion masks, named by image id; for `lesion`.
            images: at most this many for `stress` and for `lesion`.
            band: two probabilities between which a decision is weak, for `cases`.
            hold_out: `hold-out.json` of the same settings and data, for `card`.
            seed: of everything random.
            progress: called with (what, done, total).

        Returns:
            By chapter: its results and pages, or the reason why it was left out.

        Raises:
            DataError: if a chapter that is named cannot be measured.
            ModelError: if the model cannot be used, or has changed.
        """
        from melascope.report.check import check

        return check(
            self.evaluation,
            chapters,
            masks=None if masks is None else Path(masks),
            images=images,
            band=band,
            hold_out_file=None if hold_out is None else Path(hold_out),
            seed=seed,
            progress=progress,
        )


def evaluate(
    model: Model | StrPath,
    data: Dataset | StrPath,
    out: StrPath,
    *,
    split: str = "test",
    seed: int = 0,
    prevalence: float | None = None,
    progress: Progress = silent,
) -> Report:
    """Measure a model on images with known diagnosis, and write a report.

    Args:
        model: at its own operating point; the report has the others too.
        data: a data set.
        out: the report folder.
        split: `train`, `validation` or `test`; or `all`, for a data set that the model never met.
        seed: of the resamples behind the intervals.
        prevalence: share of malignant lesions in practice, 0 to 1; adds predictive values.
        progress: called with (what, done, total).

    Raises:
        DataError: if there is nothing to evaluate.
        ModelError: if the model cannot be used.
    """
    from melascope.evaluate import evaluation
    from melascope.report import page

    if isinstance(model, Model) and model.card.sensitivity != Card.read(model.files.card).sensitivity:
        raise ModelError(
            f"{model.card.identity}: load it without `sensitivity`; the report has all operating points"
        )
    made = evaluation.evaluate(os.fspath(model), Path(data), Path(out), split, seed, progress, prevalence)
    page.write(made.metrics, made.folder, progress)
    return Report(made.folder)
