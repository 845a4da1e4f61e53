"""Fine-tuning: the network is trained at a low rate until validation stops improving.

Three of Keras's callbacks would do part of this, but a killed run could not end as an unbroken one does.
`BackupAndRestore` overwrites its files in place and keeps weights and epoch in two of them. `EarlyStopping` keeps the
best weights and their score in memory only. `CSVLogger` appends a second row for an epoch that is repeated.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import files
from melascope.errors import ModelError
from melascope.labels import FAMILIES, TARGETS
from melascope.learn import checkpoint, network
from melascope.learn.backend import keras
from melascope.learn.batches import TrainBatches, outputs
from melascope.learn.data import TrainingData
from melascope.learn.loss import BalancedCrossEntropy, family_weights, loss_targets, target_weights
from melascope.learn.settings import Artefacts, Settings
from melascope.progress import Progress, silent

HISTORY = "history.csv"

OnEpoch = Callable[[int, float], None]
"""Called with the number of an epoch, from 1, and its score: the mean validation ROC-AUC of the targets."""


def fine_tune(
    net: Any,
    data: TrainingData,
    run: Path,
    settings: Settings,
    progress: Progress = silent,
    on_epoch: OnEpoch | None = None,
) -> checkpoint.Course:
    """Train a network from `network.build`; it ends with the weights of its best epoch.

    Writes `history.csv` into the run folder, and checkpoints, from which the same call resumes an interrupted training.
    Once the network is saved, the caller removes them.

    Raises:
        ModelError: if the training diverges.
    """
    _freeze(net, settings)
    trainer, batches = _trainer(net, data, settings)
    course = checkpoint.restore(run, trainer)
    if course.epoch < settings.epochs and not course.stalled(settings.patience):
        epochs = _Epochs(net, batches, data, run, settings, course, progress, on_epoch)
        trainer.fit(
            batches,
            epochs=settings.epochs,
            initial_epoch=course.epoch,
            shuffle=False,
            verbose=0,
            callbacks=[epochs],
        )
    checkpoint.load_best(run, trainer)
    return course


def _freeze(net: Any, settings: Settings) -> None:
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


def _trainer(net: Any, data: TrainingData, settings: Settings) -> tuple[Any, TrainBatches]:
    """The compiled network with its second head, and the batches that it learns from."""
    rows = data.rows["train"]
    known = data.targets[rows] * np.where(data.learnable, 1, np.nan).astype(np.float32)
    weights = target_weights(known, data.families[rows])
    families = family_weights(data.families[rows], len(FAMILIES) + 1)
    goals = np.zeros((len(data.targets), 2 * len(TARGETS) + families.shape[1]), dtype=np.float32)
    goals[rows] = loss_targets(known, weights, families, settings.label_smoothing)
    batches = TrainBatches(
        data.pixels,
        rows,
        goals,
        batch=settings.batch,
        seed=settings.seed,
        strength=settings.augmentation,
        artefacts=settings.artefacts is Artefacts.DRAWN,
    )
    trainer = network.with_family(net, families.shape[1])
    optimizer = make_optimizer(settings, len(batches))
    trainer.compile(optimizer, BalancedCrossEntropy(known, weights), jit_compile=False)
    optimizer.build(trainer.trainable_variables)
    return trainer, batches


def make_optimizer(settings: Settings, steps: int) -> Any:
    """AdamW with warm-up, cosine decay and a running mean of the weights, by which each epoch replaces them.

    The mean over the last steps lies in a flatter and wider optimum than any step's weights, and does better on data
    of another distribution (Izmailov et al. 2018, arXiv:1803.05407; Cha et al. 2021, arXiv:2102.08604). It reaches
    back over a tenth of the training, 100 steps at most.

    Args:
        settings: of the training.
        steps: per epoch.
    """
    peak = settings.rate or (1.5e-4 if settings.weights is not None else 1e-3)
    total = steps * settings.epochs
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / 100, total, alpha=0.01, warmup_target=peak, warmup_steps=steps // 2
    )
    return keras.optimizers.AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        clipnorm=1.0,
        use_ema=True,
        ema_momentum=1 - 1 / min(100, max(1, total / 10)),
        ema_overwrite_frequency=steps,
    )


@dataclass(eq=False)
class _Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Prepares each epoch; scores it, records it, and stops the training when validation has stopped improving."""

    net: Any
    batches: TrainBatches
    data: TrainingData
    run: Path
    settings: Settings
    course: checkpoint.Course
    progress: Progress
    on_epoch: OnEpoch | None

    def __post_init__(self) -> None:
        super().__init__()
        self._logits = network.truncated_at(self.net, "logits")
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = time.monotonic()
        self.batches.start_epoch(epoch + 1)
        # Seed and epoch alone decide what dropout drops: checkpoints do not keep its random state.
        for layer in self.net.layers:
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                generator.state.assign(np.array([self.settings.seed, epoch + 1], dtype="uint32"))

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        steps, epochs = self.params["steps"], self.settings.epochs
        done = self.course.epoch * steps + batch + 1
        self.progress(f"training, at most {epochs} epochs", done, epochs * steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        pixels, _ = self.data.part("validation")
        logits = outputs(self._logits, pixels, self.settings.batch, "validation", self.progress)
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.run}: the training diverged in epoch {epoch + 1}; try a lower --rate")
        scores = self.data.validation_roc_aucs(logits)
        score = float(np.mean(list(scores.values())))
        self.course.add(
            score,
            {
                "epoch": epoch + 1,
                "loss": round(logs["loss"], 5),
                **{f"validation_roc_auc_{name}": round(value, 5) for name, value in scores.items()},
                "seconds": round(time.monotonic() - self._started, 1),
            },
        )
        files.write_text(self.run / HISTORY, pd.DataFrame(self.course.history).to_csv(index=False))
        if self.on_epoch is not None:
            # Before the checkpoint: a killed run repeats an epoch rather than leave one unreported.
            self.on_epoch(epoch + 1, score)
        checkpoint.save(self.run, self.course, self.model)
        self.model.stop_training = self.course.stalled(self.settings.patience)
