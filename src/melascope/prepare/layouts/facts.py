"""What one row of a table, or a place in a folder, says about an image or a lesion."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from melascope.labels import UNKNOWN, Label
from melascope.prepare.layouts.table import Row, Table

DERMOSCOPIC = "dermoscopic"
ID_COLUMNS = ("isic_id", "image_id", "image_name", "image", "img_id", "image_file", "filename", "file_name")

_EMPTY = frozenset({"", "nan", "na", "n/a", "none", "null", "unknown"})
_ARCHIVE_ID = re.compile(r"ISIC_\d{7}", re.IGNORECASE)
_EXTENSION = re.compile(r"\.(jpe?g|png|tiff?|bmp|webp|dcm)$", re.IGNORECASE)
_DOWNSAMPLED = re.compile(r"_downsampled$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known; None where it is not."""

    image_id: str | None = None
    lesion_id: str | None = None
    patient_id: str | None = None
    source: str | None = None
    year: int | None = None
    modality: str | None = None
    diagnosis: str | None = None
    malignant: bool | None = None
    melanoma: bool | None = None
    license: str | None = None
    attribution: str | None = None
    age_approx: float | None = None
    sex: str | None = None
    site: str | None = None
    skin_type: str | None = None
    confirmed_by: str | None = None
    manipulation: str | None = None
    weightless: bool | None = None
    """Of no weight in the official scoring of its challenge."""


FIELDS = tuple(field.name for field in fields(Facts))


@dataclass(frozen=True)
class Layout:
    """One kind of table. A row that cannot be used makes `read` raise ValueError with the reason."""

    name: str
    accepts: str
    """Its columns, in words for the error that says what would have been accepted."""
    recognises: Callable[[Table], bool]
    read: Callable[[Row], Facts]


def image_id(row: Row) -> str:
    """The image that a row is about, without folder, extension and the `_downsampled` of ISIC 2019.

    Raises:
        ValueError: if the cell is empty.
    """
    for column in ID_COLUMNS:
        if name := clean_id(row.get(column, "")):
            return name
    raise ValueError("no image id")


def has_id(table: Table) -> bool:
    """Whether one of the columns that name an image is there."""
    return any(column in table.columns for column in ID_COLUMNS)


def clean_id(name: str) -> str:
    """An image's id from a file's name or a cell.

    >>> clean_id("images/isic_0012345_downsampled.jpg")
    'ISIC_0012345'
    >>> clean_id("scan 7.tif")
    'scan 7'
    """
    plain = name.replace("\\", "/").rpartition("/")[2].strip()
    plain = _DOWNSAMPLED.sub("", _EXTENSION.sub("", plain))
    return plain.upper() if is_archive_id(plain) else plain


def is_archive_id(name: str) -> bool:
    """Whether it is an id of the ISIC Archive, which names the same image wherever it appears."""
    return _ARCHIVE_ID.fullmatch(name) is not None


def word(row: Row, *columns: str) -> str | None:
    """The first of some cells that is not empty or a word for empty."""
    for column in columns:
        value = row.get(column, "")
        if value.lower() not in _EMPTY:
            return value
    return None


def number(row: Row, column: str) -> float | None:
    """A cell as a number.

    Raises:
        ValueError: if it is neither empty nor a number.
    """
    value = word(row, column)
    if value is None:
        return None
    try:
        return float(value.replace(",", "."))
    except ValueError as error:
        raise ValueError(f"{column} is {value!r}, not a number") from error


def modality(row: Row) -> str | None:
    """The archive's `image_type`, in one spelling where it matters."""
    value = word(row, "image_type")
    return DERMOSCOPIC if value is not None and value.lower() == DERMOSCOPIC else value


def flag(row: Row, column: str) -> bool | None:
    """A cell that says yes or no, as 1, 1.0, true, 0, 0.0 or false.

    Raises:
        ValueError: for any other word.
    """
    value = word(row, column)
    if value is None:
        return None
    known = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
    if value.lower() not in known:
        raise ValueError(f"{column} is {value!r}, neither 0 nor 1")
    return known[value.lower()]


def label_fields(label: Label) -> dict[str, Any]:
    """A label as fields of `Facts`; empty where nothing is known."""
    return {} if label == UNKNOWN else label._asdict()


# One name for each region, so that subgroups can be compared over sources.
_SITES = {
    "trunk": "trunk",
    "back": "trunk",
    "chest": "trunk",
    "abdomen": "trunk",
    "torso": "trunk",
    "anterior torso": "trunk",
    "posterior torso": "trunk",
    "lateral torso": "trunk",
    "head neck": "head/neck",
    "head and neck": "head/neck",
    "head neck face": "head/neck",
    "face": "head/neck",
    "scalp": "head/neck",
    "neck": "head/neck",
    "ear": "head/neck",
    "upper extremity": "upper extremity",
    "hand": "upper extremity",
    "lower extremity": "lower extremity",
    "foot": "lower extremity",
    "palms soles": "palms/soles",
    "acral palms or soles": "palms/soles",
    "acral nos": "acral",
    "oral genital": "oral/genital",
    "oral or genital": "oral/genital",
    "genital": "oral/genital",
}
SITE_COLUMNS = (
    "anatom_site_general",
    "anatom_site_general_challenge",
    "anatom_site_1",
    "localization",
    "site",
    "anatom_site_special",
)
_CONFIRMED = {
    "histo": "histopathology",
    "follow_up": "serial imaging showing no change",
    "consensus": "single image expert consensus",
    "confocal": "confocal microscopy with consensus dermoscopy",
}
_SKIN_TYPES = {str(i): roman for i, roman in enumerate(("I", "II", "III", "IV", "V", "VI"), start=1)}


def person_and_place(row: Row) -> dict[str, Any]:
    """What most tables hold besides the label, as fields of `Facts`."""
    age = word(row, "age_approx", "age")
    site = word(row, *SITE_COLUMNS)
    sex = word(row, "sex")
    confirmed = word(row, "diagnosis_confirm_type", "dx_type")
    skin = word(row, "fitzpatrick_skin_type")
    plain_site = re.sub(r"[^a-z]+", " ", (site or "").lower()).strip()
    return {
        "lesion_id": word(row, "lesion_id"),
        "patient_id": word(row, "patient_id", "patient"),
        "age_approx": _age(age),
        "sex": sex.lower() if sex else None,
        "site": _SITES.get(plain_site, plain_site or None),
        "skin_type": _SKIN_TYPES.get(skin, skin) if skin else None,
        "confirmed_by": _CONFIRMED.get(confirmed, confirmed) if confirmed else None,
    }


def _age(value: str | None) -> float | None:
    # Ages are written 55, 55.0 or 85+; a row is not refused for another notation.
    years = re.match(r"\d+(\.\d+)?", value or "")
    return float(years.group()) if years else None
