"""What an evaluation tells, and what it refuses to tell."""

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference
from typer import Typer
from typer.testing import CliRunner

from helpers.datasets import DATA_HASH, card, predictions
from helpers.models import MALIGNANT_ONLY
from melascope import manifest
from melascope.cli.evaluate import evaluate as verb
from melascope.errors import DataError
from melascope.evaluate import evaluation
from melascope.evaluate.caveats import Origin
from melascope.evaluate.evaluation import assess, evaluate
from melascope.evaluate.predictions import Evaluation, command
from melascope.infer.answer import Answer

TEST = Origin("data", DATA_HASH, "test")


def _figures(node):
    if isinstance(node, dict):
        if "value" in node:
            yield node
        for child in node.values():
            yield from _figures(child)
    elif isinstance(node, list):
        for child in node:
            yield from _figures(child)


def test_figures_equal_scikit_learn_and_carry_interval_and_n():
    table = predictions()
    results = assess(table, card(), TEST, resamples=200)["targets"]["malignant"]
    truth, probability = table["malignant"].astype(bool), table["p_malignant"]
    assert results["roc_auc"]["value"] == pytest.approx(reference.roc_auc_score(truth, probability))
    assert results["pr_auc"]["value"] == pytest.approx(reference.average_precision_score(truth, probability))
    for where, threshold in (("at_threshold", 0.2), ("at_half", 0.5)):
        report = reference.classification_report(
            truth, probability >= threshold, output_dict=True, target_names=["benign", "malignant"]
        )
        rows = {row["class"]: row for row in results[where]["report"]}
        for ours, theirs in (
            ("benign", "benign"),
            ("malignant", "malignant"),
            ("macro mean", "macro avg"),
            ("weighted mean", "weighted avg"),
        ):
            assert rows[ours]["support"] == report[theirs]["support"]
            for ours_name, theirs_name in (
                ("precision", "precision"),
                ("recall", "recall"),
                ("f1", "f1-score"),
            ):
                assert rows[ours][ours_name]["value"] == pytest.approx(report[theirs][theirs_name])
        assert results[where]["sensitivity"]["n"] == truth.sum()
        assert results[where]["specificity"]["n"] == (~truth).sum()
    figures = list(_figures(results))
    assert len(figures) > 50
    for figure in figures:
        assert figure["n"] >= 0
        assert (figure["low"] is None) == ("reason" in figure)
        if figure["low"] is not None:
            assert figure["low"] <= figure["value"] <= figure["high"]


def test_same_seed_same_figures():
    table = predictions(150, 100)
    first, again = (assess(table, card(), TEST, 100, seed=5)["targets"] for _ in range(2))
    assert first == again
    assert assess(table, card(), TEST, 100, seed=6)["targets"] != first


def test_melanomas_caught_are_those_called_malignant():
    table = predictions()
    results = assess(table, card(), TEST, 50)["targets"]["malignant"]["melanomas_caught"]
    melanomas = table[table["melanoma"].astype(bool)]
    assert results["n"] == len(melanomas)
    assert results["value"] == pytest.approx((melanomas["p_malignant"] >= 0.2).mean())


def test_refused_images_count_and_are_left_out_once_more():
    table = predictions()
    everything = assess(table, card(), TEST, 50)["targets"]["malignant"]
    assert everything["without_refused"] is None
    table.loc[:40, ["status", "reason"]] = ["refused", "blurred"]
    results = assess(table, card(), TEST, 50)
    malignant = results["targets"]["malignant"]
    assert results["images"]["refused"] == 41
    assert malignant["roc_auc"] == everything["roc_auc"]
    kept = table[table["status"] == "ok"]
    without = malignant["without_refused"]
    assert without["n"] == len(kept)
    assert without["roc_auc"]["value"] == pytest.approx(
        reference.roc_auc_score(kept["malignant"].astype(bool), kept["p_malignant"])
    )


def test_predictive_values_equal_those_of_a_sample_with_that_prevalence():
    """Benign images repeated until 4 % are malignant: precision there is the positive predictive value here."""
    table = predictions()
    truth, called = table["malignant"].astype(bool), table["p_malignant"] >= 0.2
    copies = truth.sum() / 0.04 * 0.96 / (~truth).sum()
    weight = np.where(truth, 1, copies)
    results = assess(table, card(), TEST, 200, prevalence=0.04)["targets"]["malignant"]["at_prevalence"]
    assert results["prevalence"] == 0.04
    for name, answer, right in (("ppv", called, truth), ("npv", ~called, ~truth)):
        expected = weight[answer & right].sum() / weight[answer].sum()
        assert results[name]["value"] == pytest.approx(expected)
        assert results[name]["low"] < expected < results[name]["high"]
    assert assess(table, card(), TEST, 20)["targets"]["malignant"]["at_prevalence"] is None


def test_subgroups_are_what_evaluating_them_alone_gives():
    table = predictions()
    results = assess(table, card(), TEST, 50)["targets"]["malignant"]
    rows = {name: {row["part"]: row for row in part} for name, part in results["subgroups"].items()}
    assert list(rows["sex"]) == ["female", "male", "not recorded"]
    assert list(rows["age"]) == ["30 to 49", "50 to 69", "not recorded"]  # in order, empty ones left out
    assert set(rows) == {"sex", "age"}  # all are trunk, and no skin type is recorded
    for part in rows.values():
        assert sum(row["n"] for row in part.values()) == len(table)
    old = table[table["age_approx"].between(50, 69)]
    alone = assess(old, card(), TEST, 50)["targets"]["malignant"]
    assert rows["age"]["50 to 69"]["roc_auc"] == alone["roc_auc"]
    assert rows["age"]["50 to 69"]["sensitivity"] == alone["at_threshold"]["sensitivity"]


def test_each_diagnosis_has_its_share_called_malignant():
    """Also where its truth is not known."""
    table = predictions()
    unsure = table.index[table["diagnosis"] == "nevus"][:30]
    table.loc[unsure, ["diagnosis", "malignant"]] = ["actinic keratosis", pd.NA]
    table.loc[unsure[:3], "diagnosis"] = None
    rows = {row["part"]: row for row in assess(table, card(), TEST, 50)["targets"]["malignant"]["diagnoses"]}
    assert list(rows) == [
        "melanoma",
        "basal cell carcinoma",
        "squamous cell carcinoma or actinic keratosis",
        "nevus",
        "not recorded",
    ]
    called = table["p_malignant"] >= 0.2
    for name, word in (
        ("nevus", "nevus"),
        ("squamous cell carcinoma or actinic keratosis", "actinic keratosis"),
    ):
        assert rows[name]["called"]["value"] == pytest.approx(called[table["diagnosis"] == word].mean())
        assert rows[name]["called"]["low"] < rows[name]["called"]["value"] < rows[name]["called"]["high"]
    assert rows["not recorded"]["too_small"]
    assert not rows["nevus"]["too_small"]


def test_sources_have_rows_and_small_ones_are_marked():
    rows = assess(predictions(), card(), TEST, 50)["targets"]["malignant"]["sources"]
    assert [row["source"] for row in rows] == ["OTHER", "SET", "SET/first", "SET/second", "SET/tiny"]
    assert [row["too_small"] for row in rows] == [False, False, False, False, True]
    whole, *parts = rows[1:]
    assert whole["whole"]
    assert whole["n"] == sum(row["n"] for row in parts)


def test_unknown_targets_are_left_out_and_counted():
    table = predictions()
    table.loc[:99, "malignant"] = pd.NA
    results = assess(table, card(), TEST, 50)["targets"]
    assert (results["malignant"]["n"], results["malignant"]["n_unknown"]) == (300, 100)
    assert results["melanoma"]["n"] == 400


@pytest.mark.parametrize("only", [True, False])
def test_one_class_gives_reasons_and_not_numbers(only):
    table = predictions(80, 60)
    table[["malignant", "melanoma"]] = only
    results = assess(table, card(), TEST, 50)
    malignant = results["targets"]["malignant"]
    missing = "benign" if only else "malignant"
    assert malignant["roc_auc"]["value"] is None
    assert malignant["roc_auc"]["reason"] == f"no image is {missing}"
    undefined = malignant["at_threshold"]["specificity" if only else "sensitivity"]
    assert (undefined["value"], undefined["n"]) == (None, 0)
    assert any("most figures of it are undefined" in warning for warning in results["warnings"])
    json.dumps(results, allow_nan=False)


def test_a_perfect_share_is_no_certainty():
    table = predictions(60, 40)
    table["p_malignant"] = np.where(table["malignant"].astype(bool), 0.9, 0.01)
    results = assess(table, card(), TEST, 100)["targets"]["malignant"]
    sensitivity = results["at_threshold"]["sensitivity"]
    groups = table.loc[table["malignant"].astype(bool), "group"].nunique()
    assert sensitivity["low"] == pytest.approx(0.025 ** (1 / groups))
    assert results["roc_auc"]["low"] is None
    assert "too few" in results["roc_auc"]["reason"]


def test_a_target_that_was_not_learned_has_no_figures():
    table = predictions(80, 60)
    table["p_melanoma"] = np.nan
    model = card(**MALIGNANT_ONLY)
    results = assess(table, model, TEST, 50)["targets"]["melanoma"]
    assert results["reason"] == "the model did not learn melanoma"
    assert "roc_auc" not in results


@pytest.mark.parametrize(
    ("origin", "model", "words"),
    [
        (TEST, card(), None),
        (Origin("data", DATA_HASH, "test", allow_leaks=True), card(), "No figure here supports a claim"),
        (Origin("data", DATA_HASH, "validation"), card(), "chosen on these images"),
        (Origin("data", DATA_HASH, "train"), card(), "learned from"),
        (Origin("data", DATA_HASH, "all"), card(), "far too hopeful"),
        (Origin("data", "cd" * 32, "all"), card(), "External test"),
        (TEST, card(data={}), "not known whether it has seen"),
        (TEST, card(data={"hash": DATA_HASH, "allow_leaks": True}), "may be too hopeful"),
    ],
)
def test_what_invalidates_a_test_is_said_first(origin, model, words):
    warnings = assess(predictions(60, 50), model, origin, 20)["warnings"]
    if words is None:
        assert warnings == []
    else:
        assert len(warnings) == 1
        assert words in warnings[0]


def test_intervals_of_2000_images_take_less_than_10_seconds():
    table = predictions(2000, 1500)
    started = time.process_time()  # others may share the machine
    assess(table, card(), TEST)
    assert time.process_time() - started < 10


@pytest.mark.slow
def test_memory_stays_bounded_for_100000_images():
    table = predictions(100_000, 80_000)
    tracemalloc.start()
    assess(table, card(), TEST, resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * 2**30


class _Fake:
    """Answers as a predictor does, from made-up predictions; one image is broken, one refused."""

    def __init__(self, table):
        self.card = card(data={})
        self._table = table.set_index("image_id")

    def predict(self, locators):
        for i, path in enumerate(locators):
            row = self._table.loc[Path(path).stem]
            status = {0: "error", 1: "refused"}.get(i, "ok")
            read = status != "error"
            yield Answer(
                path=path,
                status=status,
                malignant=row["p_malignant"] if read else None,
                melanoma=row["p_melanoma"] if read else None,
                threshold=0.2,
                reason=None if status == "ok" else "half a JPEG",
                model="fake",
                logits=row[["logit_malignant", "logit_melanoma"]].to_numpy(float) if read else None,
            )


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A data set folder `data` here, and every model a fake one."""
    monkeypatch.chdir(tmp_path)
    table = predictions(300, 250)
    rows = table.reindex(columns=list(manifest.COLUMNS)).assign(
        path=[str(tmp_path / f"{name}.jpg") for name in table["image_id"]], excluded=""
    )
    rows.loc[280:, "split"] = "train"
    rows.loc[280:, "group"] = [f"t{i}" for i in range(20)]
    rows.loc[5, ["excluded", "split"]] = ["altered", None]
    manifest.write(rows, tmp_path / "data")
    monkeypatch.setattr(evaluation.Predictor, "load", lambda _: _Fake(table))
    return table


def test_the_command_writes_the_report_folder(made, monkeypatch):
    """And names the image that could not be read."""
    app = Typer()
    app.command()(verb)
    words = ["m", "data", "--out", "report", "--seed", "3"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/melascope", "evaluate", *words])
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1  # one image could not be read
    assert "ISIC_0000000.jpg: half a JPEG" in result.stderr
    assert "ROC-AUC" in result.stdout
    assert result.stdout.splitlines()[-1] == "report/report.html"
    written = pd.read_parquet("report/predictions.parquet")
    assert list(written.columns) == list(predictions(2, 2).columns)
    assert len(written) == 279  # the test split, without the excluded image
    assert written["status"].value_counts().to_dict() == {"ok": 277, "refused": 1, "error": 1}
    assert np.isnan(written.loc[0, "p_malignant"])
    assert written.loc[1, "p_malignant"] == made.loc[1, "p_malignant"]
    metrics = json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))
    assert metrics["images"]["unreadable"] == 1
    assert metrics["targets"]["malignant"]["n"] == 278
    assert metrics["command"] == "melascope evaluate m data --out report --seed 3"
    again = Evaluation.read("report")
    pd.testing.assert_frame_equal(again.predictions, written)
    assert again.metrics == metrics
    assert again.model == str(Path("m").absolute())
    assert (again.data, again.split) == (Path("data").absolute(), "test")
    assert Path("report/figures/malignant_roc.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/usr/bin/melascope", "evaluate", "a b"], "melascope evaluate 'a b'"),
        (["C:/Scripts/melascope.exe", "check", "report"], "melascope check report"),
        (["/site-packages/melascope/__main__.py", "check"], "melascope check"),
        (["/usr/bin/pytest", "tests"], "Python"),
    ],
)
def test_the_record_names_the_command(words, expected, monkeypatch):
    monkeypatch.setattr("sys.argv", words)
    assert command() == expected


@pytest.mark.usefixtures("made")
def test_evaluation_refuses_what_it_cannot_measure(tmp_path):
    with pytest.raises(DataError, match="no usable image in the split validation"):
        evaluate("m", Path("data"), Path("report"), "validation")
    Path("file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="a file; name a folder"):
        evaluate("m", Path("data"), Path("file"))
    unlabelled = manifest.read("data").assign(
        malignant=pd.array([None] * 300, dtype="boolean"), melanoma=pd.array([None] * 300, dtype="boolean")
    )
    manifest.write(unlabelled, tmp_path / "unlabelled")
    with pytest.raises(DataError, match="no image of the split test has a known label"):
        evaluate("m", tmp_path / "unlabelled", Path("report"))
    one = manifest.read("data").iloc[:1]
    manifest.write(one, tmp_path / "one")
    with pytest.raises(DataError, match="none of the 1 images could be read"):
        evaluate("m", tmp_path / "one", Path("report"))
    with pytest.raises(DataError, match="missing"):
        evaluate("m", Path("missing"), Path("report"))
    assert not Path("report").exists()


def test_a_folder_that_is_no_report_is_said_so(tmp_path):
    with pytest.raises(DataError, match="no report here"):
        Evaluation.read(tmp_path)
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    (tmp_path / "predictions.parquet").write_text("not a table", encoding="utf-8")
    with pytest.raises(DataError, match="not a whole report"):
        Evaluation.read(tmp_path)
    predictions(2, 2).to_parquet(tmp_path / "predictions.parquet")
    (tmp_path / "metrics.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(DataError, match="format 99"):
        Evaluation.read(tmp_path)
