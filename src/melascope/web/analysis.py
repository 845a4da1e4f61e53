"""From an uploaded file to an answer and the pictures requested with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

_LAYER_SIDE = 256  # pixels; a map has few places, so its smooth layer can be scaled
_PICTURE_SIDE = 1024  # pixels of the longer side at most


@dataclass(frozen=True)
class Options:
    """What a request wants beside the answer."""

    sensitivity: float | None = None
    """Operating point to use; None for the predictor's own."""
    heat: str | None = None
    """Target whose heat map to draw as a layer."""
    picture: bool = False
    """The image itself, upright, without metadata."""
    panel: str | None = None
    """Target of the heat map in the picture that `melascope explain` writes."""
    capture: bool = False
    """That picture as a DICOM secondary capture."""


@dataclass(frozen=True)
class Job:
    """One file to analyse."""

    upload: Upload
    options: Options


@dataclass(frozen=True)
class Result:
    """An answer and what was drawn for it, as the bytes of PNG, JPEG and DICOM files."""

    answer: Answer
    heat: bytes | None = None
    responds: bool = False
    """Whether any place of the image responds to the target of the heat map."""
    picture: bytes | None = None
    panel: bytes | None = None
    capture: bytes | None = None


Analyser = Callable[[Sequence[Job]], list[Result | Exception]]
"""Gives a result for each job, in order; a `ModelError` if the model cannot be run, a `Fault` for a bug."""


def analyse(predictor: Predictor, jobs: Sequence[Job]) -> list[Result | Exception]:
    """Analyse in this process; any thread may call it.

    A file that cannot be read gives an answer of status `error`.

    Returns:
        As `Analyser` says.
    """
    return [_attempt(predictor, job) for job in jobs]


def _attempt(predictor: Predictor, job: Job) -> Result | Exception:
    try:
        return _analyse(predictor, job.upload, job.options)
    except ModelError as error:
        return error
    except Exception as error:
        return Fault(place(error))


def _analyse(predictor: Predictor, upload: Upload, options: Options) -> Result:
    if options.sensitivity is not None:
        predictor = predictor.at(options.sensitivity)
    pixels = heat = picture = drawn = capture = None
    if options.picture or options.panel:
        answer, pixels = predictor.explain_file(lambda: _image_file(upload), upload.name, _PICTURE_SIDE)
    else:
        answer = predictor.answer_file(lambda: _image_file(upload), upload.name)
    if answer.heat is None:
        return Result(answer)
    if options.heat:
        drawing = layer(answer.heat[TARGETS.index(options.heat)], _LAYER_SIDE)
        heat = images.encoded(drawing, "PNG", compress_level=3)
    if pixels is not None and options.picture:
        picture = _jpeg(pixels)
    if pixels is not None and options.panel:
        page = panel(pixels, answer, options.panel)
        drawn = images.encoded(page, "PNG", compress_level=3)
        if options.capture:
            capture = dicom_write.secondary_capture(page, answer, upload.data)
    target = options.heat or options.panel
    responds = target is not None and bool((answer.heat[TARGETS.index(target)] > 0).any())
    return Result(answer, heat, responds, picture, drawn, capture)


def _image_file(upload: Upload) -> bytes:
    data = upload.data
    return dicom_read.image_file(data, upload.name) if dicom_read.is_dicom(data) else data


def _jpeg(pixels: images.Pixels) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return images.encoded(image, "JPEG", quality=90)
