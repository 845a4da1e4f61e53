"""A user's query as the archive reads it today: old fields translated, image type and licences added."""

import re
from collections.abc import Sequence

from melascope.errors import DataError
from melascope.progress import Notify, quiet

LICENSES = ("CC-0", "CC-BY", "CC-BY-NC")
DICTIONARY = "https://www.isic-archive.com/data-dictionary"

_QUOTED = re.compile(r'("[^"]*")')
_TERM = re.compile(r'\b([a-z_0-9]+)\s*:\s*([A-Za-z0-9*_-]+|"[^"]*")')
_TYPE = re.compile(r"\bimage_type\s*:")
_TRANSLATIONS = {
    "benign_malignant": {
        "benign": "diagnosis_1:Benign",
        "malignant": "diagnosis_1:Malignant",
        "indeterminate": "diagnosis_1:Indeterminate",
        "*": "diagnosis_1:*",
    },
    "diagnosis": {
        "melanoma": "diagnosis_3:Melanoma*",
        "melanoma metastasis": 'diagnosis_3:"Melanoma metastasis"',
        "nevus": "diagnosis_3:Nevus",
        "basal cell carcinoma": 'diagnosis_3:"Basal cell carcinoma"',
        "squamous cell carcinoma": 'diagnosis_3:"Squamous cell carcinoma*"',
        "actinic keratosis": 'diagnosis_3:"Solar or actinic keratosis"',
        "seborrheic keratosis": 'diagnosis_3:"Seborrheic keratosis"',
        "pigmented benign keratosis": 'diagnosis_3:"Pigmented benign keratosis"',
        "dermatofibroma": "diagnosis_3:Dermatofibroma",
        "solar lentigo": 'diagnosis_3:"Solar lentigo"',
        "vascular lesion": 'diagnosis_2:"Benign soft tissue proliferations - Vascular"',
        "*": "diagnosis_1:*",
    },
    "anatom_site_general": {
        "head/neck": 'anatom_site_1:"Head and neck"',
        "upper extremity": 'anatom_site_1:"Upper extremity"',
        "lower extremity": 'anatom_site_1:"Lower extremity"',
        "anterior torso": 'anatom_site_2:"Anterior trunk"',
        "lateral torso": 'anatom_site_2:"Lateral trunk"',
        "posterior torso": 'anatom_site_2:"Posterior trunk"',
        "*torso": "anatom_site_1:Trunk",
        "*": "anatom_site_1:*",
    },
}
_SUCCESSORS = {
    "benign_malignant": "diagnosis_1",
    "diagnosis": "diagnosis_1 to diagnosis_5",
    "anatom_site_general": "anatom_site_1 to anatom_site_5",
}


def translated(query: str, notify: Notify = quiet) -> str:
    """Replace fields that the archive no longer has by today's.

    Args:
        query: in the archive's query language.
        notify: called with a sentence about each change.

    Raises:
        DataError: if a value of such a field has no sure translation.
    """

    def translate(term: re.Match[str]) -> str:
        field, value = term[1], term[2].strip('"')
        if field not in _TRANSLATIONS:
            return term[0]
        if value not in _TRANSLATIONS[field]:
            raise DataError(
                f"{term[0]}: the archive no longer has the field {field}; use {_SUCCESSORS[field]}, with values from "
                f"{DICTIONARY}"
            )
        new = _TRANSLATIONS[field][value]
        notify(f"the archive no longer has {term[0]}; the query uses {new}")
        return new

    return _TERM.sub(translate, query)


def restricted(query: str, licenses: Sequence[str] = (), notify: Notify = quiet) -> str:
    """Restrict a query to dermoscopic images, unless it names the type, and to some licences.

    Args:
        query: in the archive's query language; may be empty.
        licenses: any, if empty.
        notify: called with a sentence if the type is added.

    Raises:
        DataError: for an unknown licence, or for parentheses or quotes without their other half.
    """
    if not _balanced(query):
        raise DataError(f"{query}: its parentheses or quotes do not match")
    parts = [f"({query})"] if query else []
    if not _TYPE.search(_QUOTED.sub("", query)):
        parts.append("image_type:dermoscopic")
        notify("dermoscopic images only; to change that, name an image_type in the query")
    if unknown := set(licenses) - set(LICENSES):
        raise DataError(f"--license {', '.join(sorted(unknown))}: the archive has {', '.join(LICENSES)}")
    if licenses:
        terms = " OR ".join(f"copyright_license:{license_}" for license_ in licenses)
        parts.append(f"({terms})" if len(licenses) > 1 else terms)
    return " AND ".join(parts) if len(parts) > 1 or not query else query


def _balanced(query: str) -> bool:
    plain, depth = _QUOTED.sub("", query), 0
    for character in plain:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0 and '"' not in plain
