"""Made-up data sets and predictions: what training and evaluation start from, without a photograph."""

import numpy as np
import pandas as pd
from PIL import Image

from helpers.models import points
from melascope import manifest
from melascope.model.card import Card
from melascope.model.decision import Calibration

DATA_HASH = "ab" * 32


def card(**changes):
    """A model's card."""
    values = {
        "name": "first",
        "architecture": "MobileNetV2",
        "weights": "imagenet",
        "parameters": 2_260_546,
        "input_size": 224,
        "calibration": {name: Calibration("temperature", 0.8) for name in ("malignant", "melanoma")},
        "operating_points": points({"malignant": 0.2, "melanoma": 0.1}),
        "sensitivity": 0.95,
        "keras_sha256": "1f3a9c0b2d4e" + "0" * 52,
        "data": {"hash": DATA_HASH},
    }
    return Card(**{**values, **changes})


def predictions(images=400, groups=300, seed=0):
    """Predictions of a fair model on four sources, one of which is tiny; all could be read."""
    rng, quality = np.random.default_rng(seed), np.random.default_rng(seed)
    group = rng.integers(groups, size=images)
    malignant = (rng.random(groups) < 0.3)[group]
    melanoma = malignant & (rng.random(groups) < 0.5)[group]
    names = np.array(["SET/first", "SET/second", "SET/tiny", "OTHER"])
    source = names[rng.choice(4, p=[0.4, 0.25, 0.03, 0.32], size=groups)][group]
    shared = rng.normal(0, 0.8, groups)[group]

    def probability(truth):
        return 1 / (1 + np.exp(1.7 - 1.9 * truth - shared - rng.normal(0, 1, images)))

    chances = {name: probability(truth) for name, truth in (("malignant", malignant), ("melanoma", melanoma))}
    return pd.DataFrame(
        {
            "image_id": [f"ISIC_{i:07d}" for i in range(images)],
            "path": [f"/data/{i}.jpg" for i in range(images)],
            "source": source,
            "group": [f"g{i}" for i in group],
            "split": "test",
            "diagnosis": np.where(melanoma, "melanoma", np.where(malignant, "basal cell carcinoma", "nevus")),
            "malignant": pd.array(malignant, dtype="boolean"),
            "melanoma": pd.array(melanoma, dtype="boolean"),
            **{f"p_{name}": p for name, p in chances.items()},
            **{f"logit_{name}": 2 * np.log(p / (1 - p)) for name, p in chances.items()},  # over-confident
            "status": "ok",
            "reason": pd.array([None] * images, dtype="string"),
            "sharpness": quality.uniform(20, 900, images),
            "contrast": quality.uniform(10, 60, images),
            "brightness": quality.uniform(60, 200, images),
            "width": pd.array([600] * images, dtype="Int64"),
            "height": pd.array([450] * images, dtype="Int64"),
            "age_approx": rng.choice([35.0, 50, 65, np.nan], images),
            "sex": rng.choice(np.array(["male", "female", None], dtype=object), images),
            "site": "trunk",
            "skin_type": None,
        }
    )


def manifest_of(n, **columns):
    """The manifest of `n` images, by default all of training, unlabelled, each a group of its own."""
    rows = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(n)],
            "path": [f"/data/{i}.jpg" for i in range(n)],
            "source": "made",
            "pixel_hash": [f"{i:064x}" for i in range(n)],
            "group": [f"g{i}" for i in range(n)],
            "split": "train",
            "excluded": "",
            "age_approx": np.nan,
        }
    )
    rows = rows.reindex(columns=list(manifest.COLUMNS)).assign(**columns)
    return rows.astype({"malignant": "boolean", "melanoma": "boolean"})


def make_data(folder, n=60, unknown_melanoma=False, sources=("made",)):
    """Flat squares whose redness is the label, in a data set folder; sources take turns every 16 images."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    malignant = np.arange(n) % 2 == 0
    melanoma = np.arange(n) % 4 == 0
    paths = [folder / "images" / f"{i}.png" for i in range(n)]
    for path, positive in zip(paths, malignant, strict=True):
        pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
        pixels[..., 0] += 150 if positive else 40
        Image.fromarray(pixels).save(path)
    parts = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    table = manifest_of(
        n,
        path=[str(path) for path in paths],
        source=[sources[i // 16 % len(sources)] for i in range(n)],
        malignant=malignant,
        melanoma=np.where(malignant, None, False) if unknown_melanoma else melanoma,
        split=[parts[i % 8] for i in range(n)],
    )
    manifest.write(table, folder)
    return folder
