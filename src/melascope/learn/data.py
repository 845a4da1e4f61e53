"""The images and labels that a training learns from and is validated on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from melascope import manifest
from melascope.errors import DataError
from melascope.labels import TARGETS, family
from melascope.learn.pixels import decoded
from melascope.progress import Progress, silent


@dataclass(frozen=True)
class TrainingData:
    """The usable images of the splits `train` and `validation`, n in all."""

    table: pd.DataFrame
    """Their rows of the manifest."""
    pixels: NDArray[np.uint8]
    """Shape (n, S, S, 3)."""
    targets: NDArray[np.float32]
    """Shape (n, targets): 1, 0, or NaN where it is not known."""
    families: NDArray[np.intp]
    """Diagnosis families, shape (n,); -1 where it is not known."""
    rows: dict[str, NDArray[np.intp]]
    """Indices of the images, by split."""
    learnable: NDArray[np.bool_]
    """Shape (targets,): whether both splits have both classes of a target."""
    description: dict[str, Any]
    """The whole data set, as a model card describes it."""

    @classmethod
    def load(cls, table: pd.DataFrame, data: Path, size: int, progress: Progress = silent) -> Self:
        """Load the images of a manifest at size S.

        Args:
            table: the manifest.
            data: its folder.
            size: S, in pixels.
            progress: called with (what, done, total).

        Raises:
            DataError: if a split has no malignant or no benign image.
        """
        usable = manifest.usable(table)
        used = usable[usable["split"].isin(["train", "validation"])].reset_index(drop=True)
        targets = manifest.targets(used, TARGETS)
        rows = {split: np.flatnonzero(used["split"] == split) for split in ("train", "validation")}
        both = [(targets[part] == value).any(axis=0) for part in rows.values() for value in (0, 1)]
        learnable = np.all(both, axis=0)
        if not learnable[TARGETS.index("malignant")]:
            raise DataError(
                f"{data}: training and validation each need malignant and benign images; prepare more data"
            )
        description = {
            "hash": manifest.content_hash(table),
            "images": {
                split: {str(k): int(v) for k, v in part["source"].value_counts(sort=False).items()}
                for split, part in usable.groupby("split")
            },
            "licenses": sorted(used["license"].dropna().unique().tolist()),
            "allow_leaks": manifest.allows_leaks(data),
        }
        families = np.array([family(word) for word in used["diagnosis"]])
        pixels = decoded(used, size, data, progress)
        return cls(used, pixels, targets, families, rows, learnable, description)

    def part(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Pixels and targets of a split."""
        return self.pixels[self.rows[split]], self.targets[self.rows[split]]

    def validation_roc_aucs(self, logits: NDArray[np.float32]) -> dict[str, float]:
        """ROC-AUC of each learnable target on validation.

        Args:
            logits: of the images of the validation split, shape (images, targets).
        """
        _, truth = self.part("validation")
        scores = {}
        for i in np.flatnonzero(self.learnable):
            known = ~np.isnan(truth[:, i])
            scores[TARGETS[i]] = float(roc_auc_score(truth[known, i], logits[known, i]))
        return scores
