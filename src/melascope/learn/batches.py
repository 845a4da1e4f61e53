"""Batches for Keras. Seed and epoch alone decide their order and their augmentations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope.learn.augment import augment
from melascope.learn.backend import keras
from melascope.progress import Progress, silent

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


class TrainBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented batches of one size for one epoch after another; a few images may be left over."""

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.intp],
        goals: NDArray[np.float32],
        *,
        batch: int,
        seed: int,
        strength: float = 1.0,
        artefacts: bool = True,
    ) -> None:
        super().__init__()
        self._pixels, self._rows, self._goals = pixels, rows, goals
        self._seed, self._strength, self._artefacts = seed, strength, artefacts
        self._batch = min(batch, len(rows))
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        """Shuffle the images for an epoch, counted from 1."""
        self._epoch = epoch
        self._order = np.random.default_rng([self._seed, epoch]).permutation(self._rows)

    def __len__(self) -> int:
        return len(self._order) // self._batch

    def __getitem__(self, index: int) -> Batch:
        rows = self._order[index * self._batch : (index + 1) * self._batch]
        changed = [
            augment(
                self._pixels[row],
                np.random.default_rng([self._seed, self._epoch, int(row)]),
                self._strength,
                self._artefacts,
            )
            for row in rows
        ]
        return np.stack(changed).astype(np.float32), self._goals[rows]


def outputs(
    part: Any, pixels: NDArray[np.uint8], batch: int, what: str, progress: Progress = silent
) -> NDArray[np.float32]:
    """Run a part of a network over images: up to `pool` it gives features, up to `logits` the head's answer.

    Args:
        part: from `network.truncated_at`, with an output of shape (N, channels). Each new part is compiled, so make
            it once.
        pixels: shape (n, S, S, 3).
        batch: images at once.
        what: words for `progress`.
        progress: called with (what, done, total).

    Returns:
        Shape (n, channels).
    """
    results = []
    for start in range(0, len(pixels), batch):
        results.append(part.predict_on_batch(pixels[start : start + batch].astype(np.float32)))
        progress(what, min(start + batch, len(pixels)), len(pixels))
    return np.concatenate(results)
