"""Search: what is drawn and stopped early, that no trial is lost, and that the best model is kept."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.datasets import make_data
from helpers.models import write_card
from melascope import manifest
from melascope.cli.main import app
from melascope.errors import DataError, ModelError
from melascope.learn import search, training
from melascope.learn.settings import Settings
from melascope.model.card import Card

GIVEN = Settings(backbone="MobileNetV2", weights=None, size=32, epochs=16, batch=8)
TUNE = ["--backbone", "MobileNetV2", "--weights", "none", "--size", "32", "--batch", "8", "--epochs", "3"]


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data")


@pytest.fixture
def quick(monkeypatch):
    """Trainings that take no time: a score that rises with each epoch, the more the nearer the rate is to 2e-3."""
    epochs = []

    def train(data, run, settings, progress, *, start=None, on_epoch=None):
        if settings.rate > 8e-3:
            raise ModelError("the training diverged in epoch 1; try a lower --rate")
        run.mkdir(parents=True, exist_ok=True)
        for epoch in range(1, settings.epochs + 1):
            epochs.append(epoch)
            score = 0.9 - abs(settings.rate - 2e-3) * 50 - 0.1 / epoch
            with (run / "history.csv").open("w") as file:
                file.write(f"epoch,seconds\n{epoch},1.5\n")
            on_epoch(epoch, score)
        (run / "model.keras").write_text(str(settings.rate))
        write_card(run / "model.json")

    monkeypatch.setattr(training, "train_networks", train)
    monkeypatch.setattr(training, "complete", lambda *_: None)
    return epochs


def test_the_best_is_kept_for_a_fraction_of_the_epochs(data, tmp_path, quick):
    out, asked = tmp_path / "out", search.Search(GIVEN, ("rate",), trials=60)
    result = search.search(data, out, asked)
    table = pd.read_csv(out / "trials.csv")
    assert table["number"].tolist() == list(range(60))
    assert set(table["state"]) == {"complete", "pruned", "fail"}
    assert (table.loc[table["rate"] > 8e-3, "state"] == "fail").all()
    nearest = (table["rate"] - 2e-3).abs().idxmin()
    assert result.best == nearest
    assert float((out / "model.keras").read_text()) == pytest.approx(table["rate"][nearest])
    assert Card.read(out / "model.json").name == "out"
    scored = table[table["state"] != "fail"]
    assert scored["epochs_run"].sum() == len(quick)
    assert len(quick) < len(scored) * 16 / 5
    assert set(scored.loc[scored["state"] == "pruned", "epochs_run"]) <= {1, 4}


def test_seed_and_number_decide_what_is_drawn(data, tmp_path, quick):
    names = search.searchable(GIVEN)
    assert "unfrozen" not in names
    drawn = []
    for name, steps in (("at-once", [6]), ("bit-by-bit", [2, 5, 6])):
        for trials in steps:  # a search may be given more trials
            result = search.search(data, tmp_path / name, search.Search(GIVEN, names, trials=trials))
        drawn.append(result.trials[list(names)])
    pd.testing.assert_frame_equal(*drawn)
    assert drawn[0]["rate"].nunique() == 6
    assert drawn[0]["epochs"].between(2, 16).all()


def test_another_search_in_the_same_folder_is_refused(data, tmp_path, quick):
    search.search(data, tmp_path / "out", search.Search(GIVEN, ("rate",), trials=1))
    with pytest.raises(DataError, match="other settings or data"):
        search.search(data, tmp_path / "out", search.Search(GIVEN, ("rate", "dropout"), trials=1))
    shown = CliRunner().invoke(
        app, ["tune", str(data), "--out", str(tmp_path / "x"), "--search", "rate,colour"]
    )
    assert isinstance(shown.exception, DataError)
    assert "cannot search over colour; name some of rate, dropout" in str(shown.exception)


def test_a_trial_is_resumed_once_its_process_is_dead(data, tmp_path, quick):
    out, asked = tmp_path / "out", search.Search(GIVEN, ("rate",), trials=2)
    search.begin(data, out, asked)
    script = (
        "import sys, time; from pathlib import Path; from melascope.learn import search\n"
        "from melascope.learn.settings import Settings\n"
        "asked = search.Search(Settings('MobileNetV2', None, 32, epochs=16, batch=8), ('rate',), trials=2)\n"
        "trial, lock = search.claim_trial(Path(sys.argv[1]), asked)\n"
        "print(trial.number, flush=True); time.sleep(100)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, out], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "0\n"
    assert search.search(data, out, asked).trials["state"].tolist() == ["running", "complete"]
    other.kill()
    other.wait()
    assert search.search(data, out, asked).trials["state"].tolist() == ["complete", "complete"]


@pytest.mark.slow
def test_a_killed_search_loses_no_trial(data, tmp_path):
    """The real command, two of it side by side, one of them killed in mid-training."""
    out = tmp_path / "out"
    command = [str(Path(sys.executable).with_name("melascope")), "tune", str(data), "--out", str(out), *TUNE]
    command += ["--trials", "4", "--search", "rate,dropout"]
    first = subprocess.Popen(command)
    await_(lambda: list(out.glob("trials/*/history.csv")))
    second = subprocess.Popen(command)
    await_(lambda: len(list(out.glob("trials/*/settings.json"))) > 1)
    first.send_signal(signal.SIGKILL)
    assert first.wait() != 0
    assert second.wait() == 0
    subprocess.run(command, check=True)  # what the second had no more time for
    check(out, trials=4)
    assert (out / "search.html").read_text().count("<tr>") == 5
    assert (out / "model.onnx").is_file()


@pytest.mark.slow
def test_a_killed_ray_worker_is_replaced(data, tmp_path):
    out = tmp_path / "out"
    command = [str(Path(sys.executable).with_name("melascope")), "tune", str(data), "--out", str(out), *TUNE]
    command += ["--trials", "5", "--search", "rate,dropout", "--ray", "local"]
    search_ = subprocess.Popen(command, env={**os.environ, "RAY_NUM_CPUS": "2"})
    await_(lambda: len(list(out.glob("trials/*/settings.json"))) > 1)
    workers = [pid for pid, words in processes() if words.startswith("ray::work")]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert search_.wait() == 0
    check(out, trials=5)


def await_(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes():
    running = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            running.append((int(folder.name), (folder / "cmdline").read_text().replace("\0", " ")))
        except OSError:
            continue
    return running


def check(out, trials):
    """All trials ended, each epoch is in a history once, and the model that was kept is that of the best trial."""
    table = pd.read_csv(out / "trials.csv")
    assert table["number"].tolist() == list(range(trials))
    assert set(table["state"]) <= {"complete", "pruned"}
    for number, state in zip(table["number"], table["state"], strict=True):
        with (out / "trials" / f"{number:04d}" / "history.csv").open() as file:
            epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
        assert epochs == list(range(1, len(epochs) + 1))
        assert state == "pruned" or len(epochs) == 3
    best = table[table["state"] == "complete"].sort_values("score")["number"].iloc[-1]
    kept = json.loads((out / "model.json").read_text())
    assert kept["keras_sha256"] == Card.read(out / "trials" / f"{best:04d}" / "model.json").keras_sha256
    assert kept["data"]["hash"] == manifest.content_hash(manifest.read(out.parent / "data"))
