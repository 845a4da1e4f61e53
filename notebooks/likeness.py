"""A drawn likeness of the data set that the published 86 % came from: its folders, its trick and its leaks."""

from pathlib import Path

import numpy as np
from PIL import Image

from melascope.images import Pixels
from melascope.synthetic import CARCINOMA, KERATOSIS, MELANOMA, NEVUS, Style, draw

LAST_DERMOSCOPIC = 16_072  # of the ids of the one source that has both classes
_SIDE = 128
_IMAGES = {"train": 150, "validation": 40, "test": 90}
_FROM_ONE_SOURCE = 0.3
_LEAKING = 0.3  # share of validation and test that is in train too
_KINDS = {"benign": (NEVUS, KERATOSIS), "malignant": (MELANOMA, CARCINOMA)}


def write_likeness(folder: Path) -> Path:
    """Write `{train,validation,test}/{benign,malignant}/ISIC_*.png`.

    All malignant lesions are dermoscopic; of the benign ones, most are small tiles in another light, and only those of
    one source, which are told by their low ids, are dermoscopic too. Some of validation and test are copies of images
    of train.
    """
    done = folder / "test" / "malignant"
    if done.is_dir():
        return folder
    rng = np.random.default_rng(0)
    number = 0
    for split, images in _IMAGES.items():
        for label, kinds in _KINDS.items():
            drawn = folder / split / label
            drawn.mkdir(parents=True, exist_ok=True)
            trained = sorted((folder / "train" / label).iterdir())
            for _ in range(images // 2):
                number += 1
                if split != "train" and rng.random() < _LEAKING:
                    copy = trained[rng.integers(len(trained))]
                    (drawn / copy.name).write_bytes(copy.read_bytes())
                    continue
                inside = rng.random() < _FROM_ONE_SOURCE
                tile = label == "benign" and not inside
                name = number if inside else number + (1_000_000 if tile else 20_000)
                pixels = _draw(number, str(rng.choice(kinds)), tile, rng)
                Image.fromarray(pixels).save(drawn / f"ISIC_{name:07}.png")
    return folder


def _draw(seed: int, kind: str, tile: bool, rng: np.random.Generator) -> Pixels:
    gains = np.array((0.8, 0.92, 1.1) if tile else (1.0, 0.98, 0.97)) * np.exp(rng.normal(0, 0.04, 3))
    style = Style(
        _SIDE,
        _SIDE,
        hair=int(rng.integers(8)),
        dark_corners=not tile and rng.random() < 0.4,
        tint=(float(gains[0]), float(gains[1]), float(gains[2])),
        zoom=0.6 if tile else 1.1,
    )
    return draw(seed, kind, style).pixels
