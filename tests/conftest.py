"""What tests share."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real images beside the checkout; a fresh clone elsewhere has none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real images in ../shared/data")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A tiny model, converted: `tiny.keras`, `tiny.json` and `tiny.onnx`. Copy what you want to change."""
    from helpers import models
    from melascope.learn import convert

    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    models.build().save(path)
    models.write_card(path)
    convert.convert(path, path.with_suffix(".onnx"))
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 40 images, `00.png` to `39.png`, that the gate accepts."""
    from helpers import models

    folder = tmp_path_factory.mktemp("pictures")
    models.write_pictures(folder, 40)
    return folder


@pytest.fixture(scope="session")
def run_command():
    """Runs `melascope WORD ...` in a process of its own; options are those of `subprocess.run`."""

    def run(*words, **options):
        command = [sys.executable, "-m", "melascope", *map(str, words)]
        return subprocess.run(command, check=False, **{"capture_output": True, "text": True, **options})

    return run
