"""What answers rest on: models that look at the lesion alone, or at its surroundings alone, are distinguished."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers import models
from helpers.datasets import manifest_of
from helpers.stand_in import StandIn
from melascope import manifest
from melascope.cli.main import app
from melascope.errors import DataError
from melascope.evaluate import lesion, sanity
from melascope.evaluate.evaluation import evaluate
from melascope.evaluate.hiding import alone, hidden
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.synthetic import MELANOMA, NEVUS, Style, draw

INSIDE = np.hypot(*np.mgrid[-1:1:224j, -1:1:224j]) < 0.35


class Looks(StandIn):
    """A model that goes by the darkness of a part of the image, with its heat there, and that wants a disc."""

    def __init__(self, where):
        self._where = where

    def answer(self, pixels, name=""):
        p = 1 - float(pixels[self._where].mean()) / 255
        small = np.asarray(Image.fromarray(self._where.astype(np.float32)).resize((7, 7)))
        status = "ok" if pixels[INSIDE].mean() < 140 else "refused"
        return Answer(
            path=name, status=status, malignant=p, threshold=0.2, model="looks", heat=np.stack([small, small])
        )


@pytest.fixture
def data(tmp_path):
    """Discs on skin, their masks beside them: malignant discs are darker, and so is the skin around them."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(60):
        darker = i % 2 == 0
        pixels = np.full((224, 224, 3), rng.normal(190 - 30 * darker, 12))
        pixels[INSIDE] = rng.normal(110 - 40 * darker, 12)
        pixels += rng.normal(0, 4, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "images" / f"i{i}.png")
        if i < 56:
            mask = Image.fromarray(INSIDE.astype(np.uint8) * 255)
            mask.save(tmp_path / "masks" / f"i{i}_segmentation.png")
    malignant = np.arange(60) % 2 == 0
    paths = [str(tmp_path / "images" / f"i{i}.png") for i in range(60)]
    table = manifest_of(60, path=paths, malignant=malignant, melanoma=malignant, split="test")
    manifest.write(table, tmp_path)
    return tmp_path


def _run(monkeypatch, data, where):
    monkeypatch.setattr(Predictor, "load", lambda *_: Looks(where))
    monkeypatch.setattr(lesion, "CURVES", 6)
    monkeypatch.setattr(lesion, "randomised", lambda *_: None)
    result = CliRunner().invoke(
        app,
        ["attribution", "model", str(data), "--masks", str(data / "masks"), "--out", str(data / "out")],
    )
    assert result.exit_code == 0, result.output
    page = (data / "out" / "lesion.html").read_text()
    assert "Lesion or surroundings" in page
    assert "never replaces one" in page
    assert "lesion alone 0 %" in " ".join(page.split())
    return json.loads((data / "out" / "lesion.json").read_text())


def test_a_model_of_lesions_has_nothing_left_without_them(data, monkeypatch):
    results = _run(monkeypatch, data, INSIDE & (np.mgrid[:224, :224][0] % 2 == 0))
    assert results["images"]["n"] == 56  # those with a mask
    parts = results["parts"]["malignant"]
    assert parts["whole"]["value"] > 0.95
    assert parts["alone"]["value"] > 0.95
    # Painted over, the place of the lesion shows the skin around it, which here tells the label too.
    assert parts["hidden"]["value"] > 0.8
    everyone, missed = results["maps"][0], results["maps"][2]
    assert everyone["inside"]["value"] > 4 * everyone["area"]["value"]
    assert everyone["area"]["value"] == pytest.approx(INSIDE.mean(), abs=0.01)
    assert everyone["hit"]["value"] == 1
    refused = {part: share["value"] for part, share in results["refused"].items()}
    assert refused == {"whole": 0, "hidden": pytest.approx(1, abs=0.1), "alone": 0}
    assert missed["n"] == 0 and missed["inside"]["value"] is None  # noqa: PT018


def test_a_model_of_surroundings_needs_no_lesions(data, monkeypatch):
    results = _run(monkeypatch, data, ~INSIDE)
    parts = results["parts"]["malignant"]
    assert parts["hidden"]["value"] == pytest.approx(parts["whole"]["value"], abs=0.02)
    assert parts["rest"]["value"] == pytest.approx(1, abs=0.05)
    assert parts["rest"]["low"] <= parts["rest"]["value"] <= parts["rest"]["high"]
    assert results["maps"][0]["inside"]["value"] < results["maps"][0]["area"]["value"]


def test_without_a_mask_nothing_is_said(data, monkeypatch, tmp_path):
    monkeypatch.setattr(Predictor, "load", lambda *_: Looks(INSIDE))
    with pytest.raises(DataError, match="no image of the split test has a mask"):
        lesion.measure(evaluate("model", data, tmp_path / "out"), [str(tmp_path / "other.png")])


@pytest.mark.parametrize("diagnosis", [NEVUS, MELANOMA])
def test_what_is_painted_over_looks_like_the_skin_around(diagnosis):
    drawing = draw(4, diagnosis, Style(224, 224, zoom=0.9))
    pixels, mask = drawing.pixels, drawing.mask
    covered = hidden(pixels, mask, np.random.default_rng(0))
    far = ~mask & (np.hypot(*np.mgrid[-1:1:224j, -1:1:224j]) > 0.95)
    assert (covered[far] == pixels[far]).mean() > 0.99
    skin = pixels[far].mean(axis=0)
    assert np.abs(covered[mask].mean(axis=0) - skin).max() < 25
    assert np.abs(pixels[mask].mean(axis=0) - skin).max() > 40
    left = alone(pixels, mask)
    assert (left[mask] == pixels[mask]).all()
    assert np.ptp(left[far], axis=0).max() == 0
    everything = np.ones_like(mask)
    assert hidden(pixels, everything, np.random.default_rng(0)).shape == pixels.shape


def test_deletion_by_heat_falls_faster_where_the_heat_is_right():
    """By hand: a model of the left half, with heat there, and with heat on the other half."""
    left = np.zeros((224, 224), dtype=bool)
    left[:, :112] = True
    pixels = np.full((224, 224, 3), 200, np.uint8)
    pixels[80:140, 20:80] = 20
    model = Looks(left)
    right_map = np.asarray(model.answer(pixels).heat)[0]
    groups = pd.Series(range(3))
    areas = {}
    for name, cam in (("right", right_map), ("wrong", right_map[:, ::-1])):
        curves = [sanity.curves(model, pixels, cam, np.random.default_rng(i)) for i in range(3)]
        assert curves[0][0, 0] == curves[0][2, 0] == pytest.approx(model.answer(pixels).malignant)
        areas[name] = sanity.faithful(np.array(curves), groups, 0)
    assert areas["right"]["deletion"].value < areas["wrong"]["deletion"].value
    assert areas["right"]["insertion"].value > areas["wrong"]["insertion"].value


def test_maps_of_shuffled_weights_are_other_maps(tmp_path):
    models.build().save(tmp_path / "tiny.keras")
    models.write_card(tmp_path / "tiny.keras")
    shown = [models.lesion(seed, 96, 96) for seed in range(6)]
    predictor = Predictor.load(tmp_path / "tiny.keras")
    rows = sanity.randomised(tmp_path / "tiny.keras", shown, predictor, 0)
    assert rows[-1]["layers"] == rows[-1]["of"] == 3
    assert all(-1 <= row["correlation"] < 0.95 for row in rows)
    assert sanity.rank_correlation(np.array([[1.0, 2, 3]]), np.array([[2.0, 4, 9]])) == pytest.approx(1)
