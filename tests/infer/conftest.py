"""What tests of inference share."""

import shutil
from pathlib import Path

import pytest

from melascope import files
from melascope.infer import conversion
from melascope.learn import convert


@pytest.fixture
def copy(tiny_model, tmp_path):
    """A copy of the model that a test may change."""
    return Path(shutil.copytree(tiny_model.parent, tmp_path / "model")) / "tiny.keras"


@pytest.fixture
def convert_here(monkeypatch):
    """Convert in this process; another one takes most of its time to start."""

    def whole_or_not(keras_path, onnx_path):
        with files.replacing(onnx_path) as beside:
            convert.convert(keras_path, beside)

    monkeypatch.setattr(conversion, "to_onnx", whole_or_not)
