"""A tiny network and drawn images: what inference can be tested on in seconds."""

import numpy as np
from PIL import Image

from melascope.files import sha256
from melascope.model.card import Card
from melascope.model.decision import Calibration, OperatingPoint, PredictionSets

SIZE = 48
TEMPERATURE = {"malignant": 1.5, "melanoma": 0.8}
THRESHOLD = {"malignant": 0.3, "melanoma": 0.2}
SETS = PredictionSets(0.95, 0.25, 0.6, 400, 400)


def build(pooled=None, activation=None):
    """A network as `train` makes one, but of two convolutions, with random weights.

    Args:
        pooled: layer between pooling and head, where there should be none.
        activation: of the head, which should be linear.
    """
    from melascope.learn.backend import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1, name="scaling")(image)
    x = layers.Conv2D(8, 5, strides=4, activation="relu", kernel_initializer="he_normal")(x)
    x = layers.Conv2D(16, 3, strides=2, activation="relu", kernel_initializer="he_normal")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(pooled(x) if pooled is not None else x)
    random = keras.initializers.RandomNormal(0, 3, seed=0)
    logits = layers.Dense(2, activation=activation, kernel_initializer=random, name="logits")(x)
    return keras.Model(image, layers.Activation("sigmoid", name="probability")(logits))


def write_card(path, **changes):
    """Write the card of the `.keras` file beside it."""
    values = {
        "name": "tiny",
        "architecture": "Tiny",
        "weights": "none",
        "parameters": 1,
        "input_size": SIZE,
        "calibration": {name: Calibration("temperature", 1 / t) for name, t in TEMPERATURE.items()},
        "operating_points": points(THRESHOLD),
        "prediction_sets": SETS,
        "sensitivity": 0.95,
        "keras_sha256": changes.get("keras_sha256") or sha256(path.with_suffix(".keras")),
    }
    Card(**{**values, **changes}).write(path.with_suffix(".json"))


def points(thresholds):
    """Two operating points a target: the threshold for 95 %, half of it for 98 %."""
    return {
        name: (OperatingPoint(0.95, value, held=True), OperatingPoint(0.98, value / 2, held=False))
        for name, value in thresholds.items()
    }


MALIGNANT_ONLY = {
    "calibration": {"malignant": Calibration("temperature")},
    "operating_points": points({"malignant": 0.5}),
}


def lesion(seed, width=240, height=200):
    """An image that the gate accepts: a dark disc, of its own size and place, on textured skin."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), (210, 170, 150)) + rng.normal(0, 14, (height, width, 1))
    top, left = height / 2 + rng.uniform(-40, 40), width / 2 + rng.uniform(-40, 40)
    pixels[(y - top) ** 2 + (x - left) ** 2 < rng.uniform(20, 70) ** 2] -= rng.uniform(40, 130, 3)
    return pixels.clip(0, 255).astype(np.uint8)


def write_pictures(folder, images):
    """Write `00.png`, `01.png` and so on."""
    for i in range(images):
        Image.fromarray(lesion(i)).save(folder / f"{i:02}.png")
