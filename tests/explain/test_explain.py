"""Explaining: heat maps over images, and `melascope explain`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers import models
from melascope.cli.main import app
from melascope.errors import DataError, ModelError
from melascope.explain.cam import heat_map
from melascope.explain.overlay import blend, colours, pair, panel, whole
from melascope.infer.answer import Answer

CAM = np.array([[0.0, -3.0], [1.0, 4.0]], dtype=np.float32)


def explain(*words):
    return CliRunner().invoke(app, ["explain", *map(str, words)])


def answer(**changes):
    values = {
        "path": "folder/a.jpg", "status": "ok", "label": "malignant", "confidence": 0.4, "malignant": 0.4,
        "melanoma": None, "threshold": 0.3, "weak": False, "reason": None, "model": "tiny@0123456789ab",
        "heat": np.stack([CAM, -np.abs(CAM)]),
    }  # fmt: skip
    return Answer(**{**values, **changes})


def test_a_heat_map_runs_from_zero_to_its_own_maximum():
    assert (heat_map(CAM, 2) == [[0, 0], [0.25, 1]]).all()
    large = heat_map(CAM, 64)
    assert large.shape == (64, 64)
    assert large.min() >= 0
    assert large.max() == 1
    assert (large == 1).sum() < 10  # a peak, not a plateau
    assert large[32:, 32:].mean() > 4 * large[:32].mean()
    assert not heat_map(-np.abs(CAM), 8).any()


def test_heat_is_drawn_where_it_is_and_nowhere_else():
    pixels = models.lesion(0, 64, 64)
    square, overlay = pair(pixels, CAM, 64)
    changed = np.abs(np.asarray(overlay, dtype=int) - np.asarray(square)).sum(-1)
    assert (np.asarray(square) == pixels).all()
    assert changed[50:, 50:].mean() > 100
    assert changed[:20].mean() < 5
    assert (blend(pixels, np.zeros((64, 64), dtype=np.float32)) == pixels).all()


def test_hotter_is_lighter_for_eyes_that_see_no_colour():
    skin = np.full((1, 256, 3), 128, dtype=np.uint8)
    heat = np.linspace(0, 1, 256, dtype=np.float32)[None]
    grey = np.asarray(Image.fromarray(colours(heat).astype(np.uint8)).convert("L"), dtype=int)[0]
    assert (np.diff(grey) >= 0).all()
    assert grey[0] < 30
    assert grey[-1] > 230
    assert (blend(skin, heat)[0, -1] != skin[0, -1]).any()


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (64, 64), (3000, 30)])
def test_the_overlay_lies_on_the_central_square(width, height):
    original, overlay = whole(np.full((height, width, 3), 120, dtype=np.uint8), np.ones((2, 2), np.float32))
    assert original.size == overlay.size
    assert max(original.size) == 420
    red, _, blue = np.moveaxis(np.asarray(overlay, dtype=int), -1, 0)
    hot = (red > 190) & (blue < 160)  # neither the grey image nor its faded rest
    side = min(original.size)
    rows, columns = np.nonzero(hot)
    for places, length in ((rows, original.height), (columns, original.width)):
        assert abs(places.min() - (length - side) // 2) <= 1
        assert abs(places.max() + 1 - (length + side) // 2) <= 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weak": True},
        {"status": "refused", "label": None, "confidence": None, "weak": None, "reason": "Too small. " * 30},
        {"path": "a.zip::deep/\x1b[31mname.jpg", "melanoma": 0.2},
        {"path": "\N{CJK UNIFIED IDEOGRAPH-75C5}\N{SNOWMAN}.png"},
    ],
)
def test_every_answer_has_a_panel(changes):
    page = panel(models.lesion(0), answer(**changes), "melanoma" if "melanoma" in changes else "malignant")
    assert page.width < 1000
    words = np.asarray(page.convert("L"))[-60:]
    assert (words < 150).any()  # something is written there
    assert (words[-8:] == 255).all()  # and it ends before the margin


def test_a_picture_for_each_image_named_after_it(tiny_model, pictures, tmp_path):
    (tmp_path / "00.png").write_bytes(b"broken")
    (tmp_path / "twin").mkdir()
    for name in ("01.png", "01-2.png", "01.PNG"):
        (tmp_path / "twin" / name).write_bytes((pictures / "01.png").read_bytes())
    out = tmp_path / "out"
    words = (pictures / "01.png", tmp_path / "twin", tmp_path / "00.png")
    result = explain(*words, "--model", tiny_model, "--out", out)
    assert result.exit_code == 1
    assert "00.png: not an image" in result.stderr
    printed = [Path(line) for line in result.stdout.splitlines()]
    assert len({path.name.lower() for path in printed}) == 4
    assert printed[0] == out / "01.png"
    assert sorted(out.iterdir()) == sorted(printed)
    assert explain(pictures / "02.png", "--model", tiny_model, "--out", out).exit_code == 0


def test_no_picture_takes_the_place_of_a_photograph(tiny_model, pictures, tmp_path):
    photograph = tmp_path / "mole.png"
    photograph.write_bytes((pictures / "01.png").read_bytes())
    result = explain(photograph, "--model", tiny_model, "--out", tmp_path)
    assert result.stdout.strip() == str(tmp_path / "mole-2.png")
    assert photograph.read_bytes() == (pictures / "01.png").read_bytes()


def test_targets_differ_and_an_unknown_one_is_refused(tiny_model, pictures, tmp_path):
    made = {}
    for target in ("malignant", "melanoma"):
        out = tmp_path / target
        words = (pictures / "00.png", "--model", tiny_model, "--out", out, "--target", target)
        assert explain(*words).exit_code == 0
        made[target] = (out / "00.png").read_bytes()
    assert made["malignant"] != made["melanoma"]
    for suffix in (".keras", ".onnx"):
        (tmp_path / f"tiny{suffix}").write_bytes(tiny_model.with_suffix(suffix).read_bytes())
    models.write_card(
        tmp_path / "tiny",
        **models.MALIGNANT_ONLY,
    )
    result = explain(pictures / "00.png", "--model", tmp_path / "tiny", "--out", tmp_path / "none",
                     "--target", "melanoma")  # fmt: skip
    assert isinstance(result.exception, ModelError)
    assert "was not trained for melanoma" in str(result.exception)
    assert not (tmp_path / "none").exists()


def test_a_file_is_no_folder_to_write_into(tiny_model, pictures, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = explain(pictures / "00.png", "--model", tiny_model, "--out", tmp_path / "file")
    assert isinstance(result.exception, DataError)
    assert (tmp_path / "file").read_text() == "mine"
