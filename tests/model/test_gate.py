"""The gate: what passes it."""

import numpy as np
import pytest

from melascope.model.gate import Gate


def test_an_image_below_no_threshold_passes():
    gate = Gate(
        mean=np.float32([1, 0]),
        scale=np.float32([2, 1]),
        weights=np.float32([[1, -1], [0.5, 0], [0.25, 3]]),
    )
    # (5 - 1) / 2 = 2 and 9, which is cut to 5: 2 + 2.5 + 0.25 = 4.75 and -2 + 3 = 1.
    assert gate.scores(np.float32([[5, 9]])) == pytest.approx(np.array([[4.75, 1]]))
    # The second is refused for the first kind (0 - 2.5 + 0.25), the third for the second (-4 + 3).
    assert gate.knows(np.float32([[5, 9], [1, -5], [9, 9]])).tolist() == [True, False, False]
