"""Queries of users become queries that the archive reads today."""

import pytest

from melascope.errors import DataError
from melascope.fetch.query import restricted, translated


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("benign_malignant:malignant", "diagnosis_1:Malignant"),
        ("benign_malignant:benign", "diagnosis_1:Benign"),
        ("diagnosis:melanoma", "diagnosis_3:Melanoma*"),
        ('diagnosis:"basal cell carcinoma"', 'diagnosis_3:"Basal cell carcinoma"'),
        ('-anatom_site_general:"head/neck"', '-anatom_site_1:"Head and neck"'),
        ("(diagnosis:nevus OR sex:male)", "(diagnosis_3:Nevus OR sex:male)"),
        ("diagnosis_3:Nevus", "diagnosis_3:Nevus"),
        ('diagnosis_3:"of diagnosis:melanoma"', 'diagnosis_3:"of diagnosis:melanoma"'),
    ],
)
def test_old_fields_become_todays(old: str, new: str) -> None:
    messages: list[str] = []
    assert translated(old, messages.append) == new
    assert len(messages) == (old != new)


def test_an_old_value_without_a_sure_translation_is_an_error() -> None:
    with pytest.raises(DataError, match=r"diagnosis:wart: .* use diagnosis_1 to diagnosis_5"):
        translated("diagnosis:wart")


@pytest.mark.parametrize(
    ("query", "licenses", "whole"),
    [
        ("", (), "image_type:dermoscopic"),
        ("sex:male OR sex:female", (), "(sex:male OR sex:female) AND image_type:dermoscopic"),
        ("image_type:*", (), "image_type:*"),
        ("-image_type:clinical", (), "-image_type:clinical"),
        ('diagnosis_3:"image_type:"', (), '(diagnosis_3:"image_type:") AND image_type:dermoscopic'),
        ("image_type:*", ("CC-0",), "(image_type:*) AND copyright_license:CC-0"),
        (
            "",
            ("CC-0", "CC-BY"),
            "image_type:dermoscopic AND (copyright_license:CC-0 OR copyright_license:CC-BY)",
        ),
    ],
)
def test_type_and_licences_are_added(query: str, licenses: tuple[str, ...], whole: str) -> None:
    messages: list[str] = []
    assert restricted(query, licenses, messages.append) == whole
    assert bool(messages) == ("image_type:dermoscopic" in whole)
