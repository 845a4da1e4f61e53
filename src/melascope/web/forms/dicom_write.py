"""A picture of an answer as a DICOM secondary capture, for the archive that the image came from."""

import io
from datetime import datetime

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from melascope import __version__
from melascope.infer.answer import Answer
from melascope.labels import NOTICE
from melascope.web.forms.dicom_read import is_dicom

# Required elements of patient and study, empty if the source has none. They are copied as they are: a stricter
# writer would refuse studies with a sex of "U" or half a date, which hospitals have.
_REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_COPIED = (*_REQUIRED, "SpecificCharacterSet", "IssuerOfPatientID", "StudyInstanceUID", "StudyDescription")


def secondary_capture(page: Image.Image, answer: Answer, source: bytes) -> bytes:
    """Make a DICOM file of a picture.

    Args:
        page: as `melascope.explain.overlay.panel` draws it.
        answer: that it shows.
        source: the uploaded file. If it is DICOM, its patient and study are copied, and the capture refers to it;
            else there is no patient, and the study is a new one.
    """
    now = datetime.now()  # DICOM wants local time
    capture = Dataset()
    for keyword in _REQUIRED:
        setattr(capture, keyword, "")
    capture.StudyInstanceUID = generate_uid(prefix=None)
    if is_dicom(source):
        file = dcmread(io.BytesIO(source), stop_before_pixels=True)
        for keyword in _COPIED:
            if keyword in file:
                capture[keyword] = file[keyword]
        if "SOPInstanceUID" in file:
            reference = Dataset()
            reference.ReferencedSOPClassUID = file.SOPClassUID
            reference.ReferencedSOPInstanceUID = file.SOPInstanceUID
            capture.SourceImageSequence = [reference]
    capture.SOPClassUID, capture.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid(prefix=None)
    capture.SeriesInstanceUID, capture.SeriesNumber = generate_uid(prefix=None), None
    capture.InstanceNumber = 1
    capture.Modality, capture.ConversionType, capture.ImageType = "OT", "WSD", ["DERIVED", "SECONDARY"]
    capture.PatientOrientation = ""
    capture.BurnedInAnnotation = "YES"
    capture.SeriesDescription = "Melascope: class activation map"
    capture.DerivationDescription = f"Class activation map of the model {answer.model}"
    capture.ImageComments = f"The heat map shows where the network responded. It is not evidence. {NOTICE}"
    capture.Manufacturer, capture.ManufacturerModelName = "Melascope", answer.model
    capture.SoftwareVersions = __version__
    capture.InstanceCreationDate = capture.ContentDate = capture.SeriesDate = now.strftime("%Y%m%d")
    capture.InstanceCreationTime = capture.ContentTime = capture.SeriesTime = now.strftime("%H%M%S")
    capture.set_pixel_data(np.asarray(page), "RGB", bits_stored=8, generate_instance_uid=False)
    out = io.BytesIO()
    capture.save_as(out, enforce_file_format=True)
    return out.getvalue()
