"""The models that are shipped: they answer at once, from a plain install, and are what their cards say."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from melascope.files import sha256
from melascope.infer.describe import describe
from melascope.infer.predictor import SHIPPED, Predictor

MODELS = Path(__file__).resolve().parents[1] / "models"
NAMES = ("base_model", "finetuned_model")


@pytest.mark.parametrize("name", NAMES)
def test_files_belong_together_and_are_small(name):
    found = describe(MODELS / name)
    assert [Path(item["path"]).suffix for item in found["files"]] == [".keras", ".onnx"]
    assert all(item["belongs_to_card"] for item in found["files"])
    assert all(item["bytes"] < 25 * 2**20 for item in found["files"])
    assert found["identity"] == f"{name}@{sha256(MODELS / f'{name}.keras')[:12]}"
    assert set(found["card"]["threshold"]) == {"malignant", "melanoma"}
    assert "non-commercial" in found["card"]["license"]


def test_prediction_needs_no_model_to_be_named_and_converts_nothing(pictures):
    code = (
        "import sys\nfrom melascope.cli.main import main\n"
        "for name in ('keras', 'torch', 'onnx', 'h5py', 'pandas'):\n    sys.modules[name] = None\n"
        "main()\n"
    )
    words = [sys.executable, "-c", code, "predict", str(pictures / "00.png"), "--format", "jsonl"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok"
    assert answer["model"].startswith("finetuned_model@")
    assert "converting" not in done.stderr
    assert SHIPPED.with_suffix(".onnx").samefile(MODELS / "finetuned_model.onnx")


def test_the_shipped_model_tells_real_melanomas_from_nevi(shared_data):
    """Images it was trained on, so no measure of skill; a model that is broken or mixed up would not."""
    rows = (shared_data / "HAM10000_metadata.csv").read_text().splitlines()
    columns = rows[0].split(",")
    told = [dict(zip(columns, row.split(","), strict=True)) for row in rows[1:]]
    archive = shared_data / "ISIC2018_Task3_Training_Input.zip"
    with zipfile.ZipFile(archive) as source:
        members = {Path(name).stem: name for name in source.namelist()}
    predictor = Predictor.load(SHIPPED)
    means = []
    for diagnosis in ("mel", "nv"):
        ids = [row["image_id"] for row in told if row["dx"] == diagnosis][:40]
        answers = predictor.predict([f"{archive}::{members[name]}" for name in ids])
        means.append(sum(answer.melanoma for answer in answers) / len(ids))
    assert means[0] > 5 * means[1]
