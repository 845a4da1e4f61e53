"""DICOM in and out, FHIR out, and which of them a client gets."""

import base64
import io
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from fhir.resources.bundle import Bundle as BundleR5
from fhir.resources.R4B.bundle import Bundle as BundleR4
from PIL import Image
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from helpers import models
from helpers.dicom_files import DERMOSCOPIC, dicom, saved
from melascope import images
from melascope.errors import ImageError
from melascope.explain.overlay import panel
from melascope.infer.answer import Answer
from melascope.model.card import INTENDED_USE, Card
from melascope.web.analysis import Result
from melascope.web.errors import RequestError
from melascope.web.forms import dicom_read, dicom_write, fhir, negotiate

PIXELS = models.lesion(2, width=121, height=99)  # odd, so that padding counts
GREY = np.asarray(Image.fromarray(PIXELS).convert("L"))


def read(data):
    assert dicom_read.is_dicom(data)
    return images.decode(dicom_read.image_file(data, "a.dcm"), "a.dcm")


def ybr(pixels):
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


@pytest.mark.parametrize(
    ("data", "expected", "within"),
    [
        (dicom(PIXELS), PIXELS, 0),
        (dicom(PIXELS, syntax=ImplicitVRLittleEndian), PIXELS, 0),
        (dicom(PIXELS, syntax=ExplicitVRBigEndian), PIXELS, 0),
        (dicom(PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.4"), PIXELS, 0),
        (dicom(np.moveaxis(PIXELS, 2, 0).reshape(99, 121, 3), PlanarConfiguration=1), PIXELS, 0),
        (dicom(ybr(PIXELS), "YBR_FULL"), PIXELS, 2),
        (dicom(GREY, "MONOCHROME2"), GREY, 0),
        (dicom(255 - GREY, "MONOCHROME1"), GREY, 0),
        (dicom(GREY.astype(np.uint16) << 4, "MONOCHROME2", BitsStored=12, HighBit=11), GREY, 0),
        (dicom(PIXELS, "YBR_FULL_422", saved(PIXELS, "JPEG", quality=95), JPEGBaseline8Bit), PIXELS, 40),
        (dicom(GREY, "MONOCHROME2", saved(GREY, "JPEG", quality=95), JPEGBaseline8Bit), GREY, 20),
        (dicom(GREY, "MONOCHROME1", saved(255 - GREY, "JPEG", quality=95), JPEGBaseline8Bit), GREY, 20),
        (dicom(PIXELS, "YBR_RCT", saved(PIXELS, "JPEG2000", no_jp2=True), JPEG2000Lossless), PIXELS, 0),
        (
            dicom(PIXELS, "YBR_ICT", saved(PIXELS, "JPEG2000", no_jp2=True, irreversible=True), JPEG2000),
            PIXELS,
            12,
        ),
    ],
    ids=["plain", "implicit", "big-endian", "vl", "planar", "ybr", "grey", "inverted", "12-bit", "jpeg", "grey-jpeg",
         "inverted-jpeg",
         "j2k-lossless", "j2k"],
)  # fmt: skip
def test_photographs_are_read(data, expected, within):
    difference = read(data).astype(int) - (expected if expected.ndim == 3 else expected[..., None])
    assert np.abs(difference).max() <= within


def test_an_rgb_jpeg_keeps_its_colours():
    """Without a mark of its own, such a stream is taken for YCbCr by everybody but DICOM."""
    stream = saved(PIXELS, "JPEG", quality=95, keep_rgb=True)
    bare = re.sub(rb"\xff\xee\x00\x0eAdobe.{7}", b"", stream, flags=re.DOTALL)
    # Components named R, G and B would give it away as well.
    bare = bare.replace(b"R\x11\x00G\x11\x00B\x11\x00", b"\x01\x11\x00\x02\x11\x00\x03\x11\x00")
    bare = bare.replace(b"R\x00G\x00B\x00", b"\x01\x00\x02\x00\x03\x00")
    assert np.abs(images.decode(bare, "").astype(int) - PIXELS).max() > 100
    assert np.abs(read(dicom(PIXELS, "RGB", bare, JPEGBaseline8Bit)).astype(int) - PIXELS).max() < 40


def _deflated():
    """A megabyte of zeros in a kilobyte, as a bomb begins."""
    plain = dicom(np.zeros((600, 600, 3), dtype=np.uint8))
    made = dcmread(io.BytesIO(plain))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    assert len(file.getvalue()) < 10_000
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dicom(PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.2"), "of CT Image Storage, not a photograph"),
        (dicom(PIXELS, NumberOfFrames=3), "3 frames; send one image per file"),
        (dicom(PIXELS, Rows=20_000, Columns=20_000), "20000 x 20000 pixels"),
        (dicom(PIXELS, Rows=400), "damaged DICOM file"),
        (dicom(PIXELS)[:3000], "damaged DICOM file"),
        (dicom(PIXELS, frame=b"\0" * 64, syntax=RLELossless), "compressed as RLE Lossless"),
        (_deflated(), "compressed as Deflated"),
        (dicom(PIXELS, "YBR_FULL", b"\xff\xd8no", JPEGBaseline8Bit), "not an image"),
        (b"\0" * 128 + b"DICM" + zlib.compress(bytes(99)), "DICOM"),
    ],
)
def test_other_dicom_files_are_errors(data, reason):
    with pytest.raises(ImageError, match=re.escape(reason)):
        read(data)


def answer(**changes):
    rng = np.random.default_rng(0)
    made = Answer(
        path="a.dcm", status="ok", label="malignant", confidence=0.71, malignant=0.71, melanoma=0.4, threshold=0.3,
        weak=False, reason=None, model="tiny@0123456789ab", heat=rng.normal(size=(2, 5, 5)).astype(np.float32),
    )  # fmt: skip
    return replace(made, **changes)


REFUSED = answer(status="refused", label=None, confidence=None, weak=None, reason="The image is too dark.")
ERROR = answer(status="error", label=None, confidence=None, malignant=None, melanoma=None, weak=None,
               reason="not an image", heat=None)  # fmt: skip


def test_a_secondary_capture_lies_in_the_study_of_its_source():
    page = panel(PIXELS, answer(), "malignant")
    source = dcmread(io.BytesIO(dicom(PIXELS)))
    made = dcmread(io.BytesIO(dicom_write.secondary_capture(page, answer(), dicom(PIXELS))))
    assert made.file_meta.MediaStorageSOPClassUID == made.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (made.pixel_array == np.asarray(page)).all()
    again = dcmread(io.BytesIO(dicom_write.secondary_capture(page, answer(), _source(source))))
    assert again.StudyInstanceUID == source.StudyInstanceUID
    assert (again.PatientName, again.PatientID, again.AccessionNumber) == ("Doe^Jane", "4711", "A1")
    assert again.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert again.SourceImageSequence[0].ReferencedSOPClassUID == DERMOSCOPIC
    assert again.SeriesInstanceUID != source.SeriesInstanceUID
    assert again.SOPInstanceUID not in (made.SOPInstanceUID, source.SOPInstanceUID)
    assert again.ImageType == ["DERIVED", "SECONDARY"]
    assert (again.BurnedInAnnotation, again.ManufacturerModelName) == ("YES", "tiny@0123456789ab")
    assert "never replaces" in again.ImageComments
    # What modules of the IOD ask for (PS3.3 A.8.1), types 1 and 2.
    for keyword in (
        "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "ReferringPhysicianName",
        "Modality", "SeriesNumber", "ConversionType", "InstanceNumber", "PatientOrientation", "SamplesPerPixel",
        "PhotometricInterpretation", "PlanarConfiguration", "BitsStored", "HighBit", "PixelRepresentation",
    ):  # fmt: skip
        assert keyword in again, keyword


def _source(file):
    data = io.BytesIO()
    file.save_as(data, enforce_file_format=True)
    return data.getvalue()


@pytest.mark.filterwarnings("error")
def test_a_secondary_capture_copies_what_hospitals_write(caplog):
    """Values that break the letter of the standard come through as they are, and no warning quotes them."""
    odd = {"PatientSex": "U", "PatientBirthDate": "1980", "PatientName": "Jörg Doe", "StudyTime": "25"}
    source = dicom(PIXELS, SpecificCharacterSet="ISO_IR 192", StudyDescription="Skin", **odd)
    page = panel(PIXELS, answer(), "malignant")
    made = dcmread(io.BytesIO(dicom_write.secondary_capture(page, answer(), source)))
    assert {keyword: made[keyword].value for keyword in odd} == odd
    assert (made.SpecificCharacterSet, made.StudyDescription) == ("ISO_IR 192", "Skin")
    assert caplog.text == ""


def test_a_secondary_capture_of_another_file_has_no_patient():
    page = panel(PIXELS, answer(), "malignant")
    made = dcmread(io.BytesIO(dicom_write.secondary_capture(page, answer(), saved(PIXELS, "PNG"))))
    assert (made.PatientName, made.PatientID) == ("", "")
    assert "SourceImageSequence" not in made


@pytest.fixture
def card(tmp_path):
    models.write_card(tmp_path / "tiny.keras", keras_sha256="0" * 64, license="CC-BY-NC")
    return Card.read(tmp_path / "tiny.json")


def bundle(card, version, *findings):
    """Resources by type, of a bundle that is valid and whose references lead somewhere."""
    made = fhir.bundle(findings, card, version)
    {fhir.R4: BundleR4, fhir.R5: BundleR5}[version].model_validate(made)
    resources = {}
    for entry in made["entry"]:
        resources.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    addresses = {entry["fullUrl"] for entry in made["entry"]}
    assert set(re.findall(r"'reference': '([^']+)'", str(made))) <= addresses
    return resources


@pytest.mark.parametrize("version", fhir.VERSIONS)
def test_a_report_says_what_the_answer_says(card, version):
    resources = bundle(card, version, Result(answer(weak=True)))
    (report,) = resources["DiagnosticReport"]
    called, malignant, melanoma = resources["Observation"]
    assert report["status"] == called["status"] == "preliminary"
    assert len(report["result"]) == 3
    assert "malignant" in report["conclusion"]
    assert called["valueCodeableConcept"] == {"text": "malignant"}
    assert called["interpretation"][0]["coding"][0]["code"] == "IND"
    assert (malignant["valueQuantity"]["value"], melanoma["valueQuantity"]["value"]) == (0.71, 0.4)
    assert malignant["referenceRange"][0]["high"]["value"] == 0.3
    assert "CC-BY-NC" in str(resources["Device"])
    assert INTENDED_USE in str(report)


@pytest.mark.parametrize("version", fhir.VERSIONS)
def test_refused_and_unreadable_images_have_no_value(card, version):
    resources = bundle(card, version, Result(REFUSED, panel=b"shows probabilities"), Result(ERROR))
    (observation,) = resources["Observation"]
    assert observation["dataAbsentReason"]["text"] == REFUSED.reason
    assert not [name for name in observation if name.startswith("value")]
    assert "0.71" not in str(resources)
    assert "presentedForm" not in str(resources)
    (outcome,) = resources["OperationOutcome"]
    assert outcome["issue"][0]["diagnostics"] == "a.dcm: not an image"
    assert len(resources["DiagnosticReport"]) == 1


def test_r4_and_r5_differ_where_the_standard_does(card):
    finding = Result(answer(), panel=saved(PIXELS, "PNG"))
    r4, r5 = (bundle(card, version, finding) for version in fhir.VERSIONS)
    old, new = r4["DiagnosticReport"][0], r5["DiagnosticReport"][0]
    assert base64.b64decode(old["presentedForm"][0]["data"]) == finding.panel
    assert (type(old["presentedForm"][0]["size"]), type(new["presentedForm"][0]["size"])) == (int, str)
    assert ("note" in old, "note" in new) == (False, True)
    assert ("deviceName" in r4["Device"][0], "name" in r5["Device"][0]) == (True, True)
    # So a resource of one version is invalid in the other.
    for wrong, made in ((BundleR5, fhir.R4), (BundleR4, fhir.R5)):
        with pytest.raises(ValueError, match=r"entry\.0\.resource"):
            wrong.model_validate(fhir.bundle([finding], card, made))


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", negotiate.Form("application/json")),
        ("*/*", negotiate.Form("application/json")),
        ("application/fhir+json", negotiate.Form("application/fhir+json", "4.0")),
        ("application/fhir+json; fhirVersion=5.0", negotiate.Form("application/fhir+json", "5.0")),
        ("text/html, application/json;q=0.9, */*;q=0.1", negotiate.Form("application/json")),
        ("application/json;q=0.1, application/dicom", negotiate.Form("application/dicom")),
        ('multipart/related; type="application/dicom"', negotiate.Form("application/dicom")),
    ],
)
def test_a_client_gets_the_format_it_prefers(accept, form):
    assert negotiate.form_of(accept) == form


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/fhir+json; fhirVersion=3.0", "application/json;q=0", "application/json;q=x"],
)
def test_other_formats_are_not_acceptable(accept):
    with pytest.raises(RequestError) as refused:
        negotiate.form_of(accept)
    assert refused.value.status == 406
