"""Queries answered from a table give what the archive's own server gives."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.fake_isic import Held, found_by, make_images, parquet
from melascope.errors import DataError
from melascope.fetch import snapshot
from melascope.fetch.query import QueryError, UnsuitedError, parse
from melascope.fetch.wording import completed, renewed


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> list[Held]:
    return make_images(tmp_path_factory.mktemp("archive"), 120, side=8)


@pytest.fixture(scope="module")
def table(held: list[Held], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshot") / "ISIC_metadata.parquet"
    path.write_bytes(parquet(held))
    return path


def found(table: Path, query: str) -> list[str]:
    return [entry.isic_id for entries in snapshot.search(table, parse(query)) for entry in entries]


@pytest.mark.parametrize(
    "query",
    [
        "sex:male",
        "-sex:male",
        "sex:*",
        "-sex:*",
        "diagnosis_1:Malignant AND image_type:dermoscopic",
        "diagnosis_1:Malignant image_type:dermoscopic",
        "sex:male OR sex:female AND age_approx:50",
        "(sex:male OR sex:female) AND age_approx:50",
        "sex:male OR diagnosis_1:Benign diagnosis_3:Nevus OR age_approx:85",
        'diagnosis_3:"Melanoma Invasive"',
        "diagnosis_3:Melanoma*",
        'diagnosis_3:"Melanoma In*"',
        "diagnosis_3:*situ",
        'image_type:"TBP tile: close-up"',
        "image_type:clinical OR image_type:overview",
        "age_approx:[20 TO 40]",
        "age_approx:{20 TO 40}",
        "age_approx:[20 TO 40}",
        "age_approx:[* TO 40]",
        "age_approx:[40 TO *]",
        "-age_approx:[20 TO 80]",
        "age_approx:*",
        "-age_approx:*",
        "mel_thick_mm:[0 TO 1.2]",
        "mel_thick_mm:0.5",
        "melanocytic:true",
        "-melanocytic:true",
        "melanocytic:false OR -melanocytic:*",
        "public:true",
        "-public:true",
        "public:* AND copyright_license:CC-BY-NC",
        "isic_id:ISIC_0000007 OR isic_id:ISIC_00001*",
        "((((sex:male))))",
        "  sex : male   AND - age_approx : 50 ",
    ],
)
def test_a_query_finds_what_the_archive_finds(table: Path, held: list[Held], query: str) -> None:
    ours = found(table, query)
    assert ours == sorted(image.isic_id for image in found_by(held, query))
    assert (len(ours) > 0) == (query != "-public:true")


def test_by_hand(table: Path, held: list[Held]) -> None:
    first = held[0]
    assert first.isic_id == "ISIC_0000007"
    assert first.clinical["diagnosis_3"] == "Nevus"
    assert "age_approx" not in first.clinical
    for query, holds in {
        "isic_id:ISIC_0000007 diagnosis_3:Nevus": True,
        "isic_id:ISIC_0000007 -diagnosis_3:Nevus": False,
        "isic_id:ISIC_0000007 -age_approx:[0 TO 100]": True,  # missing counts as not in the range
        "isic_id:ISIC_0000007 age_approx:[0 TO 100]": False,
        "isic_id:ISIC_0000007 diagnosis_3:nevus": False,  # upper and lower case matter
    }.items():
        assert found(table, query) == (["ISIC_0000007"] if holds else []), query


_TERMS = st.sampled_from(
    [
        *(
            "sex:male",
            "-sex:male",
            "sex:*",
            "age_approx:[30 TO 60}",
            "-age_approx:{30 TO *]",
            "age_approx:45",
        ),
        *(
            "diagnosis_1:Benign",
            "diagnosis_2:*(Melanoma)",
            "-diagnosis_3:Mela*",
            'diagnosis_3:"Melanoma in situ"',
        ),
        *(
            "melanocytic:true",
            "-melanocytic:false",
            "mel_thick_mm:*",
            "copyright_license:CC-0",
            "image_type:clinical",
        ),
    ]
).map(lambda term: term.replace("*(Melanoma)", '"*(Melanoma)"'))
_QUERIES = st.recursive(
    _TERMS,
    lambda inside: st.one_of(
        st.tuples(inside, st.sampled_from([" AND ", " OR "]), inside).map("".join),
        st.tuples(_TERMS, st.just(" "), _TERMS).map("".join),
        inside.map(lambda query: f"({query})"),
    ),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=_QUERIES)
def test_any_query_finds_what_the_archive_finds(table: Path, held: list[Held], query: str) -> None:
    assert found(table, query) == sorted(image.isic_id for image in found_by(held, query))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "melanoma",
        "colour:blue",
        "sex:",
        "sex:male and sex:female",
        "sex:male AND",
        "AND sex:male",
        "(sex:male",
        "sex:male)",
        "(sex:male) (sex:female)",
        "age_approx:old",
        "age_approx:[20 40]",
        "melanocytic:yes",
        "-(sex:male)",
        'sex:"male',
        "sex:male|female",
        "(" * 5000 + "sex:male" + ")" * 5000,
    ],
)
def test_what_is_no_query_is_left_to_the_archive(query: str) -> None:
    with pytest.raises(QueryError):
        parse(query)


def test_a_field_that_the_snapshot_lacks_is_left_to_the_archive(table: Path) -> None:
    with pytest.raises(UnsuitedError, match="the snapshot has no hairy"):
        found(table, "hairy:true OR sex:male")


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
def test_old_words_become_todays(old: str, new: str) -> None:
    query, notes = renewed(old)
    assert query == new
    assert len(notes) == (old != new)
    parse(query)


def test_an_old_word_without_a_sure_translation_is_explained() -> None:
    with pytest.raises(DataError, match=r"diagnosis:wart: .* ask with diagnosis_1 to diagnosis_5"):
        renewed("diagnosis:wart")


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
    told, notes = completed(query, licenses)
    assert told == whole
    assert bool(notes) == ("image_type:dermoscopic" in told)
    parse(told)
