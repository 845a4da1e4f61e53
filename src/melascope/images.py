"""The only way from bytes to pixels: training, evaluation, the command and every page go through here.

Pixels are `uint8` arrays of shape (height, width, 3), RGB, values 0 to 255.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from melascope import files
from melascope.errors import DataError, ImageError, one_line
from melascope.progress import Progress, silent

Pixels = NDArray[np.uint8]
_Result = TypeVar("_Result")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MIN_SIDE = 256  # what is decoded faster keeps this shorter side, so that sharpness can still be measured
# The largest cameras in the archive have 24 million pixels. JPEG is decoded small and WebP slowly: within these
# limits no file takes more than two seconds or 0.8 GB, whoever made it.
MAX_PIXELS = 32_000_000
_ROUNDING = 1e-3  # that floats may exceed their range by
_PORTION = 64  # images that are loaded ahead of their use
_MAX_PIXELS_OF = {"JPEG": 64_000_000, "WEBP": 16_000_000}


def decode(data: bytes, name: str, at_least: int | None = None) -> Pixels:
    """Decode an image file.

    Honours EXIF orientation; takes grey, palette, transparent (on white), CMYK and 16-bit images.

    Args:
        data: the file's bytes.
        name: what to call the file in an error.
        at_least: a shorter side in pixels that suffices. A large JPEG is then decoded at a half, a
            quarter or an eighth of its size, never below it or `MIN_SIDE`, which is several times faster.

    Returns:
        Pixels, shape (height, width, 3).

    Raises:
        ImageError: for everything that is not a whole image of at most `MAX_PIXELS` pixels (JPEG: twice, WebP:
            half as many).
    """
    return decode_sized(data, name, at_least)[0]


def decode_sized(data: bytes, name: str, at_least: int | None = None) -> tuple[Pixels, tuple[int, int]]:
    """Decode as `decode` does.

    Returns:
        Pixels, shape (height, width, 3), and width and height of the whole image, which `at_least` may reduce.
    """
    with _opened(data, name) as image:
        width, height = image.size
        if at_least is not None and image.format == "JPEG":
            side = max(at_least, MIN_SIDE)
            image.draft(None, (side, side))
        image.load()
        upright = _upright(image)
        if upright.size != image.size:  # turned
            width, height = height, width
        return np.asarray(_to_rgb(upright)), (width, height)


def from_picture(picture: Image.Image, name: str = "image") -> Pixels:
    """The pixels of an image of Pillow: upright, transparent parts on white, as `decode` makes them.

    Args:
        picture: of any mode; it may be open, and not loaded yet.
        name: what to call it in an error.

    Returns:
        Pixels, shape (height, width, 3).

    Raises:
        ImageError: if it cannot be loaded.
    """
    try:
        return np.asarray(_to_rgb(_upright(picture)))
    except Exception as error:  # a file behind it may be damaged in many ways
        raise ImageError(name, f"damaged image ({one_line(error)})") from error


def from_array(values: NDArray[Any], name: str = "array") -> Pixels:
    """The pixels of an array.

    Args:
        values: shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4), where the fourth
            channel is opacity. Booleans; integers of 0 to 255; `uint16` of 0 to 65,535; floats of 0 to 1 or 0 to 255.
        name: what to call it in an error.

    Returns:
        Pixels, shape (height, width, 3); transparent parts are on white.

    Raises:
        ImageError: for another shape, and for values whose range leaves a doubt.

    >>> from_array(np.array([[0.0, 0.5, 1.0]]))[..., 0]
    array([[  0, 128, 255]], dtype=uint8)
    >>> from_array(np.zeros((3, 224, 224)))
    Traceback (most recent call last):
    melascope.errors.ImageError: array: channels come first in the shape (3, 224, 224); use .transpose(1, 2, 0)
    """
    shape = values.shape
    if 0 in shape or values.ndim not in (2, 3):
        raise ImageError(
            name, f"the shape {shape} is not that of an image: (height, width) or (height, width, 3)"
        )
    if values.ndim == 3 and shape[2] not in (1, 3, 4):
        if shape[0] in (1, 3, 4) and shape[2] > 4:
            raise ImageError(name, f"channels come first in the shape {shape}; use .transpose(1, 2, 0)")
        raise ImageError(name, f"{shape[2]} channels in the shape {shape}; an image has 1, 3 or 4")
    scaled = _scaled(values[..., 0] if values.ndim == 3 and shape[2] == 1 else values, name)
    return np.asarray(_to_rgb(Image.fromarray(scaled)))


def _scaled(values: NDArray[Any], name: str) -> Pixels:
    """Values of 0 to 255, where their type and range leave no doubt what they mean."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif":
        raise ImageError(name, f"values of type {values.dtype} are not pixels; give uint8")
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not np.isfinite([low, high]).all():
            raise ImageError(name, "holds values that are not finite (NaN or infinity)")
        unit = high <= 1 + _ROUNDING
        if low < -_ROUNDING or high > 255 + _ROUNDING or (not unit and high < 2):
            raise ImageError(name, f"floats from {low:.4g} to {high:.4g}; give 0 to 1, or 0 to 255")
        return np.rint(values.astype(np.float64) * (255 if unit else 1)).clip(0, 255).astype(np.uint8)
    if values.dtype == np.uint16:
        if high <= 255:
            raise ImageError(name, f"uint16 of {low} to {high} may have 8 or 16 bits; give uint8")
        return (values >> 8).astype(np.uint8)
    if low < 0 or high > 255:
        raise ImageError(name, f"{values.dtype} from {low} to {high}; give 0 to 255")
    return values.astype(np.uint8)


def check(data: bytes, name: str) -> None:
    """Check that `decode` accepts an image file, in about half its time.

    Of a JPEG, every byte is decoded, but only an eighth of the pixels a side are made of them, in grey.

    Raises:
        ImageError: as `decode` does.
    """
    with _opened(data, name) as image:
        image.draft("L", (1, 1))
        image.load()


@contextlib.contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    if not data:
        raise ImageError(name, "empty file (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which we do not read
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                limit = _MAX_PIXELS_OF.get(image.format or "", MAX_PIXELS)
                if image.width * image.height > limit:
                    raise ImageError(
                        name,
                        f"{image.width} x {image.height} pixels, more than the {limit // 10**6} million that are "
                        f"accepted of {image.format}",
                    )
                yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(name, "not an image, or not in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(name, "far more pixels than are accepted") from error
    except Exception as error:  # Pillow's decoders raise nearly every type on malformed input
        raise ImageError(name, f"damaged image ({one_line(error)})") from error


def format_of(data: bytes) -> str:
    """The format of an image that decodes, such as `JPEG`, recognised by content and not by the file's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.format or ""


def load(locator: str, size: int) -> Pixels:
    """Read, decode, crop and resize one image: what a network of this input size sees.

    Raises:
        ImageError: if the file cannot be read or decoded.
    """
    return square(decode(files.read(locator), locator, at_least=size), size)


def square(pixels: Pixels, size: int) -> Pixels:
    """Cut the central square and resize it, antialiased, to (size, size, 3).

    >>> wide = np.zeros((2, 4, 3), np.uint8)
    >>> wide[:, :2] = 255  # the left half is white
    >>> square(wide, 2)[..., 0]
    array([[255,   0],
           [255,   0]], dtype=uint8)
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    if (height, width) == (size, size):
        return pixels
    left, top = (width - side) / 2, (height - side) / 2
    image = Image.fromarray(pixels).resize(
        (size, size),
        Image.Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
        reducing_gap=3.0,
    )
    return np.asarray(image)


def each(
    locators: Sequence[str],
    size: int,
    use: Callable[[int, Pixels], _Result],
    what: str,
    progress: Progress = silent,
) -> Iterator[_Result]:
    """Load the images of a prepared data set and use each, on all cores; results come in order.

    Args:
        locators: names of images that could be read before.
        size: side of the square to crop and resize to, in pixels; see `load`.
        use: called with an image's number, from 0, and its pixels; several threads call it at once.
        what: words for `progress`.
        progress: called with (what, done, total).

    Raises:
        DataError: if an image cannot be read any more.
    """

    def loaded(numbered: tuple[int, str]) -> _Result:
        number, locator = numbered
        return use(number, load(locator, size))

    numbered = list(enumerate(locators))
    with ThreadPoolExecutor(CORES) as pool:
        try:
            # In portions: an interruption need not wait for all, and memory stays flat.
            for start in range(0, len(numbered), _PORTION):
                results = pool.map(loaded, numbered[start : start + _PORTION])
                for done, result in enumerate(results, start + 1):
                    yield result
                    progress(what, done, len(numbered))
        except ImageError as error:
            raise DataError(
                f"{error}; this image could be read before: prepare the data set again"
            ) from error


def to_pixels(values: NDArray[Any]) -> Pixels:
    """Clip numbers to 0..255 and cut their decimals off.

    >>> to_pixels(np.array([-3.0, 17.9, 300.0]))
    array([  0,  17, 255], dtype=uint8)
    """
    return values.clip(0, 255).astype(np.uint8)


def encoded(image: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    """An image as the bytes of a file.

    Args:
        image: pixels, or an image of Pillow.
        kind: `JPEG`, `PNG` or another format of Pillow.
        options: of the format, such as `quality`.
    """
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """Pixels after JPEG compression at this quality, 1 to 95."""
    return np.asarray(Image.open(io.BytesIO(encoded(pixels, "JPEG", quality=quality))))


def _upright(image: Image.Image) -> Image.Image:
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return image  # most images, and asking takes as long as decoding a small one
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # metadata that cannot be read says nothing of orientation, and the pixels are whole
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.array(image, dtype=np.float32)
        np.nan_to_num(values, copy=False)
        if values.max(initial=0) > 255:
            values /= 65535 / 255
        return Image.fromarray(np.clip(values, 0, 255, out=values).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
