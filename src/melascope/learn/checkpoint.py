"""The state of a training after each epoch, so that a killed run goes on where it was."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = ".checkpoint"


@dataclass
class Course:
    """How a training has gone so far."""

    epoch: int = 0
    """Epochs that are finished."""
    best_epoch: int = 0
    best_score: float = float("-inf")
    history: list[dict[str, float]] = field(default_factory=list)


def save(run: Path, course: Course, trainer: Any, improved: bool) -> None:
    """Keep the state after an epoch: one folder, renamed when whole, then the older ones go.

    Args:
        run: the run folder.
        course: the course including this epoch.
        trainer: a compiled `keras.Model`; its weights, optimiser state and random state are kept.
        improved: whether its averaged weights are the best so far.
    """
    root = run / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    older = _folders(run)
    beside = Path(tempfile.mkdtemp(prefix=".saving-", dir=root))
    trainer.save_weights(beside / "state.weights.h5")
    if improved:
        with averaged(trainer):
            trainer.save_weights(beside / "best.weights.h5")
    else:
        shutil.copyfile(older[-1] / "best.weights.h5", beside / "best.weights.h5")
    (beside / "course.json").write_text(json.dumps(vars(course)), encoding="utf-8")
    beside.rename(root / f"epoch-{course.epoch:04d}")
    for folder in older:
        shutil.rmtree(folder)


def restore(run: Path, trainer: Any) -> Course:
    """Load the last kept state into a compiled model; without one, start from nothing."""
    folders = _folders(run)
    if not folders:
        return Course()
    trainer.load_weights(folders[-1] / "state.weights.h5")
    return Course(**json.loads((folders[-1] / "course.json").read_text(encoding="utf-8")))


@contextmanager
def averaged(trainer: Any) -> Iterator[None]:
    """Let a model have the running mean of its weights inside the block.

    The mean over the last steps lies in a flatter and wider optimum than any step's weights, and does better on data
    of another distribution (Izmailov et al. 2018, arXiv:1803.05407; Cha et al. 2021, arXiv:2102.08604).

    Args:
        trainer: compiled with an optimiser that has `use_ema`.
    """
    weights = trainer.get_weights()
    trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
    try:
        yield
    finally:
        trainer.set_weights(weights)


def load_best(run: Path, trainer: Any) -> None:
    """Load the best weights so far."""
    trainer.load_weights(_folders(run)[-1] / "best.weights.h5")


def clear(run: Path) -> None:
    """Remove the checkpoints of a finished training."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def _folders(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("epoch-*"))
