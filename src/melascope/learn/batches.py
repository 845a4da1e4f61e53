"""Batches for Keras, in an order and with augmentations that only seed and epoch decide."""

import math

import numpy as np
from numpy.typing import NDArray

from melascope.learn.augment import augment
from melascope.learn.backend import keras

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


class TrainBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """One epoch of shuffled, augmented batches of one size; a few images may be left over."""

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.intp],
        goals: NDArray[np.float32],
        *,
        batch: int,
        seed: int,
        epoch: int,
        strength: float = 1.0,
        artefacts: bool = True,
    ) -> None:
        # A worker thread prepares the next batches while the network learns from this one.
        super().__init__(workers=1, max_queue_size=4)
        self._pixels, self._goals = pixels, goals
        self._seed, self._epoch = seed, epoch
        self._strength, self._artefacts = strength, artefacts
        self._batch = min(batch, len(rows))
        self._order = np.random.default_rng([seed, epoch]).permutation(rows)

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


class PlainBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Images as they are, in order."""

    def __init__(self, pixels: NDArray[np.uint8], rows: NDArray[np.intp], batch: int) -> None:
        super().__init__()
        self._pixels, self._rows, self._batch = pixels, rows, batch

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._batch)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32]]:
        rows = self._rows[index * self._batch : (index + 1) * self._batch]
        return (self._pixels[rows].astype(np.float32),)
