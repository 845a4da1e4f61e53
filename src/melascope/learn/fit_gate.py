"""Fitting the recogniser: which images a model can judge, learned from those it was made for and from what is none.

A gate fitted to the clinics at hand refuses another clinic's images for their camera alone. Two remedies: both sides
are shown in other light and scale, too, but with little weight, because what tells a close-up from dermoscopy is fine
and is soon gone; and where the data have several sources, thresholds are set by leaving each out in turn: as high as
gates that never saw a source still refuse at most `MOST_FALSE` of it, for each source. What must be refused of that
source is left out with it: a gate that learned a clinic's close-ups without its dermoscopic images would know the
clinic by what to refuse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_range_finder
from threadpoolctl import threadpool_limits

from melascope import files, images, manifest
from melascope.images import Pixels
from melascope.learn.augment import augment
from melascope.learn.pixels import decoded
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.model.gate import CLIP, Gate
from melascope.progress import Progress, silent
from melascope.synthetic.clutter import KINDS, clutter

MOST_FALSE = 0.03  # of the dermoscopic images of a source that the gate never saw
_KNOWN_FALSE = 0.01  # of the sources that it knows
_DRAWN = 150  # pictures of each drawn kind
_MOST = 400  # images of any other kind
_LESIONS = 1500  # images a source, at most
_ENOUGH = 50  # images of a source, for it to be left out in turn
_AXES = 1536  # of features, at most
_EVENED = 0.7  # of an axis: 0 leaves its standard deviation as it is, 1 makes all alike
# scikit-learn's C. Gates that judge by cameras fail at clinics left out; where there is but one, nothing tells.
_INVERSE_PENALTY, _OF_ONE_SOURCE = 6e-5, 1e-3
_FOLDS = 10  # of what must be refused, each tested on a gate that has not learned from it
_ROUNDING = 1e-4  # of a score, by which the same image's may differ with the order in which it is summed
_KIND = 0.5  # of the weight of all lesions, that a kind to refuse has
PHOTOGRAPHS, SKIN = "photographs", "skin beside a lesion"
_EVEN = 30  # most by which the mean luminance of an eighth of a side may differ within bare skin, of 255

Features = NDArray[np.float32]
Kind = tuple[str, str]  # what must be refused: a word for it, and its source if it is one of the data's
Change = Callable[[Pixels, np.random.Generator], Pixels]
Views = Callable[[NDArray[np.uint8]], Features]
"""What a network sees of images of its input size S, shape (N, S, S, 3): features, shape (N, features)."""


def _in_other_light(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return augment(pixels, rng, artefacts=False)


# Copies of each image, and what they weigh together, where the image weighs 1. Artefacts lie on lesions alone: what a
# dermatoscope adds, a scale, dark corners, gel, should not speak against an image, nor should hair and ink.
_OF_LESIONS: tuple[list[Change], float] = ([augment], 1.0)
_OF_OTHERS: tuple[list[Change], float] = ([_in_other_light] * 3, 0.2)


@dataclass(frozen=True)
class _Shown:
    """Features of images, then of their changed copies."""

    features: Features
    plain: int
    copies: float
    """What the copies weigh, where all images weigh 1."""

    def images(self) -> Features:
        """Features of the images as they are."""
        return self.features[: self.plain]

    def without(self, fold: int) -> Self:
        """What is not in a fold of the images, nor a copy of one."""
        image = np.r_[: self.plain, np.arange(len(self.features) - self.plain) % self.plain]
        kept = image % _FOLDS != fold
        return replace(self, features=self.features[kept], plain=int(kept[: self.plain].sum()))

    def weights(self) -> NDArray[np.float64]:
        """Of each row, 1 in all."""
        copies = len(self.features) - self.plain
        weights = np.r_[np.full(self.plain, 1 / self.plain), np.full(copies, self.copies / max(1, copies))]
        return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Examples:
    """Images that gates learn from, for networks of one input size S."""

    pixels: NDArray[np.uint8]
    """Of all images that can be judged, shape (images, S, S, 3)."""
    learned: Mapping[str, NDArray[np.intp]]
    """Which of them are learned from, by source."""
    held: Mapping[str, NDArray[np.intp]]
    """Which of them are held out, by source."""
    strangers: Mapping[Kind, NDArray[np.uint8]]
    """What must be refused, by kind."""
    seed: int


def gather(
    data: Path,
    size: int,
    others: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Examples:
    """Choose and draw what gates learn from.

    That is the training split, the images that the data set left out for not being dermoscopic, and all else that
    must be refused. The validation split is held out.

    Args:
        data: a folder made by `prepare`.
        size: of the network's input.
        others: locators of further images that must be refused, by a word for their kind.
        seed: of everything random.
        progress: called with (what, done, total).

    Raises:
        DataError: if an image can no longer be read.
    """
    rng = np.random.default_rng(seed)
    table = manifest.read(data)
    used = manifest.usable(table).reset_index(drop=True)
    source, split = _data_set(used).to_numpy(), used["split"].to_numpy()
    learned, held = {}, {}
    for name in np.unique(source):
        rows = rng.permutation(np.flatnonzero((source == name) & (split == "train")))[:_LESIONS]
        if len(rows):
            learned[name] = rows
        held[name] = np.flatnonzero((source == name) & (split == "validation"))
    strangers = _strangers(table, others or {}, size, rng) | _skin(used, source, size, rng)
    return Examples(decoded(used, size, data, progress), learned, held, strangers, seed)


def fit(model: Path, views: Views, examples: Examples, progress: Progress = silent) -> Card:
    """Fit a gate for a model, write it beside the model, and tell of it in the model's card.

    How much it refuses of what it must is told by cross-validation, at the thresholds of the whole.

    Args:
        model: a `.keras` file with its card.
        views: of this model; the very ones that the gate will judge by.
        examples: of the model's input size.
        progress: called with (what, done, total).

    Returns:
        The new card, whose `gate` has `sha256`, `false_refusals` (share of the dermoscopic images of the validation
        split, by source), `false_refusals_unseen` (the same by a gate that never saw the source; empty with one
        source) and `refused` (share of what must be refused, by kind, each tenth by a gate that never saw it).
    """
    look, rng = _Look(views, progress), np.random.default_rng([examples.seed, 1])  # not those that chose
    seen = {
        name: look.with_copies(examples.pixels[rows], rng, _OF_LESIONS)
        for name, rows in examples.learned.items()
    }
    held = {name: look.at(examples.pixels[rows]) for name, rows in examples.held.items()}
    strangers = {
        kind: look.with_copies(pixels, rng, _OF_OTHERS) for kind, pixels in examples.strangers.items()
    }
    recogniser, unseen, refused = _fitted(seen, held, strangers)
    recogniser.write(ModelFiles(model).gate)
    card = replace(
        Card.read(model.with_suffix(".json")),
        gate={
            "sha256": files.sha256(ModelFiles(model).gate),
            "false_refusals": {k: float(1 - recogniser.knows(v).mean()) for k, v in held.items() if len(v)},
            "false_refusals_unseen": unseen,
            "refused": refused,
        },
    )
    card.write(model.with_suffix(".json"))
    return card


class _Look:
    """What a network sees of images, and how many it has seen."""

    def __init__(self, views: Views, progress: Progress) -> None:
        self._views, self._progress, self._done = views, progress, 0

    def at(self, pixels: NDArray[np.uint8]) -> Features:
        """Features of images, shape (images, features)."""
        found = self._views(pixels)
        self._done += len(found)
        self._progress("learning what to refuse", self._done, self._done)
        return found

    def with_copies(
        self, pixels: NDArray[np.uint8], rng: np.random.Generator, copies: tuple[Sequence[Change], float]
    ) -> _Shown:
        """Features of images and of their changed copies."""
        changes, weight = copies
        parts = [self.at(pixels)]
        for change in changes:
            # Of all at once, copies would take gigabytes.
            few = (pixels[i : i + 256] for i in range(0, len(pixels), 256))
            parts += [self.at(np.stack([change(image, rng) for image in part])) for part in few]
        return _Shown(np.concatenate(parts), len(pixels), weight)


def _strangers(
    table: pd.DataFrame, others: Mapping[str, Sequence[str]], size: int, rng: np.random.Generator
) -> dict[Kind, NDArray[np.uint8]]:
    """Images that must be refused, by kind."""
    shown = {
        (kind, ""): np.stack(
            [images.square(clutter(kind, int(rng.integers(2**31))), size) for _ in range(_DRAWN)]
        )
        for kind in KINDS
    }
    shown[PHOTOGRAPHS, ""] = np.stack([_crop(rng, size) for _ in range(_DRAWN)])
    left_out = table[table["excluded"].str.startswith("not dermoscopic")]
    named: dict[Kind, list[str]] = {}
    for kind, source, path in zip(left_out["modality"], _data_set(left_out), left_out["path"], strict=True):
        named.setdefault((str(kind), str(source)), []).append(path)
    for name, locators in {**named, **{(kind, ""): list(names) for kind, names in others.items()}}.items():
        order = rng.permutation(len(locators))[:_MOST]
        shown[name] = np.stack([images.load(locators[i], size) for i in order])
    return shown


def _skin(
    used: pd.DataFrame, source: NDArray[np.object_], size: int, rng: np.random.Generator
) -> dict[Kind, NDArray[np.uint8]]:
    """The evenest quarter of dermoscopic images, where that shows skin alone, by source."""
    found = {}
    for name in np.unique(source):
        rows = rng.permutation(np.flatnonzero((source == name) & (used["split"] == "train").to_numpy()))
        looked_at = (_evenest_quarter(used["path"].iloc[row], size) for row in rows[: 4 * _DRAWN])
        skin = (quarter for quarter in looked_at if _unevenness(quarter) < _EVEN)
        if quarters := list(islice(skin, _DRAWN)):  # no image is read once there are enough
            found[SKIN, str(name)] = np.stack(quarters)
    return found


def _evenest_quarter(locator: str, size: int) -> Pixels:
    whole = images.load(locator, 2 * size)
    return min((whole[y : y + size, x : x + size] for y in (0, size) for x in (0, size)), key=_unevenness)


def _unevenness(pixels: Pixels) -> float:
    return float(np.ptp(images.square(pixels, 8) @ np.array([0.299, 0.587, 0.114])))


def _data_set(table: pd.DataFrame) -> "pd.Series[str]":
    return table["source"].astype(str).str.split("/").str[0]  # of none, too


def _crop(rng: np.random.Generator, size: int) -> Pixels:
    """A part of one of two photographs that come with scikit-learn: a temple, a flower."""
    picture = load_sample_images().images[int(rng.integers(2))]
    side = int(rng.integers(60, min(picture.shape[:2])))
    top, left = (int(rng.integers(0, length - side)) for length in picture.shape[:2])
    return images.square(picture[top : top + side, left : left + side], size)


def _fitted(
    seen: Mapping[str, _Shown], held: Mapping[str, Features], learned: Mapping[Kind, _Shown]
) -> tuple[Gate, dict[str, float], dict[str, float]]:
    """The gate, the share that it refuses of each source when that is left out, and of each kind to refuse.

    Args:
        seen: what is learned from, by source.
        held: images of the sources that are not learned from.
        learned: what must be refused.
    """
    classes = sorted({_class(kind) for kind, _ in learned})
    inverse_penalty = _INVERSE_PENALTY if len(seen) > 1 else _OF_ONE_SOURCE
    whole = _regression(seen, learned, classes, inverse_penalty)
    known = np.concatenate([whole.scores(held[k] if len(held[k]) else v.images()) for k, v in seen.items()])
    unknown = {}
    for name, shown in seen.items():
        images_of = np.concatenate([held[name], shown.images()])
        if len(seen) > 1 and min(shown.plain, len(images_of)) >= _ENOUGH:
            others = {k: v for k, v in seen.items() if k != name}
            elsewhere = {k: v for k, v in learned.items() if k[1] != name}
            unknown[name] = _regression(others, elsewhere, classes, inverse_penalty).scores(images_of)
    tested: dict[str, list[Features]] = {}
    for fold in range(_FOLDS):
        gate = _regression(seen, {k: v.without(fold) for k, v in learned.items()}, classes, inverse_penalty)
        for (kind, _), shown in learned.items():
            tested.setdefault(kind, []).append(gate.scores(shown.images()[fold::_FOLDS]))
    scores = {kind: np.concatenate(parts) for kind, parts in tested.items()}
    limits = [(known, _KNOWN_FALSE), *((v, MOST_FALSE) for v in unknown.values())]
    of_class = [np.concatenate([v for kind, v in scores.items() if _class(kind) == name]) for name in classes]
    thresholds = _thresholds(limits, of_class) - _ROUNDING
    intercepts = whole.weights[-1:] - thresholds
    whole = replace(whole, weights=np.vstack([whole.weights[:-1], intercepts]))

    return (
        whole,
        {name: _refused(v, thresholds) for name, v in unknown.items()},
        {kind: _refused(v, thresholds) for kind, v in scores.items()},
    )


def _refused(scores: Features, thresholds: Features) -> float:
    """Share of images, scores of shape (images, classes), that are below any threshold."""
    return float((scores < thresholds).any(axis=1).mean())


def _thresholds(limits: Sequence[tuple[Features, float]], strangers: Sequence[Features]) -> Features:
    """As high as limits allow: first as much refused of each class as of any, then each for itself, the least first.

    Args:
        limits: scores of images, shape (images, classes), and the share of them that may be refused.
        strangers: scores of what must be refused, by class.
    """
    # What a gate of cross-validation had nothing to learn of, it cannot refuse: infinite.
    own_of = [scores[np.isfinite(scores[:, own]), own] for own, scores in enumerate(strangers)]
    levels = (
        np.array([np.quantile(v, level) if len(v) else -np.inf for v in own_of], np.float32)
        for level in np.linspace(1, 0, 1001)
    )
    nothing = np.full(len(strangers), -np.inf, np.float32)
    found = next((v for v in levels if all(_refused(s, v) <= share for s, share in limits)), nothing)
    caught = [_refused(scores, found) for scores in strangers]
    for own in np.argsort(caught, kind="stable"):
        highest = []
        for scores, share in limits:
            others = (np.delete(scores, own, axis=1) < np.delete(found, own)).any(axis=1)
            room = int(share * len(scores)) - int(others.sum())
            highest.append(np.sort(scores[~others, own])[max(0, room)])
        found[own] = max(found[own], min(highest))
    return found


def _regression(
    seen: Mapping[str, _Shown], learned: Mapping[Kind, _Shown], classes: Sequence[str], inverse_penalty: float
) -> Gate:
    """Fit lesions against each class of what must be refused; sources of lesions weigh the same.

    So do classes, kinds within a class, and sources of a kind. A class of which there is nothing to learn is not looked
    for.
    """
    learned = {kind: shown for kind, shown in learned.items() if shown.plain}
    kinds = {name: {kind for kind, _ in learned if _class(kind) == name} for name in classes}
    shown = [*seen.values(), *learned.values()]
    shares = [1 / len(seen)] * len(seen)
    for kind, _ in learned:
        sources = sum(other == kind for other, _ in learned)
        shares.append(_KIND / len(kinds[_class(kind)]) / sources)
    weights = np.concatenate([share * part.weights() for share, part in zip(shares, shown, strict=True)])
    truth = [0] * len(seen) + [1 + classes.index(_class(kind)) for kind, _ in learned]
    features = np.concatenate([part.features for part in shown])
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    np.clip((features - mean) / scale, -CLIP, CLIP, out=features)
    axes = _axes(features, weights / weights.sum())
    along, labels = features @ axes, np.repeat(truth, [len(part.features) for part in shown])
    fit = LogisticRegression(C=inverse_penalty, tol=1e-3)
    # Its products are so narrow that two threads take longer than one: they wait for each other.
    with threadpool_limits(1, "blas"):
        fit.fit(along, labels, sample_weight=weights / weights.mean())
    of_each = np.hstack([fit.coef_ @ axes.T, fit.intercept_[:, None]])
    against = np.zeros((len(classes), of_each.shape[1]), np.float32)
    against[:, -1] = np.inf
    against[fit.classes_[1:] - 1] = of_each[:1] - of_each[1:]
    return Gate(mean, scale, against.T)


def _axes(features: Features, weights: NDArray[np.float64]) -> Features:
    """Principal axes of what is learned from, the long ones shortened, shape (features, axes).

    Light and colour make most of what images differ by, and next to nothing of what tells a close-up. Weights that are
    kept small say most along the longest axes; along axes of more even lengths, as much along fine ones. The axes come
    by subspace iteration (Halko et al. 2011), which takes a third of the time of all of them.

    Args:
        features: shape (images, features).
        weights: of images, 1 in all.
    """
    share = weights.astype(np.float32)
    spread = (features - share @ features) * np.sqrt(share)[:, None]
    covariance = spread.T @ spread
    count = min(_AXES, *features.shape)
    space = randomized_range_finder(
        covariance, size=count, n_iter=1, power_iteration_normalizer="QR", random_state=0
    )
    variances, turned = np.linalg.eigh(space.T @ covariance @ space)
    variances = np.maximum(variances, np.finfo(np.float32).eps * variances[-1])  # of what never changes, 0
    shorter = np.sqrt(variances) ** -_EVENED
    as_before = np.trace(covariance) / (shorter**2 @ variances)  # in all; the penalty depends on it
    return np.asarray(space @ turned * shorter * np.sqrt(as_before), np.float32)


def _class(kind: str) -> str:
    """Kinds that are learned as one: pictures of anything, and skin without a lesion."""
    if kind in (SKIN, "bare skin"):
        return "skin"
    return "pictures" if kind in (*KINDS, PHOTOGRAPHS) else kind
