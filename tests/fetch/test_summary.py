"""The summary of a raw folder counts its images, however they came there."""

import pytest

from helpers.fake_isic import ArchiveServer
from helpers.fetching import DERMOSCOPIC, make_challenge, melascope
from helpers.isic_images import make_images
from helpers.isic_search import search
from melascope.errors import DataError
from melascope.report import collection


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("archive"), 60, side=16)


@pytest.fixture
def server(images):
    with ArchiveServer(images) as server:
        yield server


def counts(folder, by):
    table = collection.write(folder)
    return {str(row[1]): list(map(int, row[2:])) for row in table[table["by"] == by].itertuples(index=False)}


def class_of(image):
    if image.clinical.get("diagnosis_3", "").startswith("Melanoma"):
        return 0
    return {"Malignant": 1, "Benign": 3}.get(image.clinical.get("diagnosis_1", ""), 4)


@pytest.mark.parametrize("only", [(), ("--metadata-only",)])
def test_images_of_the_archive(server, images, tmp_path, only):
    result = melascope(server, "isic", "--out", tmp_path, *only)
    assert result.exit_code == 0, result.stderr
    wanted = search(images, DERMOSCOPIC)
    for by in ("licence", "source"):
        expected = {}
        for image in wanted:
            value = f"ISIC Archive/{image.attribution}" if by == "source" else image.license
            row = expected.setdefault(value, [0] * 6)
            row[class_of(image)] += 1
            row[5] += 1
        assert counts(tmp_path, by) == expected, by
    assert sum(row[5] for row in counts(tmp_path, "class").values()) == len(wanted)
    assert counts(tmp_path, "year") == {}  # the archive does not say
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert "Klinik für Dermatologie, Zürich" in page
    assert page.count("<svg") == 1
    assert f"{sum(class_of(image) == 0 for image in wanted):>9,} melanoma" in result.stdout


def test_images_of_a_challenge_have_its_year(server, tmp_path):
    make_challenge(server)
    assert melascope(server, "challenge", 2016, "--out", tmp_path).exit_code == 0
    assert counts(tmp_path, "year") == {"2016": [0, 0, 54, 56, 0, 110]}
    assert counts(tmp_path, "licence") == {"CC-0": [0, 0, 54, 56, 0, 110]}


def test_an_empty_folder_has_no_summary(tmp_path):
    with pytest.raises(DataError):
        collection.write(tmp_path)


def test_prepare_does_not_read_the_summary(server, tmp_path):
    from melascope.prepare.records import read_records

    assert melascope(server, "isic", "--out", tmp_path).exit_code == 0
    inputs = read_records([tmp_path]).inputs
    assert inputs["tables_passed_over"] == []
    assert len(inputs["tables"]) == 1
