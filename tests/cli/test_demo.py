"""The demo, end to end: the installed command draws, prepares, trains, measures, explains and predicts."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from melascope import manifest
from melascope.infer.answer import COLUMNS
from melascope.model.card import Card
from melascope.prepare.verdicts import SHORTCUT
from melascope.synthetic import Truth

MELASCOPE = Path(sys.executable).with_name("melascope")
FIELDS = (
    *("path", "status", "label", "confidence", "malignant", "melanoma"),
    *("threshold", "weak", "reason", "model"),
)


def demo(folder, *options):
    return subprocess.run(
        [MELASCOPE, "demo", *map(str, options)], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Few images and one epoch: every verb runs, though nothing is learned."""
    folder = tmp_path_factory.mktemp("quick")
    return demo(folder, "--images", 200, "--epochs", 1), folder / "demo"


@pytest.mark.slow
def test_the_whole_chain_runs_and_says_how(quick):
    result, out = quick
    assert result.returncode == 0, result.stdout + result.stderr
    told = re.findall(r"^\$ melascope (\w+)", result.stdout, flags=re.MULTILINE)
    assert told == ["prepare", "train", "evaluate", "check", "explain", "predict"]
    assert "Planted faults found by the audit: 17 of 17" in result.stdout
    assert "MISSED" not in result.stdout
    assert f"The report: {Path('demo') / 'report' / 'report.html'}" in result.stdout
    assert "Traceback" not in result.stderr
    for page in ("data/audit.html", "report/report.html", "report/cases.html"):
        text = (out / page).read_text(encoding="utf-8")
        assert "never replaces" in text
        assert not re.search(r"""(src|href)=["']https?://""", text), f"{page} needs the network"
    assert len(list((out / "explain").glob("*.png"))) == 4


@pytest.mark.slow
def test_the_artifacts_are_whole(quick):
    _, out = quick
    table = manifest.read(out / "data")
    assert len(table) == 208
    assert set(manifest.usable(table)["split"]) == set(manifest.SPLITS)
    assert Card.read(out / "run" / "model.json").input_size == 64
    assert (out / "run" / "model.onnx").stat().st_size > 0
    predictions = pd.read_parquet(out / "report" / "predictions.parquet")
    assert set(predictions["image_id"]) == set(manifest.usable(table, "test")["image_id"])
    assert predictions["p_malignant"].between(0, 1).all()
    metrics = json.loads((out / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["images"]["asked"] == len(predictions) > 0
    assert (out / "report" / "weak_decisions.csv").stat().st_size > 0


@pytest.mark.slow
def test_the_predictions_are_json_lines_that_keep_the_contract(quick):
    result, out = quick
    text = (out / "report" / "demo.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 10
    predictions = pd.read_parquet(out / "report" / "predictions.parquet").set_index("image_id")
    for line in lines:
        assert tuple(line) == FIELDS == COLUMNS
        called = "malignant" if line["malignant"] >= line["threshold"] else "benign"
        assert line["label"] == (called if line["status"] == "ok" else None)
        name = Path(line["path"].rpartition("::")[2]).stem
        assert f"\n{name} " in result.stdout, "the table has every image"
        # predict and evaluate say the same of the same image
        assert line["malignant"] == pytest.approx(predictions.loc[name, "p_malignant"], abs=1e-5)
    assert [line["status"] for line in lines].count("ok") >= 8  # so little training makes no sure gate


@pytest.mark.slow
def test_a_missed_fault_is_told(quick):
    """The check can fail: an audit that found nothing is found out, fault by fault."""
    _, out = quick
    truth = Truth(**json.loads((out / "raw" / "truth" / "truth.json").read_text(encoding="utf-8")))
    blind = {"duplicates": {"pairs": []}, "excluded": {}, "probes": {"malignant": []}}
    table = manifest.read(out / "data")
    found = [what.partition(" ")[0] for what, ok in truth.check(blind, table, SHORTCUT) if ok]
    assert found == [str(len(truth.lesions)), "indeterminate,"]  # these the manifest tells
    apart = table.assign(group=table["image_id"], malignant=False)
    assert not any(ok for _, ok in truth.check(blind, apart, SHORTCUT))


def test_a_folder_that_is_not_a_demo_is_left_alone(tmp_path):
    mine = tmp_path / "demo" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    result = demo(tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("melascope: demo: holds something else")
    assert [path.name for path in mine.parent.iterdir()] == [mine.name]


@pytest.mark.slow
def test_the_full_demo_learns_and_finds_every_planted_fault(tmp_path):
    result = demo(tmp_path, "--out", "here")
    assert result.returncode == 0, result.stdout + result.stderr
    metrics = json.loads((tmp_path / "here" / "report" / "metrics.json").read_text(encoding="utf-8"))
    figure = metrics["targets"]["malignant"]["roc_auc"]
    assert figure["value"] > 0.75
    assert figure["low"] > 0.65
