"""The tables of single collections: exports of the ISIC Archive, HAM10000, MILK10k, and any plain table."""

from melascope.labels import Label, from_archive, from_word, known
from melascope.prepare.layouts.challenges import NON_COMMERCIAL, one_hot
from melascope.prepare.layouts.facts import (
    DERMOSCOPIC,
    Facts,
    Layout,
    clean_id,
    flag,
    has_id,
    image_id,
    label_fields,
    modality,
    person_and_place,
    word,
)
from melascope.prepare.layouts.table import Row, Table

_LEVELS = tuple(f"diagnosis_{level}" for level in range(1, 6))
_EXPORTED = frozenset(
    {"attribution", "copyright_license", "image_type", "benign_malignant", "lesion_id", "malignant", *_LEVELS}
)
_MILK_CODES = ("akiec", "bcc", "ben_oth", "bkl", "df", "inf", "mal_oth", "mel", "nv", "sccka", "vasc")
_WORD_COLUMNS = ("diagnosis", "dx", "label", "class", "benign_malignant")


def _is_export(table: Table) -> bool:
    return "isic_id" in table.columns and bool(_EXPORTED & set(table.columns))


def _read_export(row: Row) -> Facts:
    attribution = word(row, "attribution")
    return Facts(
        image_id=clean_id(row["isic_id"]) or image_id(row),
        source=f"ISIC Archive/{attribution}" if attribution else "ISIC Archive",
        modality=modality(row),
        manipulation=word(row, "image_manipulation"),
        license=word(row, "copyright_license"),
        attribution=attribution,
        **person_and_place(row),
        **label_fields(_archive_label(row)),
    )


def _archive_label(row: Row) -> Label:
    if any(word(row, level) for level in _LEVELS):
        return from_archive(word(row, level) for level in _LEVELS)
    # Older exports have the two columns, the tables of ISIC 2024 a number.
    diagnosis, coarse = from_word(word(row, "diagnosis")), from_word(word(row, "benign_malignant"))
    if (malignant := flag(row, "malignant")) is not None:
        coarse = from_word("malignant" if malignant else "benign")
    if coarse.malignant is None:
        return diagnosis if diagnosis.diagnosis else coarse
    melanoma = coarse.melanoma if coarse.melanoma is not None else diagnosis.melanoma
    return Label(diagnosis.diagnosis or coarse.diagnosis, coarse.malignant, melanoma)


def _is_ham10000(table: Table) -> bool:
    return has_id(table) and {"dx", "lesion_id"} <= set(table.columns)


def _read_ham10000(row: Row) -> Facts:
    clinic = word(row, "dataset")
    return Facts(
        image_id=image_id(row),
        source=f"HAM10000/{clinic}" if clinic else "HAM10000",
        year=2018,
        modality=DERMOSCOPIC,
        license=NON_COMMERCIAL,
        **person_and_place(row),
        **label_fields(from_word(row["dx"])),
    )


def _is_milk10k(table: Table) -> bool:
    columns = set(table.columns)
    return "lesion_id" in columns and not has_id(table) and len(columns & set(_MILK_CODES)) >= 4


def _read_milk10k(row: Row) -> Facts:
    lesion = word(row, "lesion_id")
    if lesion is None:
        raise ValueError("no lesion id")
    label = one_hot(row, _MILK_CODES)
    return Facts(lesion_id=lesion, source="MILK10k", year=2025, license=NON_COMMERCIAL, **label_fields(label))


def _is_plain(table: Table) -> bool:
    if not has_id(table):
        return False
    for column in _WORD_COLUMNS:
        if column in table.columns:
            words = [cells[column] for _, cells in table.rows if word(cells, column)]
            return sum(map(known, words)) * 2 > len(words)
    return False


def _read_plain(row: Row) -> Facts:
    words = [from_word(word(row, column)) for column in _WORD_COLUMNS]
    label = next((label for label in words if label.diagnosis), from_word(None))
    return Facts(
        image_id=image_id(row),
        modality=modality(row),
        manipulation=word(row, "image_manipulation"),
        license=word(row, "copyright_license", "license"),
        attribution=word(row, "attribution"),
        **person_and_place(row),
        **label_fields(label),
    )


LAYOUTS = (
    Layout("HAM10000 metadata", "lesion_id, image_id, dx, dx_type, dataset", _is_ham10000, _read_ham10000),
    Layout("MILK10k ground truth", "lesion_id, AKIEC, BCC, BEN_OTH, BKL ...", _is_milk10k, _read_milk10k),
    Layout(
        "ISIC Archive metadata",
        "isic_id with diagnosis_1, image_type, lesion_id or copyright_license",
        _is_export,
        _read_export,
    ),
)
PLAIN = Layout("plain table", "image and diagnosis (a word or a class code)", _is_plain, _read_plain)
