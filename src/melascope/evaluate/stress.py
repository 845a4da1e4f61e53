"""Stress: what graded changes of an image, under which a diagnosis stays what it is, do to the answers.

`stress.json` holds `format`, `command`, `model` (identity), `threshold`, `data`, `images`, `roc_auc`, `resampling` and
`changes`: for each change and level a row of `change`, `level`, `description` (the level in words), `refused` (share),
and the figures `roc_auc_change`, `flipped` (share whose label changes), `lost` (share of malignant lesions that were
caught and are no longer) and `alarms` (share of benign lesions that are now called malignant and were not).

Differences are paired: both answers are for the same images, in every resample. Both are also for the same kind of
input, a square of `SIDE` pixels. The probability in `predictions.parquet` is for the image in its own size; a
difference to it would mix the change with a change of size. So unchanged images are answered here once more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from melascope.arrays import Float64
from melascope.evaluate.figure import Question
from melascope.evaluate.metrics import Ranked, Sample, ratio
from melascope.evaluate.predictions import Evaluation
from melascope.images import Pixels, compressed, each, to_pixels
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.intervals import Figure
from melascope.learn.augment import warp
from melascope.progress import Progress, silent
from melascope.synthetic import camera

FORMAT = 2
NAME = "stress.json"
SIDE = 320  # pixels; every image is changed at this size, so that a level means the same for all
_EXAMPLES = 6  # of a change

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
    description: str
    image_id: str
    malignant: bool
    before: float
    after: float
    pixels: Pixels
    changed: Pixels


def _drawn(draw: Callable[[Image.Image, int, np.random.Generator], Image.Image]) -> Apply:
    return lambda pixels, level, rng: np.asarray(draw(Image.fromarray(pixels), int(level), rng))


def _light(way: int) -> Apply:
    return lambda pixels, level, _: to_pixels(pixels * (1 + way * level / 100 * np.array([1, 0, -1])))


def _exposure(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return to_pixels(pixels * level)


def _blur(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(level * SIDE / 224)))


def _noise(pixels: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    return to_pixels(pixels + rng.normal(0, level, pixels.shape))


def _jpeg(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return compressed(pixels, int(level))


def _scale(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return np.asarray(warp(pixels, np.eye(2) / level, np.zeros(2)))


def _shift(pixels: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    way = rng.uniform(0, 2 * np.pi)
    return np.asarray(warp(pixels, np.eye(2), level / 100 * SIDE * np.array([np.cos(way), np.sin(way)])))


def _turn(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    c, s = np.cos(np.deg2rad(level)), np.sin(np.deg2rad(level))
    return np.asarray(warp(pixels, np.array([[c, -s], [s, c]]), np.zeros(2)))


def _corners(pixels: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    return to_pixels(camera.dark_corners(pixels.astype(np.float32), (level, level), rng))


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
    chosen = _balanced(known, images, np.random.default_rng(seed))
    predictor = evaluation.predictor(progress)
    question = Question("malignant", predictor.card.threshold["malignant"], seed=seed)
    steps = [(change, level) for change in CHANGES for level in change.levels]
    kept, p, refused = _asked(predictor, chosen["path"].tolist(), steps, seed, progress)
    truth = chosen["malignant"].to_numpy(bool)
    unchanged = Sample.of(truth, p[:, 0], chosen["group"])
    rows, examples = [], []
    for column, (change, level) in enumerate(steps, start=1):
        description = change.unit.format(level)
        rows.append(
            {
                "change": change.name,
                "level": level,
                "description": description,
                "refused": float(refused[:, column].mean()),
                **_compared(unchanged, p[:, column], question),
            }
        )
        if level == change.levels[-1]:
            for i in _most_moved(p[:, 0], p[:, column], question.threshold):
                name, before, after = str(chosen["image_id"][i]), float(p[i, 0]), float(p[i, column])
                pixels = kept[i], _changed(kept[i], change, level, seed, i)
                examples.append(
                    Example(change.name, description, name, bool(truth[i]), before, after, *pixels)
                )
    results = {
        "threshold": question.threshold,
        "images": {"n": len(chosen), "n_positive": int(truth.sum()), "of": len(known)},
        "roc_auc": float(Ranked.of(unchanged, unchanged.once).roc_auc()[0]),
        "changes": rows,
    }
    return evaluation.write(NAME, FORMAT, seed, results), examples


def _most_moved(before: Float64, after: Float64, threshold: float) -> list[int]:
    """The images whose label changed and whose probability moved furthest."""
    moved = np.where((before >= threshold) != (after >= threshold), np.abs(after - before), 0)
    return [int(i) for i in np.argsort(-moved, kind="stable")[:_EXAMPLES] if moved[i] > 0]


def _balanced(known: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Half of either class, as far as there are so many, in the table's order."""
    if len(known) <= n:
        return known
    positive, negative = (np.flatnonzero(known["malignant"].astype(bool) == value) for value in (True, False))
    few = min(len(positive), len(negative), n // 2)
    take = {True: few, False: few}
    take[len(positive) > len(negative)] = n - few
    rows = [
        rng.choice(part, take[value], replace=False) for part, value in ((positive, True), (negative, False))
    ]
    return known.iloc[np.sort(np.concatenate(rows))].reset_index(drop=True)


def _asked(
    predictor: Predictor,
    locators: list[str],
    steps: list[tuple[Change, float]],
    seed: int,
    progress: Progress,
) -> tuple[list[Pixels], Float64, NDArray[np.bool_]]:
    """Answers to each image and to every change of it.

    Returns:
        The images; probabilities of malignancy, shape (n, 1 + steps), of the unchanged image first; and whether each
        was refused, of the same shape.
    """

    def ask(i: int, pixels: Pixels) -> tuple[Pixels, list[Answer]]:
        changed = (_changed(pixels, change, level, seed, i) for change, level in steps)
        return pixels, [predictor.answer(item) for item in chain([pixels], changed)]

    asked = list(each(locators, SIDE, ask, "under stress", progress))
    p = np.array([[answer.malignant for answer in answers] for _, answers in asked], np.float64)
    refused = np.array([[answer.status == "refused" for answer in answers] for _, answers in asked])
    return [pixels for pixels, _ in asked], p, refused


def _changed(pixels: Pixels, change: Change, level: float, seed: int, image: int) -> Pixels:
    rng = np.random.default_rng([seed, image, [c.name for c in CHANGES].index(change.name)])
    return change.apply(pixels, level, rng)


def _compared(unchanged: Sample, after: Float64, question: Question) -> dict[str, Figure]:
    """Figures of one change, paired with no change.

    Args:
        unchanged: the images as they are.
        after: probabilities of the changed images, in the order from which the sample was made.
        question: what is asked of both.
    """
    truth, threshold = unchanged.truth, question.threshold
    changed = Sample.of(truth, after[unchanged.order], unchanged.group)
    was, now = unchanged.probability >= threshold, after[unchanged.order] >= threshold

    def statistics(weights: Float64) -> dict[str, Float64]:
        reached = Ranked.of(changed, weights[:, changed.order]).roc_auc()
        positive, negative = weights[:, truth].sum(axis=1), weights[:, ~truth].sum(axis=1)
        return {
            "roc_auc_change": reached - Ranked.of(unchanged, weights).roc_auc(),
            "flipped": ratio(weights[:, was != now].sum(axis=1), weights.sum(axis=1)),
            "lost": ratio(weights[:, truth & was & ~now].sum(axis=1), positive),
            "alarms": ratio(weights[:, ~truth & ~was & now].sum(axis=1), negative),
        }

    measured = question.measured(unchanged, statistics)
    over = {"flipped": np.ones(len(truth), dtype=bool), "lost": truth, "alarms": ~truth}
    return {name: measured.figure(name, over.get(name)) for name in measured.observed}
