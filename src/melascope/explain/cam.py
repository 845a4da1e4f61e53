"""Class activation maps as heat maps: where the network responded, from 0 to 1."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def heat_map(cam: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Grad-CAM from the head-weighted sum of the last feature map.

    With global average pooling and a linear head, the gradient of the logit is the same at every place: the
    head's weights over the number of places. Grad-CAM (Selvaraju et al. 2017) is thus ReLU of this sum up
    to a constant that scaling to a maximum of 1 removes.

    Args:
        cam: raw map of one target, shape (h, w).
        size: side of the result in pixels.

    Returns:
        Shape (size, size), values 0 to 1; all zero where no place responds to the target.

    >>> heat_map(np.array([[-1.0, 0.0], [2.0, 4.0]], dtype=np.float32), 2)
    array([[0. , 0. ],
           [0.5, 1. ]], dtype=float32)
    """
    image = Image.fromarray(np.maximum(cam, 0).astype(np.float32))
    smooth = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32).clip(0)
    top = smooth.max()  # after resizing: the curve overshoots, and clipping would make plateaus of peaks
    heat: NDArray[np.float32] = smooth / top if top > 0 else smooth
    return heat
