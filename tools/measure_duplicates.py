"""How many made copies of real images the search for duplicates detects, and the copies that were there before.

    python tools/measure_duplicates.py SOURCE... --out DIR

Copies are made of 300 images and hidden among all images of the sources. Prints the share detected for
each kind of copy, and the pairs of a copy with an image that is not its original. Writes a contact sheet of pairs.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from melascope import images
from melascope.prepare import duplicates, features
from melascope.prepare.records import read_records
from melascope.prepare.scan import Scan, scan_images

COPIED, SHOWN, SIDE = 300, 70, 96


def encode(image: Image.Image, quality: int) -> np.ndarray:
    """Through a JPEG file and back."""
    return images.compressed(np.asarray(image.convert("RGB")), quality)


def scaled(image: Image.Image, by: float) -> Image.Image:
    """Re-scaled."""
    return image.resize((round(image.width * by), round(image.height * by)), Image.Resampling.LANCZOS)


def tinted(image: Image.Image) -> Image.Image:
    """Another light: gain of each channel, gamma, less saturation."""
    values = (np.asarray(image, dtype=np.float32) / 255) ** 1.3 * [0.85, 1.0, 1.1]
    grey = values.mean(axis=-1, keepdims=True)
    return Image.fromarray((np.clip(grey + 0.7 * (values - grey), 0, 1) * 255).astype(np.uint8))


TURN = Image.Transpose
CHANGES = {
    "re-scaled to 0.9": lambda im: encode(scaled(im, 0.9), 90),
    "re-scaled to 0.5": lambda im: encode(scaled(im, 0.5), 90),
    "JPEG quality 40": lambda im: encode(im, 40),
    "recoloured": lambda im: encode(tinted(im), 90),
    "grey": lambda im: encode(im.convert("L"), 90),
    "mirrored": lambda im: encode(im.transpose(TURN.FLIP_LEFT_RIGHT), 90),
    "turned by 90": lambda im: encode(im.transpose(TURN.ROTATE_90), 90),
    "cropped to 0.96": lambda im: encode(
        im.crop((im.width * 0.02, im.height * 0.02, im.width * 0.98, im.height * 0.98)), 90
    ),
    "half size, recoloured, turned, JPEG 60": lambda im: encode(
        tinted(scaled(im, 0.5)).transpose(TURN.ROTATE_180), 60
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="folder for the contact sheet")
    chosen = parser.parse_args()
    table = read_records(chosen.sources).table
    with tempfile.TemporaryDirectory() as folder:
        scan = scan_images(table, Path(folder))
    readable = np.flatnonzero(scan.table["error"] == "")
    pairs = duplicates.find(scan, readable)
    near = pairs[pairs["kind"] == "near"].sort_values("similarity")
    print(f"{len(readable):,} images: {len(pairs) - len(near)} exact and {len(near)} near pairs")
    sheet(table, near.iloc[np.unique(np.linspace(0, len(near) - 1, SHOWN).astype(int))], chosen.out)
    sample = np.sort(np.random.default_rng(0).choice(readable, COPIED, replace=False))
    originals = [Image.fromarray(images.load(table["path"][row], 224)) for row in sample]
    for name, change in CHANGES.items():
        copies = [features.describe(change(image)) for image in originals]
        blank = scan.table.iloc[sample].assign(pixel_hash=[f"{name}{row}" for row in sample])
        both = Scan(
            pd.concat([scan.table, blank], ignore_index=True),
            {
                key: np.concatenate([kept, [copy[key] for copy in copies]])
                for key, kept in scan.features.items()
            },
        )
        n = len(scan.table)
        detected = duplicates.find(both, np.concatenate([readable, np.arange(n, n + COPIED)]))
        of_copies = detected[detected["j"] >= n]
        right = of_copies["i"].to_numpy() == sample[of_copies["j"].to_numpy() - n]
        print(f"{name:40} {right.sum():4} of {COPIED} detected, {len(of_copies) - right.sum():3} other pairs")


def sheet(table: pd.DataFrame, pairs: pd.DataFrame, out: Path) -> None:
    """Pairs side by side, the least similar first."""
    tiles = [
        np.concatenate([images.load(table["path"][row], SIDE) for row in pair], axis=1)
        for pair in pairs[["i", "j"]].to_numpy()
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 7)
    rows = [np.concatenate(tiles[start : start + 7], axis=1) for start in range(0, len(tiles), 7)]
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(out / "pairs.png")


if __name__ == "__main__":
    main()
