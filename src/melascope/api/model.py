"""Models that answer, from Python: for paths, images of Pillow, and arrays."""

import base64
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melascope import files, images
from melascope.api.paths import StrPath, is_path
from melascope.errors import DataError, ImageError, ModelError, printable
from melascope.infer import answer
from melascope.infer.predictor import Predictor
from melascope.labels import NOTICE, TARGETS
from melascope.model.card import Card
from melascope.model.decision import CONFIDENCE
from melascope.model.folder import SHIPPED, ModelFiles
from melascope.prepare.tree import images_of
from melascope.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

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
        names = ("path", "status", "label", "confidence", *TARGETS, "weak", "reason")
        head = "".join(f"<th>{name}</th>" for name in ("", *names))
        rows = "".join(
            f"<tr><th>{number}</th>{''.join(f'<td>{_cell(getattr(each, name))}</td>' for name in names)}</tr>"
            for number, each in enumerate(self[:_MAX_ROWS])
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
        return f"<Model {self.card.identity}, {self.operating_point.partition(':')[0]}>"

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
        if is_path(picture):
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


def _several(pictures: Picture | Iterable[Picture]) -> bool:
    """Whether several images are meant, though it be one or none."""
    if is_path(pictures):
        return images_of([os.fspath(pictures)]) != [os.fspath(pictures)]
    if isinstance(pictures, bytes | Image.Image) or not isinstance(pictures, Iterable):
        return False
    return getattr(pictures, "ndim", 1) in (1, 4)


def _named(pictures: Picture | Iterable[Picture]) -> Iterator[Picture]:
    """Each image that is meant; those of folders and ZIPs by name."""
    for picture in (
        cast(Iterable[Picture], pictures) if _several(pictures) and not is_path(pictures) else [pictures]
    ):
        if is_path(picture):
            yield from images_of([os.fspath(picture)])
        else:
            yield picture  # type: ignore[misc]  # `_pixels` refuses what is no image


def _pixels(picture: Picture, name: str = "picture") -> images.Pixels:
    if is_path(picture):
        path = os.fspath(picture)
        return images.decode(files.read(path), path)
    if isinstance(picture, Image.Image):
        return images.from_picture(picture, name)
    if hasattr(picture, "__array__"):
        return images.from_array(np.asarray(picture), name)
    kind = type(picture).__name__
    raise DataError(f"{name}: {kind} is not an image; give a path, an image of Pillow, or an array")


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
