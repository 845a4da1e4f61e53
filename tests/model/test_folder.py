"""The files of a model: one stem, four suffixes."""

from pathlib import Path

import pytest

from helpers import models
from melascope.errors import ModelError
from melascope.model.card import Card
from melascope.model.folder import ModelFiles


def test_a_model_in_a_run_folder_has_four_files():
    run = Path("runs/first.2")
    base = ModelFiles.of(run, "base")
    assert [path.name for path in (base.keras, base.card, base.onnx, base.gate)] == [
        "base.keras",
        "base.json",
        "base.onnx",
        "base.gate.npz",
    ]
    assert ModelFiles.of(run).keras == run / "model.keras"


@pytest.mark.parametrize("suffix", ["", ".keras", ".onnx"])
def test_a_name_with_a_dot_finds_its_model(suffix, tmp_path):
    (tmp_path / "first.2.onnx").touch()
    assert ModelFiles.find(tmp_path / f"first.2{suffix}").card == tmp_path / "first.2.json"


def test_a_missing_model_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"missing: no such model; give a \.keras or \.onnx file"):
        ModelFiles.find(tmp_path / "missing")
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ModelError, match=r"photo\.jpg: not a model"):
        ModelFiles.find(tmp_path / "photo.jpg")


def test_a_copy_has_every_file_and_its_own_name(tmp_path):
    source = ModelFiles.of(tmp_path / "run")
    source.keras.parent.mkdir()
    for path in (source.keras, source.onnx, source.gate):
        path.write_text(path.name)
    models.write_card(source.keras)
    target = ModelFiles.of(tmp_path / "copy", "other")
    source.copy(target, "other")
    assert [path.read_text() for path in (target.keras, target.onnx, target.gate)] == [
        "model.keras",
        "model.onnx",
        "model.gate.npz",
    ]
    assert Card.read(target.card).name == "other"
    source.gate.unlink()
    source.copy(ModelFiles.of(tmp_path / "without"), "without")
    assert not ModelFiles.of(tmp_path / "without").gate.exists()
