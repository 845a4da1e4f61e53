"""The model's card for people, and the table of reporting guidelines: both claim only what is there."""

import json
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from helpers.datasets import DATA_HASH, card, predictions
from melascope import files
from melascope.errors import DataError
from melascope.evaluate import hold_out
from melascope.evaluate.caveats import Origin
from melascope.evaluate.evaluation import assess
from melascope.evaluate.predictions import Evaluation
from melascope.learn.settings import Settings
from melascope.report import card as card_page
from melascope.report import guidelines, page


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report folder, and the card of its model beside it."""
    folder = tmp_path_factory.mktemp("report")
    settings = {**Settings(weights="imagenet").__dict__, "weights": "w.h5 (sha256 0)"}
    images = {"train": {"here": 70, "there": 10}, "validation": {"here": 9}, "test": {"here": 12, "there": 3}}
    gate = {"sha256": "0", "refused": {"documents": 0.97}, "false_refusals": {"here": 0.01}}
    made = replace(
        card(),
        data={"hash": DATA_HASH, "images": images, "licenses": ["CC-0"]},
        training={"settings": settings, "best_epoch": 7},
        gate={**gate, "false_refusals_unseen": {}},
    )
    (folder / "model.keras").touch()
    made.write(folder / "model.json")
    table = predictions()
    metrics = assess(table, made, Origin("data", DATA_HASH, "test", False), str(folder / "model"), 50)
    table.to_parquet(folder / "predictions.parquet")
    files.write_text(folder / "metrics.json", json.dumps(metrics))
    page.renew(folder)
    return folder


def write(folder, out, hold_out_file=None):
    evaluation = Evaluation.read(folder)
    known = hold_out.read(hold_out_file, evaluation.card()) if hold_out_file else None
    return card_page.write(evaluation, hold_out=known, out=out)


def test_the_card_describes_the_model(report, tmp_path):
    assert write(report, tmp_path) == (tmp_path / "card.html", tmp_path / "guidelines.html")
    text = " ".join(unescape((tmp_path / "card.html").read_text()).split())
    metrics = json.loads((report / "metrics.json").read_text())
    value = metrics["targets"]["malignant"]["roc_auc"]["value"]
    for words in ("never replaces one", "MobileNetV2", "w.h5 (sha256 0)", "CC-0", "97 %", f"{value:.3f}"):
        assert words in text.replace("\u00a0", " "), words
    assert (
        '<td class="num">70</td><td class="num">9</td><td class="num">12</td>' in text
    )  # images of one source
    assert "melascope hold-out" in text  # what was not measured is named
    for name in ("doubt", "stress", "lesion"):
        assert f"melascope check REPORT {name}" in text


def test_every_item_of_the_guidelines_is_there_once():
    numbers = {name: [row["number"] for row in rows] for name, rows in guidelines.answers(()).items()}
    assert [int(number) for number in numbers["CLAIM 2024"]] == list(range(1, 45))
    for name, last in (("TRIPOD+AI", 27), ("STARD-AI", 40)):
        assert len(set(numbers[name])) == len(numbers[name])
        assert list(dict.fromkeys(int(n.rstrip("abcdefg")) for n in numbers[name])) == list(
            range(1, last + 1)
        )
    assert len(numbers["TRIPOD+AI"]) == 52


def test_places_that_answer_are_there(report, tmp_path):
    """A chapter of the report, or a section of the card, for each place that the table names."""
    write(report, tmp_path)
    page = (report / "report.html").read_text()
    card = (tmp_path / "card.html").read_text()
    always = set(guidelines.PLACES) - set(guidelines.MEASURED) - {"audit", "figures", "again"}
    for place in (guidelines.PLACES[key] for key in always):
        where, _, name = place.partition(", ")
        if where == "card":
            assert f"<h2>{name.capitalize()}</h2>" in card, place
        else:
            assert f"{where.removeprefix('report ')} · {name.capitalize()}" in page, place
    for key in ("stress", "lesion", "doubt", "figures", "again"):
        assert f"<h2>{guidelines.PLACES[key].partition(', ')[2].capitalize()}</h2>" in page, key


def test_items_name_places_that_exist():
    named = {key for item in guidelines.items() for key in item["where"].split()}
    assert named == set(guidelines.PLACES)
    assert set(guidelines.MEASURED) < named


def test_what_was_not_measured_is_not_called_answered():
    def statuses(measured: set[str]) -> dict[str, str]:
        return {row["number"]: row["status"] for row in guidelines.answers(measured)["CLAIM 2024"]}

    nothing = statuses(set())
    assert nothing["30"] == nothing["31"] == nothing["33"] == nothing["44"] == "not answered"
    assert nothing["39"] == "partly"
    more = statuses({"stress", "lesion", "clinics"})
    assert more["30"] == more["31"] == more["33"] == more["39"] == "answered"
    assert more["44"] == "not answered"
    assert more["14"] == "partly"  # what a place lacks does not come with measuring


def test_hold_out_figures_of_another_recipe_are_refused(report, tmp_path):
    figure = {"value": 0.781, "low": 0.76, "high": 0.8}
    rows = [{"source": name, "n": 90, "n_positive": 9, "model": figure} for name in ("here", "there", "mean")]
    settings = Settings(weights="/somewhere/w.h5").__dict__
    result = {"settings": settings, "data": DATA_HASH, "targets": {"malignant": rows, "melanoma": rows}}
    path = tmp_path / "hold-out.json"
    path.write_text(json.dumps(result))
    write(report, tmp_path, path)
    assert (tmp_path / "card.html").read_text().count("0.781") == 6
    for changes in ({"data": "0"}, {"settings": {**settings, "epochs": 99}}, {"settings": None}):
        path.write_text(json.dumps({**result, **changes}))
        with pytest.raises(DataError, match=r"hold-out\.json"):
            write(report, tmp_path, path)


def test_a_model_that_changed_since_gets_no_card(report, tmp_path):
    folder = Path(shutil.copytree(report, tmp_path / "report"))
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["model"]["threshold"]["malignant"] += 0.01
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(DataError, match="evaluate again"):
        write(folder, tmp_path)
