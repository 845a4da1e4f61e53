"""Leave-one-source-out: what is tested was never trained on, and the figures are those of the reports."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.datasets import make_data, manifest_of
from melascope import manifest
from melascope.cli.main import app
from melascope.errors import DataError
from melascope.evaluate import hold_out
from melascope.evaluate.predictions import Evaluation
from melascope.learn import training
from melascope.learn.settings import Settings


@pytest.fixture
def table():
    """Three data sets, one of two clinics; g3 and g5 have an image of B and one of another."""
    source = ["A/x", "A/y", "A/x", "B", "B", "B", "B", "C", "C", "C"]
    group = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g3", "g5", "g9"]
    split = [
        "train",
        "validation",
        "test",
        "train",
        "test",
        "validation",
        "train",
        "train",
        "validation",
        "test",
    ]
    excluded = [""] * 9 + ["altered image"]
    return manifest_of(10, source=source, group=group, split=split, excluded=excluded)


def test_a_data_set_is_held_out_with_its_clinics_and_linked_images(table):
    assert hold_out.sources(table) == ["A", "B", "C"]
    changed = hold_out.without(table, "B")
    others = ["train", "validation", "train"], ["train", "validation", "test"]
    assert changed["split"].tolist() == [*others[0], *["test"] * 4, *others[1]]
    assert changed["excluded"].tolist() == [""] * 7 + [hold_out.SHARED] * 2 + ["altered image"]
    assert set(hold_out.without(table, "A")["split"][:3]) == {"test"}
    used = manifest.usable(changed)
    assert not set(used.loc[used["split"] == "test", "group"]) & set(
        used.loc[used["split"] != "test", "group"]
    )
    assert table["split"].tolist()[2] == "test"  # the table that came in is as it was


def test_what_cannot_be_held_out_is_one_line(table):
    with pytest.raises(DataError, match="D: cannot be held out of a data set with the sources A, B, C"):
        hold_out.without(table, "D")
    with pytest.raises(DataError, match="A: cannot be held out"):
        hold_out.without(table[:3], "A")


@pytest.mark.slow
def test_each_source_is_tested_by_a_model_of_the_others(tmp_path, monkeypatch):
    data, out = make_data(tmp_path / "data", 96, sources=("first", "second set/one")), tmp_path / "out"
    settings = Settings(backbone="MobileNetV2", weights=None, size=32, epochs=1, batch=8, rate=1e-2)
    results = hold_out.run(data, out, settings)
    assert json.loads((out / "hold-out.json").read_text()) == json.loads(json.dumps(results))
    rows = results["targets"]["malignant"]
    assert [row["source"] for row in rows] == ["first", "second set", "mean"]
    assert [row["n"] for row in rows] == [48, 48, 96]
    for row, folder in zip(rows, ("first", "second-set"), strict=False):
        table = manifest.usable(manifest.read(out / folder / "data"))
        assert set(table.loc[table["split"] == "test", "source"].str.partition("/")[0]) == {row["source"]}
        report = Evaluation.read(out / folder / "report")
        assert len(report.predictions) == 48
        assert report.metrics["targets"]["malignant"]["roc_auc"] == row["model"]
        assert report.metrics["data"]["same_as_training"] is True
    mean = np.mean([row["model"]["value"] for row in rows[:2]])
    assert rows[2]["model"]["value"] == pytest.approx(mean)
    assert rows[2]["model"]["low"] <= mean <= rows[2]["model"]["high"]

    monkeypatch.setattr(training, "fine_tune", None)  # what is finished is not trained again
    words = ["hold-out", data, "--out", out, "--backbone", "MobileNetV2", "--weights", "none", "--size", 32]
    words += ["--epochs", 1, "--batch", 8, "--rate", 1e-2]
    shown = CliRunner().invoke(app, [*map(str, words)])
    assert shown.exit_code == 0, shown.output
    assert re.search(rf"^  mean +96  {mean:.3f} \(", shown.output, re.MULTILINE)
