"""Photographs as DICOM files."""

import io

from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

DERMOSCOPIC = UID("1.2.840.10008.5.1.4.1.1.77.1.7")


def dicom(pixels, colours="RGB", frame=None, syntax=None, **more):
    """A dermoscopic photograph.

    Args:
        pixels: shape (height, width), or (height, width, 3), unsigned.
        colours: what they are said to be.
        frame: what is stored instead of them, compressed.
        syntax: how it is stored.
        more: elements to set at the end.
    """
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = DERMOSCOPIC, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.PatientName, made.PatientID, made.AccessionNumber = "Doe^Jane", "4711", "A1"
    made.Modality = "XC"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = colours
    bits = 8 * pixels.dtype.itemsize
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    data = pixels.tobytes()
    made.PixelData = encapsulate([frame]) if frame else data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in more.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def saved(pixels, form, **options):
    """Pixels as an ordinary image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()
