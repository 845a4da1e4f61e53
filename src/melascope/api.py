"""The face of Melascope: what `import melascope as ms` offers.

Data sets, models and reports are taken as paths, or as the objects that these functions return. An error that a user
can mend is a `MelascopeError` of one sentence. `progress`, where it is taken, is called with (what, done, total);
without it, nothing is printed.
"""

import base64
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melascope import files, images
from melascope.errors import DataError, ImageError, MelascopeError, ModelError, printable
from melascope.infer import answer
from melascope.infer.predictor import Predictor
from melascope.intervals import Figure
from melascope.labels import NOTICE, TARGETS
from melascope.model.card import Card
from melascope.model.decision import CONFIDENCE
from melascope.model.folder import SHIPPED, ModelFiles
from melascope.prepare.tree import images_of
from melascope.progress import Notify, Progress, quiet, silent

if TYPE_CHECKING:
    import pandas as pd

    from melascope.fetch.ledger import Row
    from melascope.report.check import Chapter

__all__ = [
    "Answer",
    "Answers",
    "Collection",
    "DataError",
    "Dataset",
    "Explanation",
    "Figure",
    "Figures",
    "ImageError",
    "MelascopeError",
    "Model",
    "ModelError",
    "Report",
    "calibrate",
    "evaluate",
    "fetch_challenge",
    "fetch_isic",
    "fetch_zips",
    "hold_out",
    "load",
    "prepare",
    "train",
    "tune",
]

StrPath: TypeAlias = str | os.PathLike[str]
Picture: TypeAlias = StrPath | Image.Image | NDArray[Any]
_SIDE = 224  # pixels of a picture in a notebook
_MAX_ROWS = 50  # of a table in a notebook


@dataclass(frozen=True)
class Answer(answer.Answer):
    """The answer for one image. A notebook shows it beside the image and its heat map."""

    operating_point: str = field(default="", repr=False, compare=False)
    """From which probability on the label is `malignant`, and what sensitivity that gives."""
    picture: Picture | None = field(default=None, repr=False, compare=False)
    """The image as it was given."""

    def _repr_html_(self) -> str:
        called = self.label or self.status
        head = called if self.confidence is None else f"{called}, confidence {_percent(self.confidence)}"
        remark = "weak: the other answer cannot be ruled out" if self.weak else self.reason or ""
        known = ((name, getattr(self, name)) for name in TARGETS)
        facts = ", ".join(f"{name} {_percent(value)}" for name, value in known if value is not None)
        lines = [
            printable(self.path),
            facts and f"Probability: {facts}",
            f"{self.model}; {self.operating_point}",
        ]
        shown = "<br>".join(escape(line) for line in lines if line)
        return (
            f"<div><p><b>{escape(head)}</b><br>{escape(remark)}</p>{self._pictures()}"
            f"<p>{shown}<br><small>{NOTICE}</small></p></div>"
        )

    def _pictures(self) -> str:
        from melascope.explain.overlay import pair

        if self.heat is None or self.picture is None:
            return ""
        try:
            pixels = _pixels(self.picture)
        except ImageError:  # the file has gone since
            return ""
        seen, overlay = pair(pixels, self.heat[0], _SIDE)
        return _figure(seen, "what the network saw") + _figure(
            overlay, "where it responded; this is not evidence"
        )


class Answers(list[Answer]):
    """Answers for several images, in their order: a list. A notebook shows it as a table."""

    def table(self) -> "pd.DataFrame":
        """A row for each image, with the fields of `Answer.row`."""
        import pandas as pd

        return pd.DataFrame([each.row() for each in self], columns=list(answer.COLUMNS))

    def _repr_html_(self) -> str:
        names = ("path", "label", "confidence", *TARGETS, "weak", "reason")
        head = "".join(f"<th>{name}</th>" for name in names)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_cell(getattr(each, name))}</td>' for name in names)}</tr>"
            for each in self[:_MAX_ROWS]
        )
        more = f"<p>{len(self) - _MAX_ROWS:,} more</p>" if len(self) > _MAX_ROWS else ""
        point = escape(f"{self[0].model}; {self[0].operating_point}") if self else ""
        return f"<table><tr>{head}</tr>{rows}</table>{more}<p><small>{point}<br>{NOTICE}</small></p>"


@dataclass(frozen=True)
class Explanation:
    """An image beside its class activation map, with the answer in words. A notebook shows the picture."""

    answer: Answer
    target: str
    image: Image.Image = field(repr=False)

    def save(self, path: StrPath) -> Path:
        """Write the picture, in the format that the name of the file ends in; PNG by default."""
        path = Path(path)
        kind = Image.registered_extensions().get(path.suffix.lower(), "PNG")
        with files.replacing(path) as beside:
            self.image.save(beside, format=kind)
        return path

    def _repr_png_(self) -> bytes:
        return images.encoded(self.image, "PNG")


class Model:
    """A model that answers. `load` opens one; `train`, `tune` and `calibrate` make one."""

    def __init__(
        self, model: StrPath = SHIPPED, sensitivity: float | None = None, progress: Progress = silent
    ) -> None:
        self.files = ModelFiles.find(os.fspath(model))
        """Where it lies."""
        self.predictor = Predictor.load(os.fspath(model), progress, sensitivity)
        """What the face hides: answers for pixels, from any thread."""

    def __fspath__(self) -> str:
        return str(self.files.keras.with_suffix(""))

    def __repr__(self) -> str:
        return f"<Model {self.card.identity}: {self.operating_point}>"

    @property
    def card(self) -> Card:
        """What goes in, what comes out, what it was trained on."""
        return self.predictor.card

    @property
    def operating_point(self) -> str:
        """From which probability on the label is `malignant`, and what sensitivity that gives."""
        point = self.card.points["malignant"]
        sureness = (
            f"holds with {100 * CONFIDENCE:.0f} % confidence on lesions like those of its validation"
            if point.held
            else "was reached on validation, on too few lesions to be sure of it"
        )
        wanted = f"a sensitivity of {100 * point.sensitivity:.0f} %"
        return f"called malignant from {point.threshold:.3f} on: {wanted} {sureness}"

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path is one image; see below
        self, pictures: Picture, progress: Progress = ...
    ) -> Answer: ...

    @overload
    def predict(self, pictures: Iterable[Picture], progress: Progress = ...) -> Answers: ...

    def predict(self, pictures: Picture | Iterable[Picture], progress: Progress = silent) -> Answer | Answers:
        """Answer for an image, or for several.

        A file that cannot be read gives an answer of status `error`. An array that cannot be an image is an error.

        Args:
            pictures: a path, an image of Pillow, or an array (see `melascope.images.from_array`) give an `Answer`. A
                folder, a ZIP, an array of shape (images, height, width, 3), or a list of any of these give `Answers`.
                (For a type checker, a path is one image: put a folder into a list.)
            progress: called with (what, done, total).

        Raises:
            DataError: for a folder without images, and for what is no image.
            ImageError: for an array whose shape or values are not those of an image.
        """
        answers = Answers(self.stream(pictures, progress))
        return answers if _several(pictures) else answers[0]

    def stream(
        self, pictures: Picture | Iterable[Picture], progress: Progress = silent, ray: str | None = None
    ) -> Iterator[Answer]:
        """Answer for images one by one, as answers come; memory stays flat.

        Args:
            pictures: as in `predict`. All folders of a list are opened before the first answer.
            progress: called with (what, done, total).
            ray: address of a Ray cluster to spread the work over, for files that all its machines see; see
                `melascope.cluster`.
        """
        named: Iterable[Picture] = _named(pictures)
        named = list(named) if isinstance(pictures, Sequence | np.ndarray) else named
        name = "pictures[{}]" if _several(pictures) else "picture"
        given: deque[Picture] = deque()  # images that the predictor has taken and not answered for yet

        def taken() -> Iterator[str | images.Pixels]:
            for number, picture in enumerate(named):
                given.append(picture)
                yield picture if isinstance(picture, str) else _pixels(picture, name.format(number))

        def report(what: str, done: int, total: int) -> None:
            progress(what, done, len(named) if isinstance(named, list) else total)

        if ray:
            from melascope.infer import on_ray

            given.extend(named)
            if not all(isinstance(picture, str) for picture in given):
                raise DataError("a cluster takes files: give paths, not arrays")
            answers = on_ray.predict(self.predictor, [str(picture) for picture in given], ray, progress)
        else:
            answers = self.predictor.predict(taken(), report)
        for each in answers:
            yield self._answer(each, given.popleft())

    def explain(self, picture: Picture, target: str = "malignant") -> Explanation:
        """Draw an image beside its class activation map (Grad-CAM), with the answer in words.

        A heat map shows where the network responded. It is not evidence.

        Args:
            picture: a path, an image of Pillow, or an array.
            target: `malignant` or `melanoma`.

        Raises:
            ImageError: if the image cannot be read.
            ModelError: if the model was not trained for the target.
        """
        from melascope.explain.overlay import panel

        if target not in TARGETS:
            raise DataError(f"{target}: no such target; there are {' and '.join(TARGETS)}")
        if target not in self.card.threshold:
            raise ModelError(
                f"{self.card.identity}: was not trained for {target}: its data had no {target} labels"
            )
        if _is_path(picture):
            answered, pixels = self.predictor.explain(os.fspath(picture))
        else:
            pixels = _pixels(picture)
            answered = self.predictor.answer(pixels)
        if pixels is None:
            raise ImageError(answered.path, str(answered.reason))
        return Explanation(self._answer(answered, picture), target, panel(pixels, answered, target))

    def _answer(self, answered: answer.Answer, picture: Picture) -> Answer:
        path = answered.path or getattr(picture, "filename", "")  # which Pillow remembers
        known = {**vars(answered), "path": path}
        return Answer(**known, operating_point=self.operating_point, picture=picture)


def load(
    model: StrPath | None = None, sensitivity: float | None = None, progress: Progress = silent
) -> Model:
    """Open a model.

    Args:
        model: a run folder, a `.keras` or `.onnx` file, or its path without the ending. None: the shipped model.
        sensitivity: whose operating point to use, such as 0.89; None for the model's own, mostly 0.95.
        progress: called with (what, done, total) if the model must be converted first.

    Raises:
        ModelError: if it is missing, broken, or has no such operating point.
    """
    return Model(SHIPPED if model is None else model, sensitivity, progress)


class Dataset:
    """A data set folder, made by `prepare`: images with labels and groups, dealt out to three splits."""

    unchanged = False
    """Whether `prepare` had nothing to do, since sources and options are those of the last run."""

    def __init__(self, folder: StrPath) -> None:
        self.folder = Path(folder)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r})"

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row for each image; see `melascope.manifest`."""
        from melascope import manifest

        return manifest.read(self.folder)

    @cached_property
    def audit(self) -> dict[str, Any]:
        """What was checked, and what it says about the data: `audit["verdicts"]` first."""
        from melascope.prepare.pipeline import AUDIT

        try:
            audit: dict[str, Any] = json.loads((self.folder / AUDIT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder}: has no whole audit; prepare the data set again") from error
        return audit

    @property
    def page(self) -> Path:
        """The audit as a page."""
        from melascope.report import audit

        return self.folder / audit.PAGE


def prepare(
    sources: StrPath | Iterable[StrPath],
    out: StrPath,
    *,
    keep_splits: bool = False,
    allow_leaks: bool = False,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Make a data set: check, label and group every image, deal out the groups to splits, and audit the result.

    Args:
        sources: folders and ZIPs of images, and CSVs: class folders, exports of the ISIC Archive, challenge files.
        out: the data set folder. The same call resumes one that was interrupted.
        keep_splits: take the splits that the data came with.
        allow_leaks: accept kept splits that share groups; figures from them mean nothing.
        fractions: of the images, for train, validation and test.
        seed: decides which group goes where.
        jobs: processes that read images; None for one a core.
        progress: called with (what, done, total).

    Raises:
        DataError: if the sources cannot be used, or make no data set that a model could learn from.
    """
    from melascope.prepare import pipeline
    from melascope.prepare.splits import Options
    from melascope.report import audit

    made = Dataset(out)
    summary = pipeline.prepare(
        _paths(sources),
        made.folder,
        Options(keep_splits, allow_leaks, tuple(fractions), seed),
        jobs=jobs,
        publish=audit.write,
        progress=progress,
    )
    made.table, made.audit, made.unchanged = summary.table, summary.audit, summary.unchanged
    return made


def train(
    data: Dataset | StrPath,
    out: StrPath,
    *,
    refuse: StrPath | Iterable[StrPath] = (),
    progress: Progress = silent,
    **settings: Any,
) -> Model:
    """Train a model: first a linear head on the frozen backbone, then everything at a low rate.

    Args:
        data: a data set.
        out: the run folder. The same call resumes a training that was interrupted.
        refuse: folders and ZIPs of further images that the model must refuse.
        progress: called with (what, done, total).
        **settings: fields of `melascope.learn.settings.Settings`, such as `backbone`, `size`, `epochs` and `seed`.

    Returns:
        The fine-tuned model. Where its backbone was pretrained, OUT/base is the frozen baseline.

    Raises:
        DataError: for a setting that is not one, data that cannot be learned from, or a folder of another training.
        ModelError: if backbone, size and weights do not fit together, or the training diverges.
    """
    from melascope.learn import training
    from melascope.learn.settings import Settings

    asked = Settings.of(**settings)
    return Model(training.train(Path(data), Path(out), asked, progress, refuse=_kinds(refuse))[-1])


def tune(
    data: Dataset | StrPath,
    out: StrPath,
    *,
    trials: int = 20,
    search: str | Sequence[str] = "all",
    sampler: str = "random",
    ray: str | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Model:
    """Search for settings at random, stop poor trials early, and keep the best model.

    Args:
        data: a data set.
        out: the search folder. The same call resumes a search, and in another process it shares the work.
        trials: in all; a higher number extends a search.
        search: names of the settings to search, see `melascope.learn.search.SPACE`, or `all`.
        sampler: `random`, or `tpe`, which learns from earlier trials (Bergstra et al. 2011).
        ray: address of a Ray cluster to spread the trials over.
        progress: called with (what, done, total).
        **settings: of every trial, as in `train`; `epochs` is the maximum.

    Raises:
        DataError: as in `train`; or if no trial is complete yet.
        ModelError: if backbone, size and weights do not fit together.
    """
    from melascope.learn import search as searches
    from melascope.learn.settings import Settings
    from melascope.report import search as page

    asked = Settings.of(**{"epochs": searches.EPOCHS, **settings})
    names = [search] if isinstance(search, str) else search
    chosen = searches.searchable(asked) if list(names) == ["all"] else tuple(names)
    whole = searches.Search(asked, chosen, trials, sampler)
    result = searches.search(Path(data), Path(out), whole, progress, ray)
    page.write(result, whole, Path(out))
    if not result.models:
        raise DataError(f"{Path(out)}: no trial is complete yet")
    return Model(result.models[-1])


def calibrate(
    model: Model | StrPath,
    data: Dataset | StrPath,
    out: StrPath,
    *,
    refuse: StrPath | Iterable[StrPath] = (),
    progress: Progress = silent,
) -> Model:
    """Fit calibration, operating points and gate of a model to other data; its network stays the same.

    Args:
        model: with its `.keras` file.
        data: a data set; calibration rests on its validation split, the gate on its training split.
        out: the run folder to write.
        refuse: folders and ZIPs of further images that the model must refuse.
        progress: called with (what, done, total).

    Raises:
        DataError: if the validation split holds no malignant or no benign image.
        ModelError: if the model cannot be used.
    """
    from melascope.learn.recalibrate import recalibrate

    return Model(recalibrate(os.fspath(model), Path(data), Path(out), progress, refuse=_kinds(refuse)))


def hold_out(
    data: Dataset | StrPath, out: StrPath, *, progress: Progress = silent, **settings: Any
) -> dict[str, Any]:
    """Train on all sources but one and test on that one, for each source in turn.

    Args:
        data: a data set with at least two sources.
        out: folder for all runs; what is finished in it is kept.
        progress: called with (what, done, total).
        **settings: of every training, as in `train`.

    Returns:
        What `hold-out.json` holds, see `melascope.evaluate.hold_out`.

    Raises:
        DataError: if there is one source only, or one cannot be learned from without another.
    """
    from melascope.evaluate import hold_out
    from melascope.learn.settings import Settings

    return hold_out.run(Path(data), Path(out), Settings.of(**settings), progress)


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


@dataclass(frozen=True)
class Collection:
    """A raw folder, made by a function that fetches: images with their licences and tables, for `prepare`."""

    folder: Path
    failed: "list[Row]"
    """Files that could not be downloaded, each with its reason; the same call tries them again."""

    def __fspath__(self) -> str:
        return str(self.folder)

    @cached_property
    def counts(self) -> "pd.DataFrame":
        """How many images there are, by class, year, source and licence; also writes `page`.

        Raises:
            DataError: if the folder holds no table to count.
        """
        from melascope.report import collection

        return collection.write(self.folder)

    @property
    def page(self) -> Path:
        """The summary as a page."""
        from melascope.report import collection

        return self.folder / collection.PAGE


def fetch_isic(
    query: str,
    out: StrPath,
    *,
    collections: Sequence[int] = (),
    licenses: Sequence[str] = (),
    limit: int | None = None,
    images: bool = True,
    jobs: int = 32,
    progress: Progress = silent,
    notify: Notify = quiet,
) -> Collection:
    """Download images of the ISIC Archive, with their tables, credits and licences.

    Args:
        query: in the archive's query language, such as `diagnosis_1:Malignant`. Unless it names an `image_type`, only
            dermoscopic images are meant.
        out: the raw folder. The same call resumes a download, and checks and completes what is there.
        collections: only images of these, by number.
        licenses: only images under these: `CC-0`, `CC-BY`, `CC-BY-NC`.
        limit: at most this many images.
        images: False leaves them out: only tables, credits and licences.
        jobs: downloads at once, 1 to 128.
        progress: called with (what, done, total).
        notify: called with sentences for the user.

    Raises:
        DataError: if nothing can be downloaded; see `Collection.failed` for single files.
    """
    from melascope.fetch import isic
    from melascope.fetch.isic_api import Archive

    selection = isic.select(query, collections, limit, licenses, notify)
    archive = Archive.open(jobs, notify)
    failed = isic.fetch(
        archive, selection, Path(out), with_images=images, jobs=jobs, progress=progress, notify=notify
    )
    return Collection(Path(out), failed)


def fetch_challenge(
    year: str,
    out: StrPath,
    *,
    licenses: Sequence[str] = (),
    progress: Progress = silent,
    notify: Notify = quiet,
) -> Collection:
    """Download the images and tables of an ISIC challenge; `prepare` reads its ZIPs as they are.

    Args:
        year: `2016` to `2020`, `2024` or `milk10k`.
        out: the raw folder. The same call resumes a download.
        licenses: only the part under one of these.
        progress: called with (what, done, total).
        notify: called with sentences for the user.

    Raises:
        DataError: if nothing can be downloaded; see `Collection.failed` for single files.
    """
    from melascope.fetch import challenge
    from melascope.fetch.isic_api import Archive

    chosen = challenge.chosen(year, licenses, notify)
    failed = challenge.fetch(Archive.open(1, notify), chosen, Path(out), progress, notify)
    return Collection(Path(out), failed)


def fetch_zips(
    sources: StrPath | Iterable[StrPath],
    out: StrPath,
    *,
    progress: Progress = silent,
    notify: Notify = quiet,
) -> Collection:
    """Download ZIPs, and unpack each into a folder of its name.

    Args:
        sources: addresses, and files of this machine.
        out: the raw folder. The same call resumes a download.
        progress: called with (what, done, total).
        notify: called with sentences for the user.

    Raises:
        DataError: if a ZIP is unsafe, damaged, or cannot be written; see `Collection.failed` for single files.
    """
    from melascope.fetch import zips
    from melascope.fetch.isic_api import Archive

    failed = zips.fetch(Archive.open(1, notify), _paths(sources), Path(out), progress, notify)
    return Collection(Path(out), failed)


def _is_path(given: object) -> TypeGuard[StrPath]:
    return isinstance(given, str | os.PathLike)


def _several(pictures: Picture | Iterable[Picture]) -> bool:
    """Whether several images are meant, though it be one or none."""
    if _is_path(pictures):
        return images_of([os.fspath(pictures)]) != [os.fspath(pictures)]
    if isinstance(pictures, bytes | Image.Image) or not isinstance(pictures, Iterable):
        return False
    return getattr(pictures, "ndim", 1) in (1, 4)


def _named(pictures: Picture | Iterable[Picture]) -> Iterator[Picture]:
    """Each image that is meant; those of folders and ZIPs by name."""
    for picture in (
        cast(Iterable[Picture], pictures) if _several(pictures) and not _is_path(pictures) else [pictures]
    ):
        if _is_path(picture):
            yield from images_of([os.fspath(picture)])
        else:
            yield picture  # type: ignore[misc]  # `_pixels` refuses what is no image


def _pixels(picture: Picture, name: str = "picture") -> images.Pixels:
    if _is_path(picture):
        path = os.fspath(picture)
        return images.decode(files.read(path), path)
    if isinstance(picture, Image.Image):
        return images.from_picture(picture, name)
    if hasattr(picture, "__array__"):
        return images.from_array(np.asarray(picture), name)
    kind = type(picture).__name__
    raise DataError(f"{name}: {kind} is not an image; give a path, an image of Pillow, or an array")


def _paths(given: StrPath | Iterable[StrPath]) -> list[str]:
    return [os.fspath(path) for path in ([given] if _is_path(given) else cast(Iterable[StrPath], given))]


def _kinds(refuse: StrPath | Iterable[StrPath]) -> dict[str, list[str]]:
    """Images to refuse, by kind: each folder or ZIP is a kind of its own."""
    return {Path(path).stem: images_of([path]) for path in _paths(refuse)}


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _figure(picture: Image.Image, caption: str) -> str:
    data = base64.b64encode(images.encoded(picture, "PNG")).decode()
    return (
        "<figure style='display:inline-block;margin:0 8px 0 0'>"
        f"<img alt='{caption}' src='data:image/png;base64,{data}'>"
        f"<figcaption><small>{caption}</small></figcaption></figure>"
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return _percent(value)
    if isinstance(value, bool):
        return "yes" if value else ""
    return escape(printable("" if value is None else str(value)))
