"""The models that are shipped: they answer at once, from a plain install, and are what their cards say."""

import csv
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from melascope.files import sha256
from melascope.infer.predictor import Predictor
from melascope.model.describe import describe
from melascope.model.folder import SHIPPED
from melascope.synthetic import NEVUS, draw
from melascope.synthetic.clutter import clutter

MODELS = Path(__file__).resolve().parents[2] / "models"
NAMES = ("base_model", "finetuned_model")


@pytest.mark.parametrize("name", NAMES)
def test_files_belong_together_and_are_small(name):
    described = describe(MODELS / name)
    assert [Path(item["path"]).suffix for item in described["files"]] == [".keras", ".onnx"]
    assert all(item["belongs_to_card"] for item in described["files"])
    assert all(item["bytes"] < 25 * 2**20 for item in described["files"])
    assert described["identity"] == f"{name}@{sha256(MODELS / f'{name}.keras')[:12]}"
    assert set(described["card"]["threshold"]) == {"malignant", "melanoma"}
    assert "non-commercial" in described["card"]["license"]


def test_prediction_takes_the_shipped_model_and_converts_nothing(tmp_path):
    Image.fromarray(draw(1, NEVUS).pixels).save(tmp_path / "nevus.png")
    code = (
        "import sys\nfrom melascope.cli.main import main\n"
        "for name in ('keras', 'torch', 'onnx', 'h5py', 'pandas'):\n    sys.modules[name] = None\n"
        "main()\n"
    )
    words = [sys.executable, "-c", code, "predict", str(tmp_path / "nevus.png"), "--format", "jsonl"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok"
    assert answer["model"].startswith("finetuned_model@")
    assert "converting" not in done.stderr
    assert SHIPPED.with_suffix(".onnx").samefile(MODELS / "finetuned_model.onnx")


def test_the_shipped_model_separates_melanomas_from_nevi(shared_data):
    """The model was trained on these images, so this shows only that it is not broken or mixed up."""
    rows = (shared_data / "HAM10000_metadata.csv").read_text().splitlines()
    columns = rows[0].split(",")
    lesions = [dict(zip(columns, row.split(","), strict=True)) for row in rows[1:]]
    archive = shared_data / "ISIC2018_Task3_Training_Input.zip"
    with zipfile.ZipFile(archive) as source:
        members = {Path(name).stem: name for name in source.namelist()}
    predictor = Predictor.load(SHIPPED)
    means = []
    for diagnosis in ("mel", "nv"):
        ids = [row["image_id"] for row in lesions if row["dx"] == diagnosis][:40]
        answers = predictor.predict([f"{archive}::{members[name]}" for name in ids])
        means.append(sum(answer.melanoma for answer in answers) / len(ids))
    assert means[0] > 5 * means[1]


def test_the_shipped_gate_separates_lesions_from_clutter():
    predictor = Predictor.load(SHIPPED)
    lesions = [predictor.answer(draw(i, NEVUS).pixels).status for i in range(30)]
    assert lesions.count("ok") >= 27
    for kind in ("documents", "screens"):
        answers = [predictor.answer(clutter(kind, 50_000 + i)) for i in range(20)]
        assert [answer.status for answer in answers].count("refused") >= 19
        assert all(answer.label is None for answer in answers if answer.status == "refused")


def test_the_shipped_gate_separates_dermoscopy_from_close_ups(shared_data):
    """The gate was trained on these images, so this shows only that it is there and works."""
    archive = shared_data / "ISIC-images.zip"
    with zipfile.ZipFile(archive) as source:
        name = next(item for item in source.namelist() if item.endswith("metadata.csv"))
        rows = list(csv.DictReader(io.TextIOWrapper(source.open(name), encoding="utf-8")))
        members = {Path(item).stem: item for item in source.namelist()}
    predictor = Predictor.load(SHIPPED)
    refused = {}
    for kind in ("dermoscopic", "clinical: close-up"):
        ids = [row["isic_id"] for row in rows if row["image_type"] == kind][:150]
        answers = predictor.predict([f"{archive}::{members[item]}" for item in ids])
        refused[kind] = sum(answer.status == "refused" for answer in answers) / len(ids)
    assert refused["dermoscopic"] <= 0.03
    assert refused["clinical: close-up"] >= 0.9
