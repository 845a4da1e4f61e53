"""The tables of the ISIC challenges 2016 to 2020, recognised by column names and content."""

from functools import partial
from typing import Any

from melascope.labels import Label, from_word, known
from melascope.prepare.layouts.facts import (
    DERMOSCOPIC,
    Facts,
    Layout,
    flag,
    has_id,
    image_id,
    label_fields,
    number,
    person_and_place,
    word,
)
from melascope.prepare.layouts.table import Row, Table

CC0 = "CC-0"
NON_COMMERCIAL = "CC-BY-NC"
_WEIGHTLESS = frozenset({"ISIC_0035068"})  # of zero weight in the official scoring of 2018
_CODES = ("mel", "nv", "bcc", "akiec", "ak", "bkl", "df", "vasc", "scc", "unk")
_BINARY = {"benign": "benign", "malignant": "malignant", "0": "benign", "0.0": "benign", "1": "malignant"}
_BINARY["1.0"] = "malignant"


def _is_2016(table: Table) -> bool:
    if len(table.columns) != 2 or not (table.headless or has_id(table)):
        return False
    column = _label_column(table.columns)
    named = table.headless or column in ("label", "class", "malignant", "benign_malignant")
    return named and all(cells[column].lower() in {*_BINARY, ""} for _, cells in table.rows)


def _label_column(columns: tuple[str, ...]) -> str:
    return next((name for name in columns[::-1] if name not in ("image", "img_id")), columns[-1])


def _read_2016(row: Row) -> Facts:
    value = row[_label_column(tuple(row))].lower()
    if value not in _BINARY:
        raise ValueError(f"the class is {value!r}")
    return Facts(image_id=image_id(row), **_of(2016), **label_fields(from_word(_BINARY[value])))


def _is_2017(table: Table) -> bool:
    return has_id(table) and {"melanoma", "seborrheic_keratosis"} <= set(table.columns)


def _read_2017(row: Row) -> Facts:
    melanoma, keratosis = flag(row, "melanoma"), flag(row, "seborrheic_keratosis")
    if melanoma and keratosis:
        raise ValueError("both melanoma and seborrheic keratosis")
    label: dict[str, Any] = {}
    if melanoma or keratosis or (melanoma, keratosis) == (False, False):  # neither is a nevus
        label = label_fields(
            from_word("melanoma" if melanoma else "seborrheic keratosis" if keratosis else "nevus")
        )
    return Facts(image_id=image_id(row), **_of(2017), **label)


def _is_one_hot(table: Table, year: int) -> bool:
    codes = set(_CODES) & set(table.columns)
    return has_id(table) and len(codes) >= 4 and ("akiec" in codes) == (year == 2018)


def _read_one_hot(row: Row, year: int) -> Facts:
    image = image_id(row)
    weight = number(row, "score_weight")
    return Facts(
        image_id=image,
        weightless=image in _WEIGHTLESS or weight == 0 or None,
        **_of(year),
        **label_fields(one_hot(row, _CODES)),
    )


def one_hot(row: Row, codes: tuple[str, ...]) -> Label:
    """The label of a row with one column a class, in any order; nothing marked is nothing known.

    Raises:
        ValueError: if two classes are marked, or a cell is neither 0 nor 1.
    """
    marked = [code for code in codes if flag(row, code)]
    if len(marked) > 1:
        raise ValueError(f"marked as {' and '.join(marked)}")
    return from_word(marked[0] if marked else None)


def _is_2020(table: Table) -> bool:
    columns = set(table.columns)
    return has_id(table) and "target" in columns and bool(columns & {"patient_id", "benign_malignant"})


def _read_2020(row: Row) -> Facts:
    # `target` is melanoma; what is not melanoma counts as benign (Rotemberg et al. 2021) and is mostly called
    # `unknown`. One of them is an atypical melanocytic proliferation, which is not known to be benign.
    melanoma = flag(row, "target")
    if melanoma is None:
        raise ValueError("no target")
    diagnosis = word(row, "diagnosis")
    named = from_word(diagnosis)
    open_ = diagnosis is not None and known(diagnosis) and named.malignant is None
    label = Label(
        named.diagnosis or ("melanoma" if melanoma else "benign"), None if open_ else melanoma, melanoma
    )
    return Facts(image_id=image_id(row), **_of(2020), **person_and_place(row), **label_fields(label))


def _is_grouping(table: Table) -> bool:
    return set(table.columns) == {"image", "lesion_id", "diagnosis_confirm_type"}


def _is_2019_metadata(table: Table) -> bool:
    columns = set(table.columns)
    return "image" in columns and {"age_approx", "anatom_site_general", "sex"} <= columns


def _read_metadata(row: Row, year: int) -> Facts:
    return Facts(image_id=image_id(row), **_of(year), **person_and_place(row))


def _of(year: int) -> dict[str, Any]:
    license_ = CC0 if year < 2018 else NON_COMMERCIAL
    return {"source": f"ISIC {year}", "year": year, "modality": DERMOSCOPIC, "license": license_}


LAYOUTS = (
    Layout("ISIC 2017 ground truth", "image_id, melanoma, seborrheic_keratosis", _is_2017, _read_2017),
    Layout(
        "ISIC 2018 ground truth",
        "image, MEL, NV, BCC, AKIEC, BKL, DF, VASC",
        partial(_is_one_hot, year=2018),
        partial(_read_one_hot, year=2018),
    ),
    Layout(
        "ISIC 2018 lesion groupings",
        "image, lesion_id, diagnosis_confirm_type",
        _is_grouping,
        partial(_read_metadata, year=2018),
    ),
    Layout(
        "ISIC 2019 ground truth",
        "image, MEL, NV, BCC, AK, BKL, DF, VASC, SCC, UNK",
        partial(_is_one_hot, year=2019),
        partial(_read_one_hot, year=2019),
    ),
    Layout(
        "ISIC 2019 metadata",
        "image, age_approx, anatom_site_general, lesion_id, sex",
        _is_2019_metadata,
        partial(_read_metadata, year=2019),
    ),
    Layout("ISIC 2020 ground truth", "image_name, patient_id, target, diagnosis", _is_2020, _read_2020),
    Layout(
        "ISIC 2016 ground truth", "no header: id, benign or malignant (or 0.0, 1.0)", _is_2016, _read_2016
    ),
)
