"""From a sent file to an answer and the pictures that were asked for."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from melascope import images
from melascope.errors import ModelError
from melascope.explain.overlay import layer, panel
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.web.errors import Fault, place
from melascope.web.forms import dicom_read, dicom_write
from melascope.web.upload import Upload

_LAYER = 256  # pixels; a map has few places, and its smooth layer can be scaled
_PICTURE = 1024  # pixels of the longer side at most


@dataclass(frozen=True)
class Wish:
    """What a request asks for beside the answer."""

    heat: str | None = None
    """Target whose heat map to draw by itself."""
    picture: bool = False
    """The image itself, upright, without metadata."""
    panel: str | None = None
    """Target of the heat map in the picture that `melascope explain` writes."""
    capture: bool = False
    """The same as a DICOM secondary capture."""


@dataclass(frozen=True)
class Finding:
    """An answer and what was drawn for it, as the bytes of PNG, JPEG and DICOM files."""

    answer: Answer
    heat: bytes | None = None
    responds: bool = False
    """Whether any place of the image speaks for the target of the heat map."""
    picture: bytes | None = None
    panel: bytes | None = None
    capture: bytes | None = None


@dataclass(frozen=True)
class Question:
    """What to judge, and how."""

    upload: Upload
    sensitivity: float | None
    """Whose operating point to use; None for the predictor's own."""
    wish: Wish


Judging = Callable[[Sequence[Question]], list[Finding | Exception]]
"""Answers each question: with an `ModelError` if the model cannot be run, with a `Fault` for a mistake of ours."""


class _File:
    """A sent file, unwrapped once if it is DICOM."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    @cached_property
    def image(self) -> bytes:
        data = self._upload.data
        return dicom_read.image_file(data, self._upload.name) if dicom_read.is_dicom(data) else data


class Judge:
    """Answers in this process, with a model at each of its operating points; any thread may ask."""

    def __init__(self, predictor: Predictor) -> None:
        points = predictor.card.operating_points[TARGETS[0]]
        self._at = {None: predictor} | {
            point.sensitivity: predictor.at(point.sensitivity) for point in points
        }

    def __call__(self, questions: Sequence[Question]) -> list[Finding | Exception]:
        """See `Judging`; what cannot be read is answered with status `error`."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Finding | Exception:
        try:
            return _judge(self._at[question.sensitivity], question.upload, question.wish)
        except ModelError as error:
            return error
        except Exception as error:
            return Fault(place(error))


def _judge(predictor: Predictor, upload: Upload, wish: Wish) -> Finding:
    file = _File(upload)
    answer = predictor.answer_file(lambda: file.image, upload.name)
    if answer.heat is None:
        return Finding(answer)
    heat = picture = drawn = captured = None
    if wish.heat:
        heat = _png(layer(answer.heat[TARGETS.index(wish.heat)], _LAYER))
    if wish.picture or wish.panel:
        pixels = images.decode(file.image, upload.name, at_least=_PICTURE)
        if wish.picture:
            picture = _jpeg(pixels)
        if wish.panel:
            page = panel(pixels, answer, wish.panel)
            drawn = _png(page)
            if wish.capture:
                captured = dicom_write.secondary_capture(page, answer, upload.data)
    target = wish.heat or wish.panel
    responds = target is not None and bool((answer.heat[TARGETS.index(target)] > 0).any())
    return Finding(answer, heat, responds, picture, drawn, captured)


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", compress_level=3)
    return data.getvalue()


def _jpeg(pixels: images.Pixels) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((_PICTURE, _PICTURE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()
