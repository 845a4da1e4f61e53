"""Training: a linear head on a frozen backbone, fine-tuning at a low rate, conversion, and the gate.

All files are written to the run folder. An interrupted run is resumed by the same call.
"""

import csv
import importlib
import io
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from melascope import files, manifest
from melascope.errors import DataError, ModelError
from melascope.infer.predictor import Predictor
from melascope.labels import FAMILIES, TARGETS, family
from melascope.learn import checkpoint, fit_decision, fit_gate, head, network
from melascope.learn.backend import keras
from melascope.learn.batches import TrainBatches
from melascope.learn.loss import BalancedCrossEntropy, family_weights, loss_targets, target_weights
from melascope.learn.pixels import decoded
from melascope.learn.settings import Artefacts, Settings
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.progress import Progress, silent

MODEL, BASE = "model", "base"

OnEpoch = Callable[[int, float], None]


@dataclass(frozen=True)
class _Data:
    """What training and validation see."""

    table: pd.DataFrame
    pixels: NDArray[np.uint8]
    targets: NDArray[np.float32]
    families: NDArray[np.intp]
    rows: dict[str, NDArray[np.intp]]
    learnable: NDArray[np.bool_]
    description: dict[str, Any]

    def part(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return self.pixels[self.rows[split]], self.targets[self.rows[split]]


def train(
    data: Path,
    run: Path,
    settings: Settings,
    progress: Progress = silent,
    *,
    refuse: Mapping[str, Sequence[str]] | None = None,
) -> list[Path]:
    """Train on a data set folder into a run folder: complete models, converted, calibrated, each with its gate.

    Writes, for `base` (frozen backbone, linear head; not from random weights) and for `model` (fine-tuned), a
    `.keras`, a `.json`, an `.onnx` and a `.gate.npz` file; and `history.csv`.

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
            examples = fit_gate.gather(data, predictor.card.input_size, refuse, seed, progress)
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

    Args:
        data: a folder made by `prepare`.
        run: where to write; an unfinished run of the same settings and data is resumed.
        settings: of the training.
        progress: called with (what, done, total).
        start: the run folder whose `base.keras` to start from, of the same data, backbone, size and weights, instead
            of fitting and writing it once more.
        on_epoch: called with (epoch, score) after each epoch: its number, from 1, and the mean validation ROC-AUC of
            the targets. An exception from it ends the training; the same call resumes it.

    Returns:
        The `.keras` files, the best model last.

    Raises:
        DataError: if the data cannot be learned from, or `run` holds another training.
        ModelError: if backbone, size and weights do not fit together, or the training diverges.
    """
    started = time.monotonic()
    table = manifest.read(data)
    wanted = {"settings": asdict(settings), "data": manifest.content_hash(table)}
    files.claim(run / "settings.json", wanted, "a training")
    done = [path for name in (BASE, MODEL) if (path := run / f"{name}.keras").is_file()]
    if (run / f"{MODEL}.json").is_file():
        return done
    if settings.members > 1 and settings.epochs > 0:
        return _mean(table, data, run, settings, progress)
    keras.utils.set_random_seed(settings.seed)
    net = network.build(settings.backbone, settings.size, settings.weights, settings.dropout)
    learned = _load(table, data, settings, progress)
    made = []
    if settings.weights is not None:
        if start is None:
            made.append(_base(net, learned, run, settings, progress))
        else:
            _start_from(start / f"{BASE}.keras", net)
    if settings.epochs > 0:
        course = _fine_tune(net, learned, run, settings, progress, on_epoch)
        training = {
            "best_epoch": course.best_epoch,
            "epochs_run": course.epoch,
            "seconds": round(time.monotonic() - started, 1),
        }
        made.append(_keep(net, MODEL, learned, run, settings, training, progress))
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
        pd.read_csv(path.with_name("history.csv")).assign(member=number)
        for number, path in enumerate(members)
    ]
    files.write_text(run / "history.csv", pd.concat(courses).to_csv(index=False))
    training = {path.parent.name: Card.read(path.with_suffix(".json")).training for path in members}
    kept = _keep(nets[0], MODEL, _load(table, data, settings, progress), run, settings, training, progress)
    return [run / f"{BASE}.keras", kept]


def _load(table: pd.DataFrame, data: Path, settings: Settings, progress: Progress) -> _Data:
    used = manifest.usable(table)
    used = used[used["split"].isin(["train", "validation"])].reset_index(drop=True)
    targets = manifest.targets(used, TARGETS)
    rows = {split: np.flatnonzero(used["split"] == split) for split in ("train", "validation")}
    both = [(targets[part] == value).any(axis=0) for part in rows.values() for value in (0, 1)]
    learnable = np.all(both, axis=0)
    families = np.array([family(word) for word in used["diagnosis"]])
    if not learnable[TARGETS.index("malignant")]:
        raise DataError(
            f"{data}: training and validation each need malignant and benign images; prepare more data"
        )
    description = {
        "hash": manifest.content_hash(table),
        "images": {
            split: {str(k): int(v) for k, v in part["source"].value_counts(sort=False).items()}
            for split, part in manifest.usable(table).groupby("split")
        },
        "licenses": sorted(used["license"].dropna().unique().tolist()),
        "allow_leaks": manifest.allows_leaks(data),
    }
    pixels = decoded(used, settings.size, data, progress)
    return _Data(used, pixels, targets, families, rows, learnable, description)


def _base(net: Any, data: _Data, run: Path, settings: Settings, progress: Progress) -> Path:
    path = run / f"{BASE}.keras"
    if (run / f"{BASE}.json").is_file():
        _start_from(path, net)
        return path
    features = head.outputs(
        network.truncated_at(net, "pool"),
        data.pixels,
        settings.batch,
        "features of the frozen backbone",
        progress,
    )
    train, validation = data.rows["train"], data.rows["validation"]
    net.get_layer("logits").set_weights(
        head.fit(
            features[train],
            data.targets[train],
            features[validation],
            data.targets[validation],
            data.learnable,
        )
    )
    return _keep(net, BASE, data, run, settings, {"stage": "head on the frozen backbone"}, progress)


def _start_from(base: Path, net: Any) -> None:
    """Take over the head of a base model; the backbone of ours is the same already."""
    net.get_layer("logits").set_weights(network.load(base).get_layer("logits").get_weights())


def _fine_tune(
    net: Any, data: _Data, run: Path, settings: Settings, progress: Progress, on_epoch: OnEpoch | None
) -> checkpoint.Course:
    pretrained = settings.weights is not None
    layers = network.backbone_layers(net)
    for layer in layers[: round((1 - settings.unfrozen) * len(layers))]:
        layer.trainable = False
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Statistics of pretrained weights are kept: small batches of another kind of picture would spoil
            # them, and with weights whose normalisation was folded away they must never be recomputed.
            layer.trainable = layer.trainable and not pretrained
            layer.momentum = 0.9  # from random weights: small data has few steps to settle its statistics in
    rows = data.rows["train"]
    known = data.targets[rows] * np.where(data.learnable, 1, np.nan).astype(np.float32)
    weights = target_weights(known, data.families[rows])
    families = family_weights(data.families[rows], len(FAMILIES) + 1)
    goal = np.zeros((len(data.targets), 2 * len(TARGETS) + families.shape[1]), dtype=np.float32)
    goal[rows] = loss_targets(known, weights, families, settings.label_smoothing)
    steps = max(1, len(rows) // settings.batch)
    peak = settings.rate or (1.5e-4 if pretrained else 1e-3)
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / 100, steps * settings.epochs, alpha=0.01, warmup_target=peak, warmup_steps=steps // 2
    )
    trainer = network.with_family(net, families.shape[1])
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        clipnorm=1.0,
        use_ema=True,
        ema_momentum=_memory(steps * settings.epochs),
    )
    trainer.compile(optimizer, BalancedCrossEntropy(known, weights), jit_compile=False)
    optimizer.build(trainer.trainable_variables)
    course = checkpoint.restore(run, trainer)
    answers = network.truncated_at(net, "logits")
    judged, truth = data.part("validation")
    while course.epoch < settings.epochs and course.epoch - course.best_epoch < settings.patience:
        started = time.monotonic()
        epoch = course.epoch + 1
        _reseed(net, settings.seed, epoch)
        batches = TrainBatches(
            data.pixels,
            rows,
            goal,
            batch=settings.batch,
            seed=settings.seed,
            epoch=epoch,
            strength=settings.augmentation,
            artefacts=settings.artefacts is Artefacts.drawn,
        )
        fitted = trainer.fit(
            batches, verbose=0, shuffle=False, callbacks=[_ReportProgress(progress, epoch, settings.epochs)]
        )
        with checkpoint.averaged(trainer):
            logits = head.outputs(answers, judged, settings.batch, "validation", progress)
        if not np.isfinite(logits).all():
            raise ModelError(f"{run}: the training diverged in epoch {epoch}; try a lower --rate")
        scores = _roc_aucs(logits, truth, data.learnable)
        score = float(np.mean(list(scores.values())))
        improved = score > course.best_score
        row = {
            "epoch": epoch,
            "loss": round(fitted.history["loss"][-1], 5),
            **{f"validation_roc_auc_{name}": round(value, 5) for name, value in scores.items()},
            "seconds": round(time.monotonic() - started, 1),
        }
        course = replace(
            course,
            epoch=epoch,
            best_epoch=epoch if improved else course.best_epoch,
            best_score=max(score, course.best_score),
            history=[*course.history, row],
        )
        _write_history(run, course)
        if on_epoch is not None:
            # Before the checkpoint: a killed run repeats an epoch rather than leave one unreported.
            on_epoch(epoch, score)
        checkpoint.save(run, course, trainer, improved)
    checkpoint.load_best(run, trainer)
    return course


def _memory(steps: int) -> float:
    """Momentum of the running mean of the weights: it reaches back over a tenth of the training, 100 steps at most."""
    return 1 - 1 / min(100, max(1, steps / 10))


def _reseed(net: Any, seed: int, epoch: int) -> None:
    """Let seed and epoch alone decide what dropout drops: checkpoints do not keep its random state."""
    for layer in net.layers:
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([seed, epoch], dtype="uint32"))


class _ReportProgress(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, progress: Progress, epoch: int, epochs: int) -> None:
        super().__init__()
        self._progress, self._before, self._epochs = progress, epoch - 1, epochs

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        steps = self.params["steps"]
        self._progress(
            f"training, at most {self._epochs} epochs", self._before * steps + batch + 1, self._epochs * steps
        )


def _roc_aucs(
    logits: NDArray[np.float32], truth: NDArray[np.float32], learnable: NDArray[np.bool_]
) -> dict[str, float]:
    scores = {}
    for i in np.flatnonzero(learnable):
        known = ~np.isnan(truth[:, i])
        scores[TARGETS[i]] = float(roc_auc_score(truth[known, i], logits[known, i]))
    return scores


def _write_history(run: Path, course: checkpoint.Course) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, course.history[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(course.history)
    files.write_text(run / "history.csv", text.getvalue())


def _keep(
    net: Any,
    name: str,
    data: _Data,
    run: Path,
    settings: Settings,
    training: dict[str, Any],
    progress: Progress,
) -> Path:
    """Write a network and, last, its card: a model with a card is whole."""
    path = run / f"{name}.keras"
    with files.replacing(path) as beside:
        net.save(beside)
    judged, truth = data.part("validation")
    logits = head.outputs(
        network.truncated_at(net, "logits"), judged, settings.batch, "calibration on validation", progress
    )
    groups = data.table["group"].to_numpy()[data.rows["validation"]]
    metrics = {
        target: {
            "roc_auc": score,
            "n": int((~np.isnan(column)).sum()),
            "n_positive": int(np.nansum(column)),
        }
        for (target, score), column in zip(
            _roc_aucs(logits, truth, data.learnable).items(), truth.T[data.learnable], strict=True
        )
    }
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
        keras_sha256=files.sha256(path),
        data=data.description,
        training={"settings": {**asdict(settings), "weights": weights}, **training},
        metrics={"validation, on which the stopping point was chosen": metrics},
        versions={
            "python": platform.python_version(),
            **{package: version(package) for package in ("melascope", "keras", "numpy")},
            # Backends come in packages of many names, such as tensorflow-cpu.
            keras.config.backend(): importlib.import_module(keras.config.backend()).__version__,
        },
        license=_license(data.description["licenses"]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    told = truth * np.where(data.learnable, 1, np.nan).astype(np.float32)
    fit_decision.fitted(card, logits, told, groups).write(run / f"{name}.json")
    return path


def _license(licenses: list[str]) -> str:
    if any("NC" in name for name in licenses):
        return "trained on images under a non-commercial licence (CC-BY-NC): not for commercial use"
    return (
        f"trained on images under {', '.join(licenses)}" if licenses else "unknown: the data name no licence"
    )
