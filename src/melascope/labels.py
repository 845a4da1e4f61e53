"""From diagnosis words to targets: one table for every source.

Two targets, never mixed up: `malignant` (any malignant lesion) and `melanoma`. Each is True, False or
None (not known). The archive calls actinic keratosis, and some melanocytic proliferations,
*Indeterminate*: these are None for `malignant`, not benign.

Sources: the ISIC Archive's five-level diagnosis (its field `diagnosis_1` to `diagnosis_5`), the class codes
of the ISIC challenges 2016 to 2020, HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161) and MILK10k.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

TARGETS = ("malignant", "melanoma")  # the order of a network's outputs
WORDS = {"malignant": ("benign", "malignant"), "melanoma": ("not melanoma", "melanoma")}
"""By target: the words for false and true."""
NOT_RECORDED = "not recorded"
NOTICE = "A research tool: it supports a clinician and never replaces one."
"""Stands wherever a result is shown."""


FAMILIES: dict[str, tuple[str, ...]] = {
    "melanoma": ("melanoma", "lentigo maligna"),
    "basal cell carcinoma": ("basal cell",),
    "squamous cell carcinoma or actinic keratosis": (
        "squamous cell",
        "bowen",
        "keratoacanthoma",
        "actinic keratosis",
    ),
    "nevus": ("nevus", "spitz"),
    "benign keratosis": ("keratosis", "lentigo"),
    "dermatofibroma": ("dermatofibroma",),
    "vascular lesion": ("vascular", "angioma", "angiokeratoma", "pyogenic granuloma"),
}
"""Families of diagnoses that look alike, each with words that identify it; the first match counts."""


class Label(NamedTuple):
    """What is known of one lesion."""

    diagnosis: str | None
    malignant: bool | None
    melanoma: bool | None


UNKNOWN = Label(None, None, None)

_MELANOMA = (True, True)
_CANCER = (True, False)  # malignant, but not melanoma
_BENIGN = (False, False)
_UNSURE = (None, False)  # may turn malignant, or mixes both; not melanoma
_OPEN = (None, None)

# Words are compared in lower case, with every run of other characters as one space.
_TABLE: dict[str, tuple[str, tuple[bool | None, bool | None]]] = {
    # Class codes of the challenges, HAM10000 and MILK10k. AKIEC mixes actinic keratosis with Bowen's
    # disease (squamous cell carcinoma in situ), so whether an image of it is malignant is not known.
    "mel": ("melanoma", _MELANOMA),
    "nv": ("nevus", _BENIGN),
    "bcc": ("basal cell carcinoma", _CANCER),
    "akiec": ("actinic keratosis or Bowen's disease", _UNSURE),
    "ak": ("actinic keratosis", _UNSURE),
    "bkl": ("benign keratosis", _BENIGN),
    "df": ("dermatofibroma", _BENIGN),
    "vasc": ("vascular lesion", _BENIGN),
    "scc": ("squamous cell carcinoma", _CANCER),
    "scc ka": ("squamous cell carcinoma or keratoacanthoma", _CANCER),
    "sccka": ("squamous cell carcinoma or keratoacanthoma", _CANCER),
    "inf": ("inflammatory or infectious disease", _BENIGN),
    "ben oth": ("other benign lesion", _BENIGN),
    "mal oth": ("other malignant lesion", _CANCER),
    "unk": ("unknown", _OPEN),
    # Words used by the challenges and by folders.
    "melanoma": ("melanoma", _MELANOMA),
    "malignant melanoma": ("melanoma", _MELANOMA),
    "melanoma invasive": ("melanoma invasive", _MELANOMA),
    "melanoma in situ": ("melanoma in situ", _MELANOMA),
    "melanoma metastasis": ("melanoma metastasis", _MELANOMA),
    "melanoma nos": ("melanoma", _MELANOMA),
    "nevus": ("nevus", _BENIGN),
    "melanocytic nevus": ("nevus", _BENIGN),
    "basal cell carcinoma": ("basal cell carcinoma", _CANCER),
    "squamous cell carcinoma": ("squamous cell carcinoma", _CANCER),
    "seborrheic keratosis": ("seborrheic keratosis", _BENIGN),
    "actinic keratosis": ("actinic keratosis", _UNSURE),
    "solar or actinic keratosis": ("actinic keratosis", _UNSURE),
    "lichenoid keratosis": ("lichenoid keratosis", _BENIGN),
    "solar lentigo": ("solar lentigo", _BENIGN),
    "lentigo nos": ("lentigo", _BENIGN),
    "lentigo simplex": ("lentigo simplex", _BENIGN),
    "dermatofibroma": ("dermatofibroma", _BENIGN),
    "vascular lesion": ("vascular lesion", _BENIGN),
    "hemangioma": ("hemangioma", _BENIGN),
    "angioma": ("angioma", _BENIGN),
    "cafe au lait macule": ("cafe-au-lait macule", _BENIGN),
    "pigmented benign keratosis": ("pigmented benign keratosis", _BENIGN),
    "benign keratosis": ("benign keratosis", _BENIGN),
    "nevus spilus": ("nevus spilus", _BENIGN),
    "mucosal melanosis": ("mucosal melanosis", _BENIGN),
    "angiofibroma or fibrous papule": ("angiofibroma or fibrous papule", _BENIGN),
    "angiokeratoma": ("angiokeratoma", _BENIGN),
    "pyogenic granuloma": ("pyogenic granuloma", _BENIGN),
    "clear cell acanthoma": ("clear cell acanthoma", _BENIGN),
    "neurofibroma": ("neurofibroma", _BENIGN),
    "acrochordon": ("acrochordon", _BENIGN),
    "sebaceous adenoma": ("sebaceous adenoma", _BENIGN),
    "sebaceous hyperplasia": ("sebaceous hyperplasia", _BENIGN),
    "scar": ("scar", _BENIGN),
    "verruca": ("verruca", _BENIGN),
    "bowen s disease": ("Bowen's disease", _CANCER),
    "keratoacanthoma": ("keratoacanthoma", _CANCER),
    "metastatic carcinoma": ("metastatic carcinoma", _CANCER),
    "aimp": ("atypical intraepithelial melanocytic proliferation", _OPEN),
    "atypical melanocytic proliferation": ("atypical melanocytic proliferation", _OPEN),
    "atypical spitz tumor": ("atypical Spitz tumour", _OPEN),
    "benign": ("benign", _BENIGN),
    # Says that it is malignant, not of which kind: whether it is melanoma is not known.
    "malignant": ("malignant", (True, None)),
    "indeterminate": ("indeterminate", _OPEN),
    "unknown": ("unknown", _OPEN),
}

_MELANOMA_LEVEL_2 = "malignant melanocytic proliferations melanoma"


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", word.lower()).strip()


def known(word: str) -> bool:
    """Whether a word or class code is in the table."""
    return _plain(word) in _TABLE


def from_word(word: str | None) -> Label:
    """Targets of a diagnosis word or class code; a word that is not in the table has unknown targets.

    >>> from_word("BCC")
    Label(diagnosis='basal cell carcinoma', malignant=True, melanoma=False)
    >>> from_word("actinic keratosis")  # may turn malignant: not known, which is not the same as benign
    Label(diagnosis='actinic keratosis', malignant=None, melanoma=False)
    """
    if word is None or not _plain(word):
        return UNKNOWN
    diagnosis, (malignant, melanoma) = _TABLE.get(_plain(word), (word.strip(), _OPEN))
    return Label(diagnosis, malignant, melanoma)


def from_archive(levels: Iterable[str | None]) -> Label:
    """Targets of the archive's diagnosis, level 1 (`Benign`, `Malignant`, `Indeterminate`) first.

    The most specific level is the diagnosis. Melanoma is what the archive files under
    `Malignant melanocytic proliferations (Melanoma)` at level 2. A collision of lesions of which one is
    malignant says nothing of melanoma.

    >>> from_archive(["Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma in situ"])
    Label(diagnosis='Melanoma in situ', malignant=True, melanoma=True)
    """
    words = [level.strip() for level in levels if level and level.strip()]
    if not words:
        return UNKNOWN
    plain = [_plain(word) for word in words]
    diagnosis = words[-1]
    if plain[0] == "benign":
        return Label(diagnosis, False, False)
    if plain[0] == "malignant":
        if _MELANOMA_LEVEL_2 in plain or any(_TABLE.get(p, ("", None))[1] == _MELANOMA for p in plain):
            return Label(diagnosis, True, True)
        specific = len(plain) > 1 and not plain[1].startswith("collision")
        return Label(diagnosis, True, False if specific else None)
    if plain[0] == "indeterminate":
        specific = len(plain) > 1 and "melanocytic" not in plain[1]
        return Label(diagnosis, None, False if specific else None)
    return from_word(diagnosis)


def family(diagnosis: object) -> int:
    """Number of a diagnosis's family: its place in `FAMILIES`, their number for another, -1 if it is not known.

    The family is not known of a diagnosis that is only a target, such as `malignant`, of a collision of lesions, and
    of what is not a word, such as a gap in a table.

    >>> list(FAMILIES)[family("Bowen's disease")]
    'squamous cell carcinoma or actinic keratosis'
    >>> family("malignant")
    -1
    """
    word = _plain(diagnosis) if isinstance(diagnosis, str) else ""
    label = _TABLE.get(word)
    if not word or word.startswith("collision") or (label and label[0] in {"benign", "malignant"}):
        return -1
    for number, parts in enumerate(FAMILIES.values()):
        if any(part in word for part in parts):
            return number
    return -1 if label and label[1] == _OPEN else len(FAMILIES)
