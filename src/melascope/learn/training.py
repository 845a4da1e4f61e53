"""Training: a linear head on a frozen backbone, fine-tuning at a low rate, conversion, and the gate.

All files are written to the run folder. An interrupted run is resumed by the same call.
"""

import importlib
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import files, manifest
from melascope.errors import ModelError
from melascope.infer.predictor import Predictor
from melascope.learn import checkpoint, fit_decision, fit_gate, gate_examples, head, network
from melascope.learn.backend import keras
from melascope.learn.batches import outputs
from melascope.learn.data import TrainingData
from melascope.learn.finetune import HISTORY, OnEpoch, fine_tune
from melascope.learn.settings import Settings
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.progress import Progress, silent

MODEL, BASE = "model", "base"


def train(
    data: Path,
    run: Path,
    settings: Settings,
    progress: Progress = silent,
    *,
    refuse: Mapping[str, Sequence[str]] | None = None,
) -> list[Path]:
    """Train complete models: calibrated, converted, each with its gate.

    Writes `history.csv` and the four files of `model` (fine-tuned) and, not from random weights, of `base` (frozen
    backbone, linear head).

    Args:
        data: a folder made by `prepare`.
        run: where to write; an unfinished run of the same settings and data is resumed.
        settings: of the training.
        progress: called with (what, done, total).
        refuse: locators of further images that the gate must refuse, by kind.

    Returns:
        The `.keras` files, the best model last.

    Raises:
        DataError: if the data cannot be learned from, or `run` holds another training.
        ModelError: if backbone, size and weights do not fit together, or the training diverges.
    """
    models = train_networks(data, run, settings, progress)
    complete(models, data, settings.seed, progress, refuse)
    return models


def complete(
    models: Iterable[Path],
    data: Path,
    seed: int,
    progress: Progress = silent,
    refuse: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Convert models and fit their gates; what a model has already is kept.

    Args:
        models: `.keras` files of one input size, with their cards.
        data: the folder that they were trained on.
        seed: for the choice and the changes of the gate's examples.
        progress: called with (what, done, total).
        refuse: locators of further images that the gates must refuse, by kind.
    """
    examples = None  # the same for all models, whose input size is the same
    for path in models:
        predictor = Predictor.load(path, progress)
        if predictor.card.gate:
            continue
        if examples is None:
            examples = gate_examples.gather(data, predictor.card.input_size, refuse, seed, progress)
        fit_gate.fit(path, predictor.gate_features, examples, progress)


def train_networks(
    data: Path,
    run: Path,
    settings: Settings,
    progress: Progress = silent,
    *,
    start: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[Path]:
    """Train as `train` does, without conversion and gate, which a trial or an experiment does not need.

    Arguments, results and errors are those of `train`, and besides:

    Args:
        start: the run folder whose `base.keras` to start from, of the same data, backbone, size and weights, instead
            of fitting and writing it once more.
        on_epoch: called after each epoch; an exception from it ends the training, which the same call resumes.
    """
    started = time.monotonic()
    table = manifest.read(data)
    wanted = {"settings": asdict(settings), "data": manifest.content_hash(table)}
    files.claim(run / "settings.json", wanted, "a training")
    done = [path for name in (BASE, MODEL) if (path := run / f"{name}.keras").is_file()]
    if (run / f"{MODEL}.json").is_file():
        checkpoint.clear(run)  # if the run was killed between the last two lines
        return done
    if settings.members > 1 and settings.epochs > 0:
        return _mean(table, data, run, settings, progress)
    keras.utils.set_random_seed(settings.seed)
    net = network.build(settings.backbone, settings.size, settings.weights, settings.dropout)
    images = TrainingData.load(table, data, settings.size, progress)
    made = []
    if settings.weights is not None:
        if start is None:
            made.append(_fit_base(net, images, run, settings, progress))
        else:
            _start_from(start / f"{BASE}.keras", net)
    if settings.epochs > 0:
        course = fine_tune(net, images, run, settings, progress, on_epoch)
        training = {
            "best_epoch": course.best_epoch,
            "epochs_run": course.epoch,
            "seconds": round(time.monotonic() - started, 1),
        }
        made.append(_keep(net, MODEL, images, run, settings, training, progress))
        checkpoint.clear(run)
    return made


def _mean(table: pd.DataFrame, data: Path, run: Path, settings: Settings, progress: Progress) -> list[Path]:
    """Train several members and keep the mean of their weights (Wortsman et al. 2022, model soups)."""
    if settings.weights is None:
        raise ModelError("--members needs pretrained weights: networks that start at random have no mean")
    folders = [run / f"member-{number}" for number in range(settings.members)]
    for number, folder in enumerate(folders):
        train_networks(data, folder, settings.member(number), progress, start=folders[0] if number else None)
    ModelFiles(folders[0] / f"{BASE}.keras").copy(ModelFiles(run / f"{BASE}.keras"), f"{run.name}-{BASE}")
    members = [folder / f"{MODEL}.keras" for folder in folders]
    nets = [network.load(path) for path in members]
    weights = zip(*(net.get_weights() for net in nets), strict=True)
    nets[0].set_weights([np.mean(parts, axis=0) for parts in weights])
    courses = [
        pd.read_csv(path.with_name(HISTORY)).assign(member=number) for number, path in enumerate(members)
    ]
    files.write_text(run / HISTORY, pd.concat(courses).to_csv(index=False))
    training = {path.parent.name: Card.read(path.with_suffix(".json")).training for path in members}
    images = TrainingData.load(table, data, settings.size, progress)
    return [run / f"{BASE}.keras", _keep(nets[0], MODEL, images, run, settings, training, progress)]


def _fit_base(net: Any, data: TrainingData, run: Path, settings: Settings, progress: Progress) -> Path:
    path = run / f"{BASE}.keras"
    if (run / f"{BASE}.json").is_file():
        _start_from(path, net)
        return path
    what = "features of the frozen backbone"
    features = outputs(network.truncated_at(net, "pool"), data.pixels, settings.batch, what, progress)
    train, validation = data.rows["train"], data.rows["validation"]
    weights = head.fit(
        features[train], data.targets[train], features[validation], data.targets[validation], data.learnable
    )
    net.get_layer("logits").set_weights(weights)
    return _keep(net, BASE, data, run, settings, {"stage": "head on the frozen backbone"}, progress)


def _start_from(base: Path, net: Any) -> None:
    """Copy the head of a base model, whose backbone the network has already."""
    net.get_layer("logits").set_weights(network.load(base).get_layer("logits").get_weights())


def _keep(
    net: Any,
    name: str,
    data: TrainingData,
    run: Path,
    settings: Settings,
    training: dict[str, Any],
    progress: Progress,
) -> Path:
    """Save a network and, last, its calibrated card: a model with a card is whole."""
    stored = ModelFiles(run / f"{name}.keras")
    with files.replacing(stored.keras) as beside:
        net.save(beside)
    pixels, truth = data.part("validation")
    logits = outputs(
        network.truncated_at(net, "logits"), pixels, settings.batch, "calibration on validation", progress
    )
    weights = settings.weights or "none"
    if Path(weights).is_file():
        weights = f"{Path(weights).name} (sha256 {files.sha256(weights)[:12]})"
    card = Card(
        name=run.name if name == MODEL else f"{run.name}-{name}",
        architecture=settings.backbone,
        weights=weights,
        parameters=net.count_params(),
        input_size=settings.size,
        calibration={},
        operating_points={},
        sensitivity=fit_decision.DEFAULT,
        keras_sha256=files.sha256(stored.keras),
        data=data.description,
        training={"settings": {**asdict(settings), "weights": weights}, **training},
        metrics={"validation, on which the stopping point was chosen": _metrics(data, logits)},
        versions=_versions(),
        license=_license(data.description["licenses"]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    truth = truth * np.where(data.learnable, 1, np.nan).astype(np.float32)
    groups = data.table["group"].to_numpy()[data.rows["validation"]]
    fit_decision.fit(card, logits, truth, groups).write(stored.card)
    return stored.keras


def _metrics(data: TrainingData, logits: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    _, truth = data.part("validation")
    return {
        target: {
            "roc_auc": score,
            "n": int((~np.isnan(column)).sum()),
            "n_positive": int(np.nansum(column)),
        }
        for (target, score), column in zip(
            data.validation_roc_aucs(logits).items(), truth.T[data.learnable], strict=True
        )
    }


def _versions() -> dict[str, str]:
    backend = keras.config.backend()
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in ("melascope", "keras", "numpy")},
        # Backends come in packages of many names, such as tensorflow-cpu.
        backend: importlib.import_module(backend).__version__,
    }


def _license(licenses: list[str]) -> str:
    if any("NC" in name for name in licenses):
        return "trained on images under a non-commercial licence (CC-BY-NC): not for commercial use"
    return (
        f"trained on images under {', '.join(licenses)}" if licenses else "unknown: the data name no licence"
    )
