"""Stress: known changes of a known model, and every change on a drawn lesion."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from helpers.datasets import make_data
from helpers.stand_in import StandIn
from melascope import manifest
from melascope.cli.main import app
from melascope.errors import DataError
from melascope.evaluate import stress
from melascope.evaluate.evaluation import evaluate
from melascope.evaluate.stress import CHANGES, SIDE, Change
from melascope.images import load, square
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.synthetic import NEVUS, Style, draw


class Redness(StandIn):
    """A model whose probability is the mean of red, over 255; what is nearly black it refuses."""

    def answer(self, pixels, name=""):
        p = float(pixels[..., 0].mean()) / 255
        status = "refused" if p < 0.01 else "ok"
        return Answer(path=name, status=status, malignant=p, threshold=0.2, model="redness")


def _invert(pixels, level, rng):
    return 255 - pixels


def _nothing(pixels, level, rng):
    return pixels


def _scatter(pixels, level, rng):
    return np.clip(pixels + rng.normal(0, level), 0, 255).astype(np.uint8)


def _black(pixels, level, rng):
    return np.zeros_like(pixels)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "load", lambda *_: Redness())
    changes = (("nothing", _nothing), ("invert", _invert), ("scatter", _scatter), ("black", _black))
    made = tuple(Change(name, "level {:g}", (60.0,), apply) for name, apply in changes)
    monkeypatch.setattr(stress, "CHANGES", made)
    return make_data(tmp_path / "data", 120)


def test_figures_are_those_counted_by_hand(data, tmp_path):
    results, examples = stress.measure(evaluate("model", data, tmp_path / "out"), images=400)
    rows = {row["change"]: row for row in results["changes"]}
    assert {name: rows["nothing"][name]["value"] for name in ("flipped", "lost", "alarms", "roc_auc_change")} == {
        "flipped": 0, "lost": 0, "alarms": 0, "roc_auc_change": 0,
    }  # fmt: skip
    assert rows["nothing"]["flipped"]["high"] > 0  # none in so many is no proof of none
    assert results["roc_auc"] == 1
    assert rows["invert"]["roc_auc_change"]["value"] == -1
    assert rows["black"]["refused"] == 1
    assert rows["black"]["lost"]["value"] == 1

    test = manifest.usable(manifest.read(data), "test")
    truth = test["malignant"].to_numpy(bool)
    pixels = [load(path, SIDE) for path in test["path"]]
    before = np.array([p[..., 0].mean() / 255 for p in pixels])
    # The third change draws from [seed, image, place of the change].
    after = np.array(
        [_scatter(p, 60, np.random.default_rng([0, i, 2]))[..., 0].mean() / 255 for i, p in enumerate(pixels)]
    )
    change = roc_auc_score(truth, after) - roc_auc_score(truth, before)
    flipped = (before >= 0.2) != (after >= 0.2)
    scatter = rows["scatter"]
    assert scatter["roc_auc_change"]["value"] == pytest.approx(change)
    assert scatter["roc_auc_change"]["low"] <= change <= scatter["roc_auc_change"]["high"]
    assert scatter["flipped"]["value"] == pytest.approx(flipped.mean())
    assert scatter["lost"]["value"] == pytest.approx((flipped & (before >= 0.2))[truth].mean())
    assert scatter["alarms"]["value"] == pytest.approx((flipped & (before < 0.2))[~truth].mean())
    worst = [example for example in examples if example.change == "scatter"]
    moved = sorted(np.abs(after - before)[flipped])[::-1]
    assert [abs(e.after - e.before) for e in worst] == pytest.approx(moved[: len(worst)])


def test_the_same_seed_gives_the_same_figures(data, tmp_path):
    """Of few images, half are of either class."""
    first, _ = stress.measure(evaluate("model", data, tmp_path / "a"), images=20, seed=3)
    again, _ = stress.measure(evaluate("model", data, tmp_path / "b"), images=20, seed=3)
    assert first == again == json.loads((tmp_path / "b" / "stress.json").read_text())
    assert first["images"]["n"] == 20
    assert first["images"]["n_positive"] == 10


def test_one_class_cannot_be_stressed(data, tmp_path):
    table = manifest.read(data)
    manifest.write(table.assign(malignant=False).astype({"malignant": "boolean"}), data)
    with pytest.raises(DataError, match="malignant and benign"):
        stress.measure(evaluate("model", data, tmp_path / "out"))


def test_every_change_changes_the_image_the_stronger_the_more():
    pixels = square(draw(5, NEVUS, Style(300, 300)).pixels, SIDE)
    for change in CHANGES:
        distances = []
        for level in change.levels:
            changed = change.apply(pixels, level, np.random.default_rng(0))
            assert changed.shape == pixels.shape
            assert changed.dtype == np.uint8
            distances.append(np.abs(changed.astype(float) - pixels).mean())
        assert distances[0] > 0, change.name
        assert distances == sorted(distances), change.name


def test_the_command_writes_page_plot_and_figures(data, tmp_path):
    result = CliRunner().invoke(app, ["stress", "model", str(data), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "stress.html").read_text()
    assert "The worst examples" in page
    assert "never replaces one" in page
    assert page.count("data:image/jpeg") >= 4
    assert (tmp_path / "out" / "figures" / "stress.png").stat().st_size > 10_000
    assert "invert" in result.stdout
