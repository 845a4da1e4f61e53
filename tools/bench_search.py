"""What `tune` saves: the same random draws, stopped early by successive halving, and each trained to its end.

Both ways run one after the other on a small part of HAM10000 and MILK10k, within an hour. Two fifths of the images
validate, so that a difference between the best models of both ways shows. The cost is processor time and epochs. Prints
a table and writes `bench_search.json`; a finished way is not repeated.

    make bench WHAT=search DATA=folder/with/the/downloads WEIGHTS=mobilenetv2.weights.h5
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from record import record

from melascope import files, manifest
from melascope.arrays import Float64
from melascope.evaluate.figure import Measured, documents, sample_of
from melascope.evaluate.metrics import Ranked
from melascope.evaluate.predictions import predict
from melascope.infer.predictor import Predictor
from melascope.intervals import Figure
from melascope.labels import TARGETS
from melascope.learn import search, training
from melascope.learn.pixels import decoded
from melascope.learn.settings import Settings

SOURCES = ("HAM10000_metadata.csv", "ISIC2018_Task3_Training_Input.zip", "ISIC-images.zip")
FRACTIONS = "0.5,0.4,0.1"
IMAGES, TRIALS, EPOCHS, SIZE = 1200, 24, 24, 48


def make_data(source: Path, folder: Path) -> Path:
    """Prepare, and keep a random part."""
    command = [Path(sys.executable).with_name("melascope"), "prepare"]
    words = [*(source / name for name in SOURCES), "--out", folder, "--fractions", FRACTIONS]
    subprocess.run([*command, *words], check=True)
    table = manifest.read(folder)
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(table["excluded"] == ""))[IMAGES:]
    table.loc[table.index[drawn], "excluded"] = "not drawn"
    manifest.write(table, folder)
    return folder


def in_full(data: Path, out: Path, asked: search.Search) -> pd.DataFrame:
    """The plain loop: every trial from beginning to end."""
    rows = []
    for number in range(asked.trials):
        sampler = search.SAMPLERS[asked.sampler](seed=1000 * asked.settings.seed + number)
        trial = optuna.create_study(sampler=sampler).ask()
        drawn = {name: search.SPACE[name](trial, asked.settings) for name in asked.names}
        settings = replace(asked.settings, **drawn, patience=EPOCHS)
        run = out / f"{number:04d}"
        training.train_networks(data, run, settings)
        history = pd.read_csv(run / "history.csv")
        score = history.filter(like="validation_roc_auc").mean(axis=1).max()
        rows.append({"number": number, "score": score, "epochs_run": len(history)})
    return pd.DataFrame(rows)


def tuned(data: Path, out: Path, asked: search.Search) -> pd.DataFrame:
    """The search of `tune`, without conversion and gate of its best model, which the plain loop has not either."""
    search.begin(data, out, asked)
    search.work(data, out, asked)
    return search.keep_best(out, asked).trials


def compared(models: dict[str, Path], data: Path) -> dict[str, Figure]:
    """Mean validation ROC-AUC of both targets, as a search scores it, of each model and of the last less the first."""
    table = manifest.usable(manifest.read(data), "validation")
    table = table[table[list(TARGETS)].notna().all(axis=1)].reset_index(drop=True)
    predictions = {way: predict(Predictor.load(model), table) for way, model in models.items()}
    samples = {way: [sample_of(rows, target) for target in TARGETS] for way, rows in predictions.items()}
    first = samples[next(iter(samples))][0]

    def statistics(weights: Float64) -> dict[str, Float64]:
        scores = {
            way: sum(Ranked.of(one, weights[:, first.weights_of(one)]).roc_auc() for one in both) / len(both)
            for way, both in samples.items()
        }
        return {**scores, "difference": scores[list(scores)[-1]] - scores[next(iter(scores))]}

    measured = Measured(first, TARGETS[0], statistics)
    return {name: measured.figure(name) for name in measured.observed}


def measured(name: str, folder: Path, work: Callable[[], pd.DataFrame]) -> dict[str, Any]:
    """Do the work, print its cost and its best trial; a folder with a result is not worked on again."""
    stored = folder / "measured.json"
    if not stored.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # interrupted: its time is not known
        started = time.process_time()
        trials = work()
        took = time.process_time() - started
        runs = _runs(folder)
        whole = trials[[(runs / f"{number:04d}" / "model.keras").is_file() for number in trials["number"]]]
        result = {
            "processor_seconds": round(took, 1),
            "epochs": int(trials["epochs_run"].sum()),
            "trial": int(whole["number"][whole["score"].idxmax()]),
        }
        files.write_text(stored, json.dumps(result))
    result = json.loads(stored.read_text(encoding="utf-8"))
    print(
        f"{name:8} {result['processor_seconds']:8.0f} s of processor  {result['epochs']:5} epochs   "
        f"best: trial {result['trial']}",
        flush=True,
    )
    return result


def _runs(folder: Path) -> Path:
    return folder / "trials" if (folder / "trials").is_dir() else folder


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the public files")
    parser.add_argument(
        "--weights", default="imagenet", help="of MobileNetV2: a file; without it, Keras downloads"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/bench-search"), help="folder for all trials")
    arguments = parser.parse_args()
    settings = Settings("MobileNetV2", arguments.weights, SIZE, epochs=EPOCHS)
    asked = search.Search(settings, search.searchable(settings), TRIALS)
    data = arguments.work / "data"
    if not (data / "manifest.parquet").is_file():
        make_data(arguments.data, data)
    decoded(manifest.usable(manifest.read(data)), SIZE, data)
    ways = {
        "tune": lambda folder: tuned(data, folder, asked),
        "in full": lambda folder: in_full(data, folder, asked),
    }
    results, models = {}, {}
    for name, work in ways.items():
        folder = arguments.work / name.replace(" ", "-")
        results[name] = measured(name, folder, partial(work, folder))
        models[name] = _runs(folder) / f"{results[name]['trial']:04d}" / "model.keras"
    scores = compared(models, data)
    for name, figure in scores.items():
        print(f"{name:12} validation ROC-AUC {figure:+.3f}")
    less = {key: results["in full"][key] / results["tune"][key] for key in ("processor_seconds", "epochs")}
    print(
        f"{less['processor_seconds']:.1f} times less processor time, {less['epochs']:.1f} times fewer epochs (aim: 5)"
    )
    record("bench_search.json", trials=TRIALS, less=less, scores=documents(scores), **results)


if __name__ == "__main__":
    main()
