"""One table from words to the two targets, against the archive's own hierarchy and the challenges' papers."""

import pytest

from melascope.labels import FAMILIES, UNKNOWN, Label, family, from_archive, from_word, known

MELANOMA, CANCER, BENIGN = (True, True), (True, False), (False, False)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # HAM10000, doi:10.1038/sdata.2018.161: akiec mixes actinic keratosis with Bowen's disease.
        ("mel", MELANOMA),
        ("nv", BENIGN),
        ("bcc", CANCER),
        ("akiec", (None, False)),
        ("bkl", BENIGN),
        ("df", BENIGN),
        ("vasc", BENIGN),
        # ISIC 2019 and MILK10k
        ("AK", (None, False)),
        ("SCC", CANCER),
        ("UNK", (None, None)),
        ("BEN_OTH", BENIGN),
        ("MAL_OTH", CANCER),
        ("SCCKA", CANCER),
        ("INF", BENIGN),
        # folders and older exports
        ("Malignant", (True, None)),
        ("benign", BENIGN),
        ("Malignant Melanoma", MELANOMA),
        ("melanoma_in_situ", MELANOMA),
        ("seborrheic keratosis", BENIGN),
        ("Pigmented Benign Keratosis", BENIGN),
        ("atypical melanocytic proliferation", (None, None)),
        ("Indeterminate", (None, None)),
        ("something new", (None, None)),
    ],
)
def test_words(word, expected):
    label = from_word(word)
    assert (label.malignant, label.melanoma) == expected
    assert label.diagnosis


@pytest.mark.parametrize("nothing", [None, "", "  ", "--"])
def test_nothing_is_unknown(nothing):
    assert from_word(nothing) == UNKNOWN


def test_a_word_outside_the_table_is_kept_as_it_is():
    assert from_word(" Lichen aureus ") == Label("Lichen aureus", None, None)
    assert not known("Lichen aureus")


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (
            ["Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma Invasive"],
            ("Melanoma Invasive", *MELANOMA),
        ),
        (["Malignant", "Malignant melanocytic proliferations (Melanoma)"], (None, *MELANOMA)),
        (
            ["Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma in situ"],
            ("Squamous cell carcinoma in situ", *CANCER),
        ),
        (["Malignant"], ("Malignant", True, None)),
        (["Malignant", "Collision - At least one malignant proliferation"], (None, True, None)),
        (
            ["Benign", "Benign melanocytic proliferations", "Nevus", "Nevus, Spitz"],
            ("Nevus, Spitz", *BENIGN),
        ),
        (
            ["Indeterminate", "Indeterminate epidermal proliferations", "Solar or actinic keratosis"],
            ("Solar or actinic keratosis", None, False),
        ),
        (
            ["Indeterminate", "Indeterminate melanocytic proliferations", "Atypical Spitz tumor"],
            ("Atypical Spitz tumor", None, None),
        ),
        (["Indeterminate"], ("Indeterminate", None, None)),
        ([None, "", None], (None, None, None)),
    ],
)
def test_archive_levels(levels, expected):
    label = from_archive(levels)
    diagnosis, malignant, melanoma = expected
    assert (label.malignant, label.melanoma) == (malignant, melanoma)
    if diagnosis is not None:
        assert label.diagnosis == diagnosis


@pytest.mark.parametrize(
    ("diagnosis", "expected"),
    [
        ("Melanoma in situ, lentigo maligna type", "melanoma"),
        ("melanoma", "melanoma"),
        ("Nevus, Spitz", "nevus"),
        ("atypical melanocytic proliferation", None),  # neither targets nor family are known
        ("basal cell carcinoma", "basal cell carcinoma"),
        ("actinic keratosis or Bowen's disease", "squamous cell carcinoma or actinic keratosis"),
        ("Squamous cell carcinoma, Invasive", "squamous cell carcinoma or actinic keratosis"),
        ("Lichen planus like keratosis", "benign keratosis"),
        ("Solar lentigo", "benign keratosis"),
        ("Dermatofibroma", "dermatofibroma"),
        ("Hemangioma", "vascular lesion"),
        ("Sebaceous hyperplasia", "other"),
        ("malignant", None),
        ("Collision - At least one malignant proliferation", None),
        (None, None),
        ("", None),
    ],
)
def test_families_of_diagnoses(diagnosis, expected):
    number = family(diagnosis)
    assert ([*FAMILIES, "other", None][number]) == expected
