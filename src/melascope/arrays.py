"""Names for arrays of floating-point numbers in annotations."""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Floats = NDArray[np.floating]
"""Of any precision."""
