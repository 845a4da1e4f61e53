"""A picture of an answer as a DICOM secondary capture, for the archive that the image came from."""

import io
from datetime import datetime

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from melascope import __version__
from melascope.infer.answer import Answer
from melascope.web.forms.dicom_read import is_dicom

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# What tells whose image it is and in which study: copied, so that both lie side by side.
_SHARED = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
)
_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "SeriesNumber",
)
NOTE = (
    "The heat map shows where the network responded; it is not evidence. A research tool: it supports a clinician "
    "and never replaces one."
)


def secondary_capture(page: Image.Image, answer: Answer, source: bytes) -> bytes:
    """Make a DICOM file of a picture.

    Args:
        page: as `melascope.explain.overlay.panel` draws it.
        answer: that it shows.
        source: the file that was sent. If it is DICOM, patient and study are taken over, and it is referred to;
            else there is no patient, and the study is a new one.
    """
    now = datetime.now()  # DICOM wants the time of the place
    made = Dataset()
    for keyword in _EMPTY:
        setattr(made, keyword, "")
    made.StudyInstanceUID = generate_uid(prefix=None)
    if is_dicom(source):
        file = dcmread(io.BytesIO(source), stop_before_pixels=True)
        for keyword in _SHARED:
            if keyword in file:
                made[keyword] = file[keyword]
        if "SOPInstanceUID" in file:
            origin = Dataset()
            origin.ReferencedSOPClassUID, origin.ReferencedSOPInstanceUID = (
                file.SOPClassUID,
                file.SOPInstanceUID,
            )
            made.SourceImageSequence = [origin]
    made.SOPClassUID, made.SOPInstanceUID = _SECONDARY_CAPTURE, generate_uid(prefix=None)
    made.SeriesInstanceUID = generate_uid(prefix=None)
    made.InstanceNumber = "1"
    made.Modality = "OT"
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.PatientOrientation = ""
    made.SeriesDescription = "Melascope: class activation map"
    made.DerivationDescription = f"Class activation map of the model {answer.model}"
    made.ImageComments = NOTE
    made.BurnedInAnnotation = "YES"
    made.Manufacturer = "Melascope"
    made.ManufacturerModelName = answer.model
    made.SoftwareVersions = __version__
    made.InstanceCreationDate = made.ContentDate = made.SeriesDate = now.strftime("%Y%m%d")
    made.InstanceCreationTime = made.ContentTime = made.SeriesTime = now.strftime("%H%M%S")
    pixels = np.asarray(page)
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    data = pixels.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()
