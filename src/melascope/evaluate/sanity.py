"""Sanity checks of heat maps: deletion and insertion, and the shuffling of weights.

Deletion and insertion (Petsiuk et al. 2018): with a good map, the probability falls faster than in any other order when
the hottest places are removed first, and rises faster when they are added first. Shuffling (Adebayo et al. 2018): a map
that stays alike when the weights are shuffled shows the image, and not what the network has learned.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from melascope import images
from melascope.arrays import Float64
from melascope.evaluate.figure import mean
from melascope.explain.cam import heat_map
from melascope.images import Pixels
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.model.folder import ModelFiles

_STEPS = 10
_BLOCKS = 14  # to a side; each is deleted or inserted as a whole


def curves(
    predictor: Predictor, pixels: Pixels, cam: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Probability of malignant while blocks are deleted and inserted by heat and by chance.

    Blocks are deleted by blurring, because a grey block would be a new pattern. Chance is a random map as coarse as the
    true one, because blocks in any order would make a mosaic, which is a new pattern as well.

    Args:
        predictor: the model.
        pixels: of the image, shape (S, S, 3).
        cam: its raw class activation map, shape (h, w).
        rng: of the random map.

    Returns:
        Deletion and insertion by heat, then by chance, shape (4, steps + 1).
    """
    side = len(pixels)
    blurred = gaussian_filter(pixels.astype(np.float32), (side / 12, side / 12, 0))
    heat = heat_map(cam, _BLOCKS).ravel()
    random = heat_map(rng.random(cam.shape, dtype=np.float32), _BLOCKS).ravel()
    by_heat, by_chance = (np.argsort(-values, kind="stable") for values in (heat, random))
    rows = []
    for order in (by_heat, by_chance):
        for gone, left in ((blurred, pixels), (pixels, blurred)):
            curve = []
            for step in range(_STEPS + 1):
                cover = np.zeros(len(heat), dtype=np.uint8)
                cover[order[: round(step / _STEPS * len(heat))]] = 255
                there = images.square(cover.reshape(_BLOCKS, _BLOCKS), side)[..., None] / 255
                answer = predictor.answer((there * gone + (1 - there) * left).astype(np.uint8))
                curve.append(answer.malignant)
            rows.append(curve)
    return np.array(rows, dtype=np.float32)


def faithful(measured: NDArray[np.float32], group: "pd.Series[Any]", seed: int) -> dict[str, Any]:
    """Sum up curves.

    Args:
        measured: from `curves`, shape (images, 4, steps + 1).
        group: of each image.
        seed: of the resamples.

    Returns:
        `x`, the four mean `curves`, and the figures `deletion` and `insertion`: the area under the curve by heat minus
        that by chance; good maps are below zero in the first and above it in the second.
    """
    area: Float64 = np.asarray(
        np.trapezoid(measured, dx=1 / _STEPS, axis=2), dtype=np.float64
    )  # shape (images, 4)
    names = ("deletion_by_heat", "insertion_by_heat", "deletion_by_chance", "insertion_by_chance")
    return {
        "x": np.linspace(0, 1, _STEPS + 1).tolist(),
        "curves": {name: measured[:, i].mean(axis=0).tolist() for i, name in enumerate(names)},
        "deletion": mean(area[:, 0] - area[:, 2], group, seed),
        "insertion": mean(area[:, 1] - area[:, 3], group, seed),
    }


def randomised(
    model: Path, shown: list[Pixels], predictor: Predictor, seed: int
) -> list[dict[str, Any]] | None:
    """Maps of networks whose layers were shuffled from the top, beside those of the trained one.

    Args:
        model: a run folder, a `.keras` file or a stem.
        shown: pixels of images.
        predictor: the same model, converted.
        seed: of the shuffling.

    Returns:
        Rows of `layers` (how many were shuffled), `of` so many, and `correlation`, the mean rank correlation with the
        trained maps; None without the `.keras` file or Keras.
    """
    try:
        from melascope.learn import network
        from melascope.learn.backend import keras
    except ModuleNotFoundError:
        return None
    path = ModelFiles.find(model).keras
    if not path.is_file():
        return None
    net = network.load(path)
    pixels = np.stack([images.square(p, predictor.card.input_size) for p in shown]).astype(np.float32)
    features = keras.Model(net.input, net.get_layer("pool").input)

    def cams() -> NDArray[np.float64]:
        kernel = np.asarray(net.get_layer("logits").get_weights()[0])[:, TARGETS.index("malignant")]
        maps = np.asarray(features.predict_on_batch(pixels)) @ kernel
        return np.asarray(np.maximum(maps, 0).reshape(len(pixels), -1), dtype=np.float64)

    trained = cams()
    weighted = [layer for layer in net.layers if layer.get_weights()][::-1]
    rng = np.random.default_rng(seed)
    stages = sorted({1, *(round(len(weighted) * share) for share in (0.05, 0.1, 0.25, 0.5, 1))} - {0})
    rows, done = [], 0
    for stage in stages:
        for layer in weighted[done:stage]:
            layer.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])
        done = stage
        rows.append({"layers": stage, "of": len(weighted), "correlation": rank_correlation(trained, cams())})
    return rows


def rank_correlation(first: Float64, second: Float64) -> float:
    """Mean rank correlation over images; that of a map of one value is 0.

    Args:
        first: a map an image, shape (n, places).
        second: of the same shape.
    """
    pairs = zip(first, second, strict=True)
    correlations = [float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs]
    return float(np.nan_to_num(np.mean(correlations)))
