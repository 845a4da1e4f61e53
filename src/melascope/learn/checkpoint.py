"""The state of a training after each epoch, from which a killed run is resumed."""

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = ".checkpoint"


@dataclass
class Course:
    """The course of a training so far."""

    epoch: int = 0
    """Epochs that are finished."""
    best_epoch: int = 0
    best_score: float = float("-inf")
    history: list[dict[str, float]] = field(default_factory=list)
    """A row for each epoch."""

    def add(self, score: float, row: dict[str, float]) -> None:
        """Add an epoch."""
        self.epoch += 1
        self.history.append(row)
        if score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score

    def stalled(self, patience: int) -> bool:
        """Whether this many epochs have gone by without a better score."""
        return self.epoch - self.best_epoch >= patience


def save(run: Path, course: Course, trainer: Any) -> None:
    """Keep the state after an epoch: one folder, renamed when it is whole; then the older ones are removed.

    Args:
        run: the run folder.
        course: the course including this epoch.
        trainer: a compiled `keras.Model`; its weights and the state of its optimiser are kept.
    """
    root = run / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    older = _folders(run)
    beside = Path(tempfile.mkdtemp(prefix=".saving-", dir=root))
    trainer.save_weights(beside / "state.weights.h5")
    improved = course.best_epoch == course.epoch
    best = beside / "state.weights.h5" if improved else older[-1] / "best.weights.h5"
    shutil.copyfile(best, beside / "best.weights.h5")
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


def load_best(run: Path, trainer: Any) -> None:
    """Load the best weights so far."""
    trainer.load_weights(_folders(run)[-1] / "best.weights.h5")


def clear(run: Path) -> None:
    """Remove the checkpoints of a finished training."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def _folders(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("epoch-*"))
