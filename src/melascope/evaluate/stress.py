"""Stress: what graded changes of an image, under which a diagnosis stays what it is, do to the answers.

`stress.json` holds `format`, `command`, `model` (identity), `threshold`, `data`, `images`, `roc_auc`, `resampling` and
`changes`: for each change and level a row of `change`, `level`, `told` (the level in words), `refused` (share), and
the figures `roc_auc_change`, `flipped` (share whose label changes), `lost` (share of malignant lesions that were caught
and are no longer) and `alarms` (share of benign lesions that are now called malignant and were not). Differences are
paired: both answers are for the same images, in every resample.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from melascope import images, intervals
from melascope.errors import DataError, ImageError
from melascope.evaluate.figure import Measured
from melascope.evaluate.metrics import Floats, Ranked, Sample, ratio
from melascope.evaluate.predictions import Evaluation
from melascope.images import Pixels
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.learn.augment import warp
from melascope.progress import Progress, silent
from melascope.synthetic import camera

FORMAT = 1
NAME = "stress.json"
SIDE = 320  # pixels; every image is changed at this size, so that a level means the same for all
_CHUNK = 32
_WORST = 6  # examples of a change

Apply = Callable[[Pixels, float, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Change:
    """One way to change an image."""

    name: str
    unit: str
    """What a level counts; `{}` stands for the level."""
    levels: tuple[float, ...]
    """From mild to strong."""
    apply: Apply


@dataclass(frozen=True)
class Example:
    """An image whose answer changed most."""

    change: str
    told: str
    image_id: str
    malignant: bool
    before: float
    after: float
    pixels: Pixels
    changed: Pixels


def _drawn(draw: Callable[[Image.Image, int, np.random.Generator], Image.Image]) -> Apply:
    return lambda pixels, level, rng: np.asarray(draw(Image.fromarray(pixels), int(level), rng))


def _light(way: int) -> Apply:
    return lambda pixels, level, _: _bytes(pixels * (1 + way * level / 100 * np.array([1, 0, -1])))


def _exposure(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return _bytes(pixels * level)


def _blur(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(level * SIDE / 224)))


def _noise(pixels: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    return _bytes(pixels + rng.normal(0, level, pixels.shape))


def _jpeg(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return images.compressed(pixels, int(level))


def _scale(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return np.asarray(warp(pixels, np.eye(2) / level, np.zeros(2)))


def _shift(pixels: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    way = rng.uniform(0, 2 * np.pi)
    return np.asarray(warp(pixels, np.eye(2), level / 100 * SIDE * np.array([np.cos(way), np.sin(way)])))


def _turn(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    c, s = np.cos(np.deg2rad(level)), np.sin(np.deg2rad(level))
    return np.asarray(warp(pixels, np.array([[c, -s], [s, c]]), np.zeros(2)))


def _corners(pixels: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    return _bytes(camera.dark_corners(pixels.astype(np.float32), (level, level), rng))


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return values.clip(0, 255).astype(np.uint8)


CHANGES = (
    Change("hair", "{:g} hairs", (5, 20, 60), _drawn(camera.hair)),
    Change("ruler", "marks along one edge", (1,), _drawn(lambda image, _, rng: camera.ruler(image, rng))),
    Change("ink", "pen strokes in one corner", (1,), _drawn(lambda image, _, rng: camera.ink(image, rng))),
    Change("gel bubbles", "{:g} bubbles", (5, 20, 60), _drawn(camera.bubbles)),
    Change("dark corners", "rim at {:g} half sides", (1.25, 1.1, 0.95), _corners),
    Change("warm light", "red +{0:g} %, blue -{0:g} %", (5, 10, 20), _light(1)),
    Change("cold light", "red -{0:g} %, blue +{0:g} %", (5, 10, 20), _light(-1)),
    Change("under-exposure", "{:g} of the light", (0.85, 0.7, 0.5), _exposure),
    Change("over-exposure", "{:g} of the light", (1.1, 1.25, 1.5), _exposure),
    Change("blur", "Gaussian of {:g} px at 224 px", (0.5, 1, 2), _blur),
    Change("noise", "standard deviation {:g} of 255", (5, 10, 20), _noise),
    Change("JPEG", "quality {:g}", (75, 40, 15), _jpeg),
    Change("closer", "{:g} times as large", (1.1, 1.25, 1.5), _scale),
    Change("farther", "{:g} times as large", (0.9, 0.8, 0.67), _scale),
    Change("shift", "{:g} % of the side", (3, 8, 15), _shift),
    Change("rotation", "{:g} degrees", (15, 45, 90), _turn),
)


def measure(
    evaluation: Evaluation, *, images: int = 400, seed: int = 0, progress: Progress = silent
) -> tuple[dict[str, Any], list[Example]]:
    """Measure the model of an evaluation under stress, and write `stress.json` into its folder.

    Args:
        evaluation: with malignant and benign images.
        images: how many to use; of more, half of either class are drawn, as far as there are so many.
        seed: of the choice of images, the changes and the resamples.
        progress: called with (what, done, total).

    Returns:
        What `stress.json` holds, and the images whose answers changed most, strongest first in each change.

    Raises:
        DataError: if a class is missing, or an image can no longer be read.
        ModelError: if the model cannot be used.
    """
    known = evaluation.labelled()
    chosen = _some(known, images, np.random.default_rng(seed))
    truth = chosen["malignant"].to_numpy(bool)
    predictor = evaluation.predictor(progress)
    threshold = predictor.card.threshold["malignant"]
    steps = [(change, i) for change in CHANGES for i in range(len(change.levels))]
    shape = (len(chosen), len(steps) + 1)
    chance, refused = np.empty(shape), np.empty(shape, dtype=bool)
    kept: list[Pixels] = []
    for i, (pixels, answers) in enumerate(_answers(predictor, chosen["path"].tolist(), steps, seed)):
        chance[i] = [answer.malignant for answer in answers]
        refused[i] = [answer.status == "refused" for answer in answers]
        kept.append(pixels)
        progress("under stress", i + 1, len(chosen))
    rows, examples = [], []
    for column, (change, level) in enumerate(steps, start=1):
        measured = _measured(chance[:, 0], chance[:, column], truth, chosen["group"], threshold, seed)
        told = change.unit.format(change.levels[level])
        rows.append(
            {
                "change": change.name,
                "level": change.levels[level],
                "told": told,
                "refused": float(refused[:, column].mean()),
                **measured,
            }
        )
        if level == len(change.levels) - 1:
            for i in _worst(chance[:, 0], chance[:, column], threshold):
                before, after = float(chance[i, 0]), float(chance[i, column])
                changed = _changed(kept[i], change, level, seed, i)
                name = str(chosen["image_id"].iloc[i])
                examples += [
                    Example(change.name, told, name, bool(truth[i]), before, after, kept[i], changed)
                ]
    results = {
        "threshold": threshold,
        "images": {"n": len(chosen), "n_positive": int(truth.sum()), "of": len(known)},
        "roc_auc": float(
            Ranked.of(s := Sample.of(truth, chance[:, 0], chosen["group"]), s.once).roc_auc()[0]
        ),
        "changes": rows,
    }
    return evaluation.write(NAME, FORMAT, seed, results), examples


def _worst(before: Floats, after: Floats, threshold: float) -> list[int]:
    """The images whose label changed and whose probability moved furthest."""
    moved = np.where((before >= threshold) != (after >= threshold), np.abs(after - before), 0)
    return [int(i) for i in np.argsort(-moved, kind="stable")[:_WORST] if moved[i] > 0]


def _some(known: pd.DataFrame, most: int, rng: np.random.Generator) -> pd.DataFrame:
    """Half of either class, as far as there are so many, in the table's order."""
    if len(known) <= most:
        return known.reset_index(drop=True)
    positive, negative = (np.flatnonzero(known["malignant"].astype(bool) == value) for value in (True, False))
    few = min(len(positive), len(negative), most // 2)
    take = {True: few, False: few}
    take[len(positive) > len(negative)] = most - few
    rows = [
        rng.choice(part, take[value], replace=False) for part, value in ((positive, True), (negative, False))
    ]
    return known.iloc[np.sort(np.concatenate(rows))].reset_index(drop=True)


def _answers(
    predictor: Predictor, locators: list[str], steps: list[tuple[Change, int]], seed: int
) -> Iterator[tuple[Pixels, list[Answer]]]:
    """Each image as it is judged, and the answers to it and to every change of it."""

    def judge(place: tuple[int, str]) -> tuple[Pixels, list[Answer]]:
        i, locator = place
        pixels = images.load(locator, SIDE)
        changed = (_changed(pixels, change, level, seed, i) for change, level in steps)
        return pixels, [predictor.answer(item) for item in (pixels, *changed)]

    places = list(enumerate(locators))
    with ThreadPoolExecutor() as pool:
        try:
            for start in range(0, len(places), _CHUNK):  # so that a person who stops it does not wait for all
                yield from pool.map(judge, places[start : start + _CHUNK])
        except ImageError as error:
            raise DataError(f"{error}; it could be read before: prepare the data set again") from error


def _changed(pixels: Pixels, change: Change, level: int, seed: int, image: int) -> Pixels:
    rng = np.random.default_rng([seed, image, [c.name for c in CHANGES].index(change.name)])
    return change.apply(pixels, change.levels[level], rng)


def _measured(
    before: Floats,
    after: Floats,
    truth: NDArray[np.bool_],
    group: "pd.Series[Any]",
    threshold: float,
    seed: int,
) -> dict[str, Any]:
    """Figures of one change, paired with no change."""
    first, second = Sample.of(truth, before, group), Sample.of(truth, after, group)
    moved = first.weights_of(second)
    was, now = first.probability >= threshold, after[first.order] >= threshold

    def statistics(weights: Floats) -> dict[str, Floats]:
        change = Ranked.of(second, weights[:, moved]).roc_auc() - Ranked.of(first, weights).roc_auc()
        positive, negative = weights[:, first.truth].sum(axis=1), weights[:, ~first.truth].sum(axis=1)
        return {
            "roc_auc_change": change,
            "flipped": ratio(weights[:, was != now].sum(axis=1), weights.sum(axis=1)),
            "lost": ratio(weights[:, first.truth & was & ~now].sum(axis=1), positive),
            "alarms": ratio(weights[:, ~first.truth & ~was & now].sum(axis=1), negative),
        }

    measured = Measured(first, "malignant", statistics, intervals.RESAMPLES, seed)
    everyone = np.ones(len(truth), dtype=bool)
    over = {"flipped": everyone, "lost": first.truth, "alarms": ~first.truth}
    return {name: measured.figure(name, over.get(name)) for name in measured.found}
