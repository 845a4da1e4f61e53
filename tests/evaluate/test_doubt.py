"""Doubt: measures of it on a model whose errors are known, and the page."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.datasets import card, make_data
from helpers.stand_in import StandIn
from melascope import manifest
from melascope.cli.main import app
from melascope.errors import DataError
from melascope.evaluate import doubt
from melascope.evaluate.evaluation import evaluate
from melascope.images import load
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.model.decision import PredictionSets

SIDE = 48


class Corner(StandIn):
    """A model that looks at the upper left corner alone, so that turns of an image change its answer."""

    card = card(input_size=SIDE, prediction_sets=PredictionSets(0.95, 0.3, 0.7, 50, 50))

    def answer(self, pixels, name=""):
        p = float(np.clip(pixels[:6, :6, 0].mean() / 255 + _NOISE[int(pixels.sum()) % 997], 0, 1))
        return Answer(path=name, status="ok", malignant=p, threshold=0.2, model="corner")


_NOISE = np.random.default_rng(0).normal(0, 0.25, 997)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "load", lambda *_: Corner())
    return make_data(tmp_path / "data", 400, sources=("here", "there"))


def test_errors_caught_are_those_counted_by_hand(data, tmp_path):
    results = doubt.measure(evaluate("model", data, tmp_path / "out"))
    test = manifest.usable(manifest.read(data), "test").reset_index(drop=True)
    truth = test["malignant"].to_numpy(bool)
    model = Corner()
    pixels = [load(path, SIDE) for path in test["path"]]
    p = np.array([model.answer(image).malignant for image in pixels])
    wrong = (p >= 0.2) != truth
    assert results["errors"] == {"wrong": wrong.sum(), "missed": (wrong & truth).sum()}
    assert 0 < results["errors"]["missed"] < results["errors"]["wrong"]
    spread = [np.std([model.answer(view).malignant for view in _turns(image)]) for image in pixels]
    scores = {
        "band around one half": -np.abs(p - 0.5),
        "band around the threshold": -np.abs(p - 0.2),
        "turned images": np.array(spread),
    }
    rows = {row["name"]: row for row in results["methods"]}
    assert set(rows) == {*scores, "conformal sets"}
    for name, score in scores.items():
        order = np.argsort(-score, kind="stable")
        for rate in (0.05, 0.1, 0.2, 0.3):
            handed = order[: int(np.ceil(rate * len(p)))]
            cell = rows[name]["caught"][f"{rate}"]
            assert cell["value"] == pytest.approx(wrong[handed].sum() / wrong.sum()), (name, rate)
            assert cell["low"] <= cell["value"] <= cell["high"]
        kept = [order[int(np.ceil(x * len(p) - 1e-9)) :] for x in rows[name]["curve"]["x"]]
        assert rows[name]["curve"]["y"] == pytest.approx([wrong[part].mean() for part in kept], abs=1e-5)
        assert rows[name]["area"]["value"] == pytest.approx(np.mean([wrong[part].mean() for part in kept]))


def _turns(image):
    return [np.ascontiguousarray(np.rot90(side, k)) for side in (image, image[:, ::-1]) for k in range(4)]


def test_coverage_of_the_sets_is_counted_by_class_and_source(data, tmp_path):
    results = doubt.measure(evaluate("model", data, tmp_path / "out"))["sets"]
    test = manifest.usable(manifest.read(data), "test").reset_index(drop=True)
    truth, model = test["malignant"].to_numpy(bool), Corner()
    p = np.array([model.answer(load(path, SIDE)).malignant for path in test["path"]])
    held = np.where(truth, p >= 0.3, p <= 0.7)
    for row in results["rows"]:
        inside = truth == (row["class"] == "malignant")
        if row["source"] != "all":
            inside &= (test["source"] == row["source"]).to_numpy()
        assert row["covered"]["n"] == inside.sum()
        assert row["covered"]["value"] == pytest.approx(held[inside].mean())
    assert {row["source"] for row in results["rows"]} == {"all", "here", "there"}
    weak = ((p >= 0.3) & (p <= 0.7)) | ((p >= 0.2) & (p < 0.3))
    assert results["weak"]["value"] == pytest.approx(weak.mean())


def test_a_split_of_one_class_is_refused(data, tmp_path):
    table = manifest.read(data)
    table.loc[table["split"] == "validation", "malignant"] = False
    manifest.write(table, data)
    with pytest.raises(DataError, match="split validation"):
        doubt.measure(evaluate("model", data, tmp_path / "out"))


def test_an_evaluation_of_all_images_gives_the_same(data, tmp_path, monkeypatch):
    """And asks about nothing but turned images: the evaluation knows the probabilities of the others."""
    expected = doubt.measure(evaluate("model", data, tmp_path / "test"))
    everything = evaluate("model", data, tmp_path / "all", "all")
    asked, answer = [], Corner.answer
    monkeypatch.setattr(Corner, "answer", lambda *words: asked.append(words) or answer(*words))
    assert doubt.measure(everything) == expected
    assert len(asked) == 7 * expected["images"]["n"]


def test_another_split_is_refused(data, tmp_path):
    with pytest.raises(DataError, match="of the split validation"):
        doubt.measure(evaluate("model", data, tmp_path / "out", "validation"))


def test_the_command_writes_page_figure_and_numbers(data, tmp_path):
    result = CliRunner().invoke(app, ["doubt", "model", str(data), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "doubt.html").read_text()
    assert "Which decisions to look at again" in page
    assert "never replaces one" in page
    assert (tmp_path / "out" / "figures" / "risk_coverage.png").stat().st_size > 10_000
    written = json.loads((tmp_path / "out" / "doubt.json").read_text())
    assert written["format"] == doubt.FORMAT
    assert "conformal sets" in result.stdout
