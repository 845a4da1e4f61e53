"""The only way from bytes to pixels: training, evaluation, the command and every page go through here.

Pixels are `uint8` arrays of shape (height, width, 3), RGB, values 0 to 255.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from melascope import files
from melascope.errors import ImageError, one_line

Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MIN_SIDE = 256  # what is decoded faster keeps this shorter side, so that sharpness can still be measured
# The largest cameras in the archive have 24 million pixels. JPEG is decoded small and WebP slowly: within these
# limits no file takes more than two seconds or 0.8 GB, whoever made it.
MAX_PIXELS = 32_000_000
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
    with _opened(data, name) as image:
        if at_least is not None and image.format == "JPEG":
            side = max(at_least, MIN_SIDE)
            image.draft(None, (side, side))
        image.load()
        return np.asarray(_to_rgb(_upright(image)))


def check(data: bytes, name: str) -> None:
    """See that `decode` would take an image file, in about half its time.

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
                most = _MAX_PIXELS_OF.get(image.format or "", MAX_PIXELS)
                if image.width * image.height > most:
                    raise ImageError(
                        name,
                        f"{image.width} x {image.height} pixels, more than the {most // 10**6} million that are "
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
    """The format of an image that decodes, such as `JPEG`, told by content and not by the file's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.format or ""


def load(locator: str, size: int) -> Pixels:
    """Read, decode and fit one image: what a network of this input size sees.

    Raises:
        ImageError: if the file cannot be read or decoded.
    """
    return fit(decode(files.read(locator), locator, at_least=size), size)


def fit(pixels: Pixels, size: int) -> Pixels:
    """Cut the central square and resize it, antialiased, to (size, size, 3).

    >>> wide = np.zeros((2, 4, 3), np.uint8)
    >>> wide[:, :2] = 255  # the left half is white
    >>> fit(wide, 2)[..., 0]
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


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """What is left of pixels in a JPEG of this quality, 1 to 95."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


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
