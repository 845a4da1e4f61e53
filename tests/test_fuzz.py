"""Mutated files by the thousand: each is answered, in time, within memory. `make fuzz` runs many more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools" / "fuzz.py"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("kind", "cases"), [("image", 5000), ("onnx", 3000), ("keras", 2000)])
def test_every_file_is_answered(kind, cases, tiny_model, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            TOOL,
            kind,
            "--cases",
            str(cases),
            "--model",
            tiny_model,
            "--keep",
            tmp_path / "kept",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout)
    assert result["broken"] == [], f"kept in {tmp_path / 'kept'}"
    assert done.returncode == 0
    assert result["cases"] == cases
    passed = "ok" if kind == "image" else "accepted"
    assert result["answers"][passed] > cases / 100  # mutations mild enough to get past the first look
    assert result["answers"]["error" if kind == "image" else "refused"] > cases / 10
