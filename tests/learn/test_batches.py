"""Batches: the order of an epoch."""

import numpy as np

from melascope.learn.batches import TrainBatches


def test_each_epoch_has_its_own_order_of_all_images():
    pixels = np.zeros((16, 8, 8, 3), dtype=np.uint8)
    targets = np.arange(16, dtype=np.float32)[:, None]
    rows = np.arange(16)
    batches = TrainBatches(pixels, rows, targets, batch=4, seed=0)
    seen = []
    for epoch in (1, 2, 1):
        batches.start_epoch(epoch)
        seen.append(np.concatenate([batches[i][1][:, 0] for i in range(len(batches))]))
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(16))
    assert list(seen[0]) != list(seen[1])
    assert list(seen[0]) == list(seen[2])
