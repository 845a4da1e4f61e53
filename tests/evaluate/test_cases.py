"""Investigating: which decisions are weak or wrong, and the page that shows them."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers import datasets, models
from melascope.cli.main import app
from melascope.errors import DataError
from melascope.evaluate import cases
from melascope.evaluate.predictions import Evaluation
from melascope.images import decode
from melascope.model.decision import Calibration, PredictionSets
from melascope.quality import Quality, measure

SETS = PredictionSets(0.95, 0.18, 0.6, 400, 400)


@pytest.fixture(scope="module")
def predictions(pictures):
    """Forty predictions, one that failed, of images that are there."""
    table = datasets.predictions(images=40, groups=30)
    table["path"] = sorted(map(str, pictures.iterdir()))
    table.loc[7, ["status", "reason"]] = ["error", "damaged"]
    table.loc[7, ["p_malignant", "p_melanoma"]] = np.nan
    table.loc[11, "malignant"] = pd.NA
    table.loc[13, ["status", "reason"]] = ["refused", "The image is too dark."]
    # By hand: both answers left, malignant left though called benign, only malignant left, a miss, a false alarm.
    table.loc[[0, 1, 2, 3, 4], "p_malignant"] = [0.52, 0.19, 0.61, 0.01, 0.99]
    table.loc[[0, 1, 2, 3, 4], "malignant"] = [True, True, True, True, False]
    return table


def test_weak_missed_and_false_alarms_are_sorted(predictions):
    results = cases.find(predictions, 0.2, SETS)
    assert set(results.images["image_id"]) == set(predictions["image_id"].drop(7))
    is_weak = results.images.set_index("image_id")["weak"]
    ids = predictions["image_id"]
    assert [is_weak[ids[i]] for i in range(5)] == [True, True, False, False, False]
    for row in results.images.itertuples():
        assert row.weak == (0.18 <= row.p_malignant <= 0.6)
    known = results.images[results.images["malignant"].notna()]
    truth, called = known["malignant"].astype(bool), known["p_malignant"] >= 0.2
    assert set(results.missed["image_id"]) == set(known["image_id"][truth & ~called])
    assert set(results.alarms["image_id"]) == set(known["image_id"][~truth & called])
    assert results.missed["image_id"].iloc[0] == ids[3]
    assert results.alarms["image_id"].iloc[0] == ids[4]
    assert results.missed["p_malignant"].is_monotonic_increasing
    assert results.alarms["p_malignant"].is_monotonic_decreasing
    near = [abs(p - 0.39) for p in results.weak["p_malignant"]]
    assert near == sorted(near)
    assert not results.gone


def test_a_band_of_ones_own_takes_the_place_of_sets(predictions):
    results = cases.find(predictions, 0.2, SETS, band=(0.45, 0.55))
    p = results.images["p_malignant"]
    assert results.images["weak"].equals((p > 0.45) & (p < 0.55))
    for band in ((0.6, 0.4), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 1.0)):
        with pytest.raises(DataError, match="a band needs"):
            cases.find(predictions, 0.2, SETS, band)


def test_labels_that_were_turned_round_are_suspected(pictures):
    """A good model, 5 % of whose labels are turned: most of them are suspected, the plainest first."""
    table = datasets.predictions(images=600, groups=600, seed=2)
    table["path"] = sorted(map(str, pictures.iterdir())) * 15
    rng = np.random.default_rng(0)
    truth = table["malignant"].to_numpy(bool)
    table["p_malignant"] = 1 / (1 + np.exp(-(rng.normal(0, 1, 600) + np.where(truth, 3, -3))))
    turned = rng.permutation(600)[:30]
    table.loc[turned, "malignant"] = ~table["malignant"][turned]
    results = cases.find(table, 0.5, SETS).suspected
    hits = results["image_id"].isin(table["image_id"][turned])
    assert hits.sum() >= 24
    assert hits.mean() >= 0.8
    given = np.where(results["malignant"], results["p_malignant"], 1 - results["p_malignant"])
    assert (np.diff(given) >= 0).all()
    assert cases.find(table.assign(malignant=True), 0.5, SETS).suspected.empty


def test_images_that_are_gone_are_named_and_stop_nothing(predictions):
    some = predictions.copy()
    some.loc[[2, 5], "path"] = ["gone.jpg", "lost.jpg"]
    results = cases.find(some, 0.2, SETS)
    assert [line.partition(":")[0] for line in results.gone] == ["gone.jpg", "lost.jpg"]
    assert len(results.images) == 39
    with pytest.raises(DataError, match=r"nowhere\.jpg: .*evaluate again"):
        cases.find(some.assign(path="nowhere.jpg"), 0.2, SETS)


def test_error_rates_are_those_counted_by_hand(predictions):
    images = cases.find(predictions, 0.2, SETS).images
    rates = cases.error_rates(images)
    known = images[images["malignant"].notna()]
    wrong = (known["p_malignant"] >= 0.2) != known["malignant"].astype(bool)
    is_weak = known["weak"]
    for name, chosen in (("weak", is_weak), ("others", ~is_weak)):
        rate = rates[name]
        assert rate.n == chosen.sum()
        assert rate.value == pytest.approx(wrong[chosen].mean())
        assert rate.low <= rate.value <= rate.high
    assert rates["difference"].value == pytest.approx(wrong[is_weak].mean() - wrong[~is_weak].mean())
    none = cases.error_rates(images.assign(weak=False))
    assert none["weak"].value is None
    assert none["difference"].value is None
    assert {rate.n for rate in cases.error_rates(images.assign(malignant=pd.NA)).values()} == {0}


@pytest.fixture(scope="module")
def report(tiny_model, pictures, tmp_path_factory):
    """A report folder as `evaluate` writes it, with the tiny model's own answers."""
    from melascope.evaluate import evaluation
    from melascope.evaluate.caveats import Origin
    from melascope.evaluate.predictions import predict
    from melascope.infer.predictor import Predictor

    folder = tmp_path_factory.mktemp("report")
    table = datasets.predictions(images=40, groups=30).assign(path=sorted(map(str, pictures.iterdir())))
    for suffix in (".keras", ".json", ".onnx"):
        shutil.copy(tiny_model.with_suffix(suffix), folder / f"tiny{suffix}")
    predictor = Predictor.load(folder / "tiny")
    results = predict(predictor, table)
    results.to_parquet(folder / "predictions.parquet")
    origin = Origin("data", datasets.DATA_HASH, "test", False)
    metrics = evaluation.assess(results, predictor.card, origin, str(folder / "tiny"), resamples=20)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_image_quality_is_that_of_the_image_itself(report):
    predictions = Evaluation.read(report).predictions
    row = predictions.iloc[5]
    expected = measure(decode(Path(row["path"]).read_bytes(), "image"))
    assert tuple(row[list(Quality._fields)]) == pytest.approx(tuple(expected))
    assert (row["width"], row["height"]) == (240, 200)


def test_predictions_without_image_quality_are_refused(report, tmp_path):
    """They are of an older version."""
    folder = Path(shutil.copytree(report, tmp_path / "report"))
    table = pd.read_parquet(folder / "predictions.parquet").drop(columns="sharpness")
    table.to_parquet(folder / "predictions.parquet")
    with pytest.raises(DataError, match="without image quality; evaluate again"):
        cases.measure(Evaluation.read(folder))


def investigate(*words):
    return CliRunner().invoke(app, ["investigate", *map(str, words)])


def test_the_command_writes_the_table_and_the_page(report, tmp_path):
    result = investigate(report, "--out", tmp_path / "out", "--band", "0.02,0.98")
    assert result.exit_code == 0, result.exception
    lines = result.stdout.splitlines()
    assert lines[-1] == str(tmp_path / "out" / "cases.html")
    counts = {line.rpartition("  ")[0].strip(): int(line.rpartition(" ")[2]) for line in lines[:4]}
    review = pd.read_csv(tmp_path / "out" / "suspected_labels.csv")
    assert counts.pop("suspected labels") == len(review)
    predictions = pd.read_parquet(report / "predictions.parquet")
    p, truth = predictions["p_malignant"], predictions["malignant"].astype(bool)
    is_weak = (p > 0.02) & (p < 0.98)
    assert counts == {
        "weak decisions": is_weak.sum(),
        "false negatives": (truth & (p < 0.3)).sum(),
        "false positives": (~truth & (p >= 0.3)).sum(),
    }
    table = pd.read_csv(tmp_path / "out" / "weak_decisions.csv")
    assert list(table.columns) == cases.COLUMNS
    assert set(table["image_id"]) == set(predictions["image_id"][is_weak])
    page = (tmp_path / "out" / "cases.html").read_text()
    assert page.count('<img src="data:image/jpeg') == 2 * sum(
        min(n, 24) for n in (*counts.values(), len(review))
    )
    assert not re.search(r'(src|href)="(?!data:)', page)  # asks nothing of the network
    assert "It is not evidence" in page
    assert "never replaces" in page
    assert "24 of" in page
    for warning in json.loads((report / "metrics.json").read_text())["warnings"]:
        assert warning in html.unescape(page)


def test_what_is_in_a_report_cannot_become_markup(report, tmp_path):
    folder = Path(shutil.copytree(report, tmp_path / "report"))
    table = pd.read_parquet(folder / "predictions.parquet").assign(diagnosis="<script>alert(1)</script>")
    table.to_parquet(folder / "predictions.parquet")
    assert investigate(folder, "--band", "0,1").exit_code == 0
    page = (folder / "cases.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_image_that_is_gone_is_exit_code_1(report, tmp_path):
    folder = Path(shutil.copytree(report, tmp_path / "report"))
    table = pd.read_parquet(folder / "predictions.parquet")
    table.loc[0, "path"] = "gone.jpg"
    table.to_parquet(folder / "predictions.parquet")
    result = investigate(folder, "--band", "0,1")
    assert result.exit_code == 1
    assert "gone.jpg: " in result.stderr
    assert "1 of the images can no longer be read" in (folder / "cases.html").read_text()


def test_another_model_or_a_bad_band_is_refused(report, tmp_path):
    for band in ("0.5", "a,b", "0.1,0.2,0.3", "0.6,0.5"):
        result = investigate(report, "--band", band, "--out", tmp_path / "out")
        assert isinstance(result.exception, DataError), band
        assert "band" in str(result.exception)
    folder = Path(shutil.copytree(report, tmp_path / "report"))
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["model"]["path"] = str(folder / "tiny")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    other = {name: Calibration("temperature", 0.9) for name in ("malignant", "melanoma")}
    points = models.points({"malignant": 0.4, "melanoma": 0.2})
    sets = PredictionSets(0.95, 0.1, 0.9, 400, 400)
    for changes in ({"operating_points": points}, {"calibration": other}, {"prediction_sets": sets}):
        models.write_card(folder / "tiny.json", **changes)
        result = investigate(folder, "--out", tmp_path / "out")
        assert isinstance(result.exception, DataError)
        assert "its model has changed since; evaluate again" in str(result.exception)
    assert not (tmp_path / "out").exists()
