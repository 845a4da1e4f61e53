"""`melascope check`: the chapters of a report, from the report folder alone; and the verbs it replaces."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import melascope as ms
from helpers.datasets import make_data

PAGES = {
    "stress": ["stress.html"],
    "lesion": ["lesion.html"],
    "doubt": ["doubt.html"],
    "cases": ["cases.html"],
    "card": ["card.html", "guidelines.html"],
}


@pytest.fixture(scope="module")
def report(tiny_model, tmp_path_factory):
    """A report of a model with random weights, beside it the model and the data, whose lesions have masks."""
    folder = tmp_path_factory.mktemp("checked")
    for suffix in (".keras", ".json", ".onnx"):
        shutil.copy(tiny_model.with_suffix(suffix), folder / f"tiny{suffix}")
    make_data(folder / "data", 200)
    (folder / "masks").mkdir()
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    for name in ms.Dataset(folder / "data").table["image_id"]:
        Image.fromarray(mask).save(folder / "masks" / f"{name}_segmentation.png")
    ms.evaluate(folder / "tiny", folder / "data", folder / "report")
    return folder / "report"


def chapters(folder):
    return [name for name, pages in PAGES.items() if all((folder / page).is_file() for page in pages)]


def test_all_chapters_are_added_and_what_does_not_apply_is_said(report, run_command, tmp_path):
    folder = shutil.copytree(report, tmp_path / "report")
    done = run_command("check", folder, "--images", 20, "--seed", 5)
    assert done.returncode == 0, done.stderr
    assert chapters(folder) == ["stress", "doubt", "cases", "card"]
    said = [
        line for line in done.stderr.splitlines() if not re.search(r": \d+ of \d+$", line)
    ]  # but for progress
    assert said == ["lesion was left out: lesion masks are needed; give --masks FOLDER_OR_ZIP"]
    for name, pages in PAGES.items():
        for page in pages:
            assert (str(folder / page) in done.stdout.splitlines()) == (name != "lesion")
    stress = json.loads((folder / "stress.json").read_text())
    assert stress["images"]["n"] == 20
    assert stress["resampling"]["seed"] == 5
    assert stress["command"] == f"melascope check {folder} --images 20 --seed 5"
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "All changes of the image" in text
    assert "melascope check REPORT lesion" in text


@pytest.mark.slow  # its network is loaded to be shuffled
def test_lesions_are_hidden_where_masks_are_given(report, run_command, tmp_path):
    folder = shutil.copytree(report, tmp_path / "report")
    done = run_command("check", folder, "lesion", "--masks", report.parent / "masks", "--images", 20)
    assert done.returncode == 0, done.stderr
    assert chapters(folder) == ["lesion"]
    assert "ROC-AUC for malignant" in done.stdout
    assert "left without the lesion" in done.stdout


def test_a_chapter_that_is_named_must_be_measured(report, run_command):
    done = run_command("check", report, "lesion")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "melascope: lesion masks are needed; give --masks FOLDER_OR_ZIP\n"
    assert run_command("check", report, "heat").returncode == 2


def test_a_chapter_that_fails_leaves_those_before_it_in_the_report(report, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ms.ModelError("no more")

    monkeypatch.setattr("melascope.evaluate.cases.measure", broken)
    folder = shutil.copytree(report, tmp_path / "report")
    with pytest.raises(ms.ModelError, match="no more"):
        ms.Report(folder).check("doubt", "cases")
    assert "Measured on 50 images" in (folder / "report.html").read_text(encoding="utf-8")


def test_former_names_do_the_same_and_say_the_new_one(report, run_command, tmp_path):
    model, data = report.parent / "tiny", report.parent / "data"
    new = shutil.copytree(report, tmp_path / "new")
    expected = run_command("check", new, "doubt", "--seed", 2)
    old = run_command("doubt", model, data, "--out", tmp_path / "old", "--seed", 2)  # evaluates first
    assert old.returncode == 0
    assert old.stderr.splitlines()[0].startswith("`melascope doubt` is now `melascope check REPORT doubt`; ")
    assert old.stdout == expected.stdout.replace(str(new), str(tmp_path / "old")) != ""
    other = run_command("doubt", model, tmp_path, "--out", tmp_path / "old")
    assert other.returncode == 2
    assert "holds the evaluation of another model, data set or split" in other.stderr
    for verb, chapter in (("investigate", "cases"), ("card", "card")):
        done = run_command(verb, report, "--out", tmp_path / verb)
        assert done.returncode == 0
        assert done.stderr.startswith(f"`melascope {verb}` is now `melascope check REPORT {chapter}`; ")
        assert chapters(tmp_path / verb) == [chapter]
    assert not chapters(report)
