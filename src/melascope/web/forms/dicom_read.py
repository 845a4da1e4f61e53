"""The photograph in a DICOM file, as the bytes of an ordinary image file, which `melascope.images` decodes.

It reads photographs of one frame: uncompressed, JPEG or JPEG 2000. Deflated files and RLE are refused, because their
size after decompression has no bound.
"""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, config, dcmread
from pydicom.encaps import get_frame
from pydicom.filereader import data_element_generator
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from melascope import images
from melascope.errors import ImageError, one_line

# Warnings about invalid values quote them, and they may name the patient.
config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE

_MARK = slice(128, 132)
_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic Image Storage
    "1.2.840.10008.5.1.4.1.1.77.1.7",  # Dermoscopic Photography Image Storage
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage, which many dermatoscopes write
}
_PLAIN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
_JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
# Nothing of the patient is read.
_TAGS = [
    "SOPClassUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    "PixelData",
]
# Says that a JPEG's three components are red, green and blue as they are.
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe" + struct.pack(">HHHB", 100, 0, 0, 0)


def is_dicom(data: bytes) -> bool:
    """Whether a file has the prefix of DICOM."""
    return data[_MARK] == b"DICM"


def image_file(data: bytes, name: str) -> bytes:
    """The bytes of a JPEG or BMP file with the picture of a DICOM file.

    Args:
        data: the DICOM file's bytes.
        name: what to call it in an error.

    Raises:
        ImageError: if the file is damaged, not a photograph, too large, has several frames or another compression.
    """
    try:
        return _image_file(data, name)
    except ImageError:
        raise
    except Exception as error:  # pydicom raises nearly every type on malformed input
        raise ImageError(name, f"damaged DICOM file ({one_line(error)})") from error


def _image_file(data: bytes, name: str) -> bytes:
    syntax = _transfer_syntax(data)
    if syntax not in _PLAIN | _JPEG | _JPEG_2000:
        raise ImageError(
            name, f"DICOM compressed as {UID(syntax).name}, which is not supported; export it as JPEG"
        )
    file = dcmread(io.BytesIO(data), specific_tags=_TAGS)
    if file.get("SOPClassUID") not in _CLASSES:
        kind = UID(file.get("SOPClassUID", "")).name or "an unknown kind"
        raise ImageError(name, f"a DICOM file of {one_line(Exception(kind))}, not a photograph of the skin")
    frames = int(file.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(name, f"a DICOM file of {frames} frames; send one image per file")
    if file.Rows * file.Columns > images.MAX_PIXELS and syntax not in _JPEG:
        raise ImageError(name, f"{file.Columns} x {file.Rows} pixels, more than is accepted for DICOM")
    colours = str(file.PhotometricInterpretation)
    if syntax in _PLAIN:
        return _bmp(_eight_bits(_plain(file), file), colours)
    frame = get_frame(file.PixelData, 0, number_of_frames=1)
    if syntax in _JPEG_2000:
        return _bmp(_jpeg_2000(frame, name), colours)
    if colours == "RGB" and b"Adobe" not in frame[:256]:
        frame = frame[:2] + _ADOBE_RGB + frame[2:]
    return _bmp(images.decode(frame, name), colours) if colours == "MONOCHROME1" else frame


def _transfer_syntax(data: bytes) -> str:
    # Before the file is read: pydicom would decompress a deflated file whole.
    file = io.BytesIO(data)
    file.seek(_MARK.stop)
    for element in data_element_generator(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag.group != 2
    ):
        if element.tag == 0x00020010:
            return bytes(element.value or b"").rstrip(b"\0 ").decode("ascii")
    return ""


def _plain(file: Dataset) -> NDArray[Any]:
    pixels = pixel_array(file)  # YBR becomes RGB
    if file.PhotometricInterpretation == "PALETTE COLOR":
        return np.asarray(apply_color_lut(pixels, file) >> 8).astype(np.uint8)
    return np.asarray(pixels)


def _eight_bits(pixels: NDArray[Any], file: Dataset) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    shifted = pixels.clip(0) >> max(0, file.BitsStored - 8)
    eight: NDArray[np.uint8] = shifted.clip(0, 255).astype(np.uint8)
    return eight


def _jpeg_2000(frame: bytes, name: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as image:
        if image.width * image.height > images.MAX_PIXELS:
            raise ImageError(name, f"{image.width} x {image.height} pixels, more than is accepted for DICOM")
        return np.asarray(image.convert("RGB"))


def _bmp(pixels: NDArray[np.uint8], colours: str) -> bytes:
    positive = 255 - pixels if colours == "MONOCHROME1" else pixels
    return images.encoded(Image.fromarray(positive).convert("RGB"), "BMP")
