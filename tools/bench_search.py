"""What `tune` saves: the same random draws, cut short by successive halving, and each trained to its end.

Both ways run one after the other on a small part of ISIC 2017 and end within half an hour or so. Compute is processor
time. Prints a table and writes `bench_search.json`.

    make bench-search DATA=folder/with/the/downloads WEIGHTS=mobilenetv2.weights.h5
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from record import record

from melascope import manifest
from melascope.evaluate import evaluation
from melascope.learn import search, training
from melascope.learn.pixels import decoded
from melascope.learn.settings import Settings

SOURCES = ("ISIC-2017_Training_Data.zip", "ISIC-2017_Training_Part3_GroundTruth.csv")
IMAGES, TRIALS, EPOCHS, SIZE = 800, 24, 24, 48


def make_data(source: Path, folder: Path) -> Path:
    """Prepare, and keep a random part."""
    command = [Path(sys.executable).with_name("melascope"), "prepare"]
    subprocess.run([*command, *(source / name for name in SOURCES), "--out", folder], check=True)
    table = manifest.read(folder)
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(table["excluded"] == ""))[IMAGES:]
    table.loc[table.index[drawn], "excluded"] = "not drawn"
    manifest.write(table, folder)
    return folder


def in_full(data: Path, out: Path, asked: search.Search) -> pd.DataFrame:
    """The plain loop: every trial from its own beginning to its end."""
    rows = []
    for number in range(asked.trials):
        sampler = search.SAMPLERS[asked.sampler](seed=1000 * asked.settings.seed + number)
        trial = optuna.create_study(sampler=sampler).ask()
        drawn = {name: search.SPACE[name](trial, asked.settings) for name in asked.names}
        settings = replace(asked.settings, **drawn, patience=EPOCHS)
        run = out / f"{number:04d}"
        training.train(data, run, settings)
        history = pd.read_csv(run / "history.csv")
        score = history.filter(like="validation_roc_auc").mean(axis=1).max()
        rows.append({"number": number, "score": score, "epochs_run": len(history)})
    return pd.DataFrame(rows)


def judged(model: Path, data: Path) -> dict[str, float]:
    """Validation ROC-AUC of a model for melanoma, which is all that is malignant here, with its interval."""
    with tempfile.TemporaryDirectory() as report:
        found = evaluation.evaluate(model, data, Path(report), split="validation")
    figure: dict[str, float] = found["targets"]["melanoma"]["roc_auc"]
    return figure


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the public files")
    parser.add_argument(
        "--weights", default="imagenet", help="of MobileNetV2: a file; without it, Keras downloads"
    )
    arguments = parser.parse_args()
    settings = Settings("MobileNetV2", arguments.weights, SIZE, epochs=EPOCHS)
    asked = search.Search(settings, search.all_of(settings), TRIALS)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = make_data(arguments.data, folder / "data")
        decoded(manifest.usable(manifest.read(data)), SIZE, data)
        for name, work in (
            ("tune", lambda: search.search(data, folder / "tune", asked).trials),
            ("in full", lambda: in_full(data, folder / "full", asked)),
        ):
            started = time.process_time()
            trials = work()
            took = time.process_time() - started
            runs = folder / "tune" / "trials" if name == "tune" else folder / "full"
            whole = trials[
                [(runs / f"{number:04d}" / "model.keras").is_file() for number in trials["number"]]
            ]
            best = int(whole["number"][whole["score"].idxmax()])
            figure = judged(runs / f"{best:04d}" / "model.keras", data)
            found[name] = {
                "processor_seconds": round(took, 1),
                "epochs": int(trials["epochs_run"].sum()),
                "best": {"trial": best, **figure},
            }
            print(
                f"{name:8} {took:8.0f} s of processor  {found[name]['epochs']:5} epochs   best validation ROC-AUC "
                f""
                f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f}), trial {best}",
                flush=True,
            )
    less = found["in full"]["processor_seconds"] / found["tune"]["processor_seconds"]
    print(f"{less:.1f} times less compute (aim: 5)")
    record("bench_search.json", trials=TRIALS, ratio=less, **found)


if __name__ == "__main__":
    main()
