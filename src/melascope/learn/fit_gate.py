"""Train the gate that refuses images which are not dermoscopy.

A gate that is fitted to the clinics at hand refuses another clinic's images for their camera alone. Two things are
done against that:

- All images are also shown in other light and scale. These copies have little weight: the difference between a
  close-up and dermoscopy is fine, and strong changes hide it.
- Where the data have several sources, each is left out in turn, and its images are scored by a gate that never met it.
  Thresholds are as high as they can be while at most `MAX_FALSE_UNSEEN` of each such source is refused. Images of a
  source that must be refused are left out with it: a gate that knows a clinic by its close-ups alone would refuse the
  clinic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_range_finder
from threadpoolctl import threadpool_limits

from melascope import files
from melascope.images import Pixels
from melascope.learn.augment import augment
from melascope.learn.gate_examples import PHOTOGRAPHS, SKIN, Examples, Kind
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.model.gate import CLIP, Gate
from melascope.progress import Progress, silent
from melascope.synthetic.clutter import KINDS

MAX_FALSE_UNSEEN = 0.03  # share of the lesions of a source that the gate never met
_MAX_FALSE_KNOWN = 0.01  # the same for the sources that it knows
_MIN_LEFT_OUT = 50  # images of a source, for it to be left out in turn
_MAX_AXES = 1536
_EVENING = 0.7  # of the lengths of axes: 0 leaves standard deviations as they are, 1 makes all alike
# scikit-learn's C. Where sources are left out in turn, gates that go by cameras fail; with one source, none can be.
_INVERSE_PENALTY, _INVERSE_PENALTY_OF_ONE_SOURCE = 6e-5, 1e-3
_FOLDS = 10  # of the images that must be refused
_ROUNDING = 1e-4  # the score of an image may differ by this with the order of its sums
_KIND_WEIGHT = 0.5  # of a class that must be refused; lesions together weigh 1

Features = NDArray[np.float32]
Change = Callable[[Pixels, np.random.Generator], Pixels]
GateFeatures = Callable[[NDArray[np.uint8]], Features]
"""Features of images of the network's input size S: (N, S, S, 3) to (N, features)."""


def _in_other_light(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return augment(pixels, rng, artefacts=False)


# Changes that make the copies of each image, and the weight of all copies, where the images weigh 1. Only lesions get
# artefacts: a scale, dark corners, gel, hair and ink should not speak against an image.
_LESION_COPIES: tuple[list[Change], float] = ([augment], 1.0)
_OTHER_COPIES: tuple[list[Change], float] = ([_in_other_light] * 3, 0.2)


@dataclass(frozen=True)
class Shown:
    """Features of images, followed by those of their changed copies, all images once for each kind of copy."""

    features: Features
    """Shape (images and copies, features)."""
    count: int
    """Images that are not copies."""
    copies_weight: float
    """Weight of all copies, where all images weigh 1."""

    def images(self) -> Features:
        """Features of the images alone."""
        return self.features[: self.count]

    def without(self, fold: int) -> Self:
        """All but every tenth image, from the one numbered `fold`, and the copies of those."""
        image = np.r_[: self.count, np.arange(len(self.features) - self.count) % self.count]
        kept = image % _FOLDS != fold
        return replace(self, features=self.features[kept], count=int(kept[: self.count].sum()))

    def weights(self) -> NDArray[np.float64]:
        """Of each row; their sum is 1."""
        copies = len(self.features) - self.count
        weights = np.r_[
            np.full(self.count, 1 / self.count), np.full(copies, self.copies_weight / max(1, copies))
        ]
        return np.asarray(weights / weights.sum())


Lesions = Mapping[str, Shown]  # by source
ToRefuse = Mapping[Kind, Shown]


def fit(model: Path, features: GateFeatures, examples: Examples, progress: Progress = silent) -> Card:
    """Fit a gate for a model, write it beside the model, and describe it in the model's card.

    The share of images that it rightly refuses comes from cross-validation, at the final thresholds.

    Args:
        model: a `.keras` file with its card.
        features: of this model; the very ones that the gate will be given.
        examples: of the model's input size.
        progress: called with (what, done, total).

    Returns:
        The new card, whose `gate` has `sha256`, `false_refusals` (share of the dermoscopic images of the validation
        split, by source), `false_refusals_unseen` (the same by a gate that never saw the source; empty with one
        source) and `refused` (share of what must be refused, by kind, each tenth by a gate that never saw it).
    """
    rng, done = np.random.default_rng([examples.seed, 1]), 0  # not the numbers that chose the examples

    def extract(pixels: NDArray[np.uint8]) -> Features:
        nonlocal done
        extracted = features(pixels)
        done += len(extracted)
        progress("features for the gate", done, done)
        return extracted

    def show(pixels: NDArray[np.uint8], copies: tuple[Sequence[Change], float]) -> Shown:
        changes, weight = copies
        parts = [extract(pixels)]
        for change in changes:
            # Of all at once, copies would take gigabytes.
            few = (pixels[i : i + 256] for i in range(0, len(pixels), 256))
            parts += [extract(np.stack([change(image, rng) for image in part])) for part in few]
        return Shown(np.concatenate(parts), len(pixels), weight)

    lesions = {source: show(examples.pixels[rows], _LESION_COPIES) for source, rows in examples.train.items()}
    held_out = {source: extract(examples.pixels[rows]) for source, rows in examples.held_out.items()}
    to_refuse = {kind: show(pixels, _OTHER_COPIES) for kind, pixels in examples.to_refuse.items()}
    gate, unseen, shares = fit_to_features(lesions, held_out, to_refuse)
    stored = ModelFiles(model)
    gate.write(stored.gate)
    known = {source: float(1 - gate.knows(v).mean()) for source, v in held_out.items() if len(v)}
    card = replace(
        Card.read(stored.card),
        gate={
            "sha256": files.sha256(stored.gate),
            "false_refusals": known,
            "false_refusals_unseen": unseen,
            "refused": shares,
        },
    )
    card.write(stored.card)
    return card


def fit_to_features(
    lesions: Lesions, held_out: Mapping[str, Features], to_refuse: ToRefuse
) -> tuple[Gate, dict[str, float], dict[str, float]]:
    """Fit a gate to features.

    Args:
        lesions: to learn from, by source.
        held_out: features of other lesions of all sources.
        to_refuse: images that must be refused, by kind.

    Returns:
        The gate; the share of each source that a gate without that source refuses; and the share of each kind that
        gates which did not learn from these images refuse.
    """
    classes = sorted({_class(kind) for kind, _ in to_refuse})
    inverse_penalty = _INVERSE_PENALTY if len(lesions) > 1 else _INVERSE_PENALTY_OF_ONE_SOURCE
    gate = _regression(lesions, to_refuse, classes, inverse_penalty)
    known = np.concatenate(
        [gate.scores(held_out[k] if len(held_out[k]) else v.images()) for k, v in lesions.items()]
    )
    unseen = {}
    for source, shown in lesions.items():
        images = np.concatenate([held_out[source], shown.images()])
        if len(lesions) > 1 and min(shown.count, len(images)) >= _MIN_LEFT_OUT:
            left = without_source(source, lesions, to_refuse)
            unseen[source] = _regression(*left, classes, inverse_penalty).scores(images)
    tested: dict[str, list[Features]] = {}
    for fold in range(_FOLDS):
        others = {kind: shown.without(fold) for kind, shown in to_refuse.items()}
        blind = _regression(lesions, others, classes, inverse_penalty)
        for (kind, _), shown in to_refuse.items():
            tested.setdefault(kind, []).append(blind.scores(shown.images()[fold::_FOLDS]))
    scores = {kind: np.concatenate(parts) for kind, parts in tested.items()}
    limits = [(known, _MAX_FALSE_KNOWN), *((v, MAX_FALSE_UNSEEN) for v in unseen.values())]
    by_class = [np.concatenate([v for kind, v in scores.items() if _class(kind) == name]) for name in classes]
    thresholds = fit_thresholds(limits, by_class) - _ROUNDING
    intercepts = gate.weights[-1:] - thresholds
    return (
        replace(gate, weights=np.vstack([gate.weights[:-1], intercepts])),
        {source: refused(v, thresholds) for source, v in unseen.items()},
        {kind: refused(v, thresholds) for kind, v in scores.items()},
    )


def without_source(source: str, lesions: Lesions, to_refuse: ToRefuse) -> tuple[Lesions, ToRefuse]:
    """What is left to learn from without a source: neither its lesions nor its images that must be refused."""
    return (
        {name: shown for name, shown in lesions.items() if name != source},
        {kind: shown for kind, shown in to_refuse.items() if kind[1] != source},
    )


def refused(scores: Features, thresholds: Features) -> float:
    """Share of images, scores of shape (images, classes), that are below any threshold, shape (classes,)."""
    return float((scores < thresholds).any(axis=1).mean())


def fit_thresholds(limits: Sequence[tuple[Features, float]], to_refuse: Sequence[Features]) -> Features:
    """Set a threshold for each class, as high as limits allow.

    First all thresholds rise together, so that the same share of each class is refused. Then each rises alone, that of
    the least refused class first.

    Args:
        limits: scores of lesions, shape (images, classes), and the share of them that may be refused.
        to_refuse: scores of the images that must be refused, shape (images, classes), for each class.

    Returns:
        Shape (classes,).
    """
    # Scores are infinite where a gate of cross-validation had nothing to learn of a class.
    own_scores = [scores[np.isfinite(scores[:, own]), own] for own, scores in enumerate(to_refuse)]
    levels = (
        np.array([np.quantile(v, level) if len(v) else -np.inf for v in own_scores], np.float32)
        for level in np.linspace(1, 0, 1001)
    )
    none = np.full(len(to_refuse), -np.inf, np.float32)
    thresholds = next((v for v in levels if all(refused(s, v) <= share for s, share in limits)), none)
    caught = [refused(scores, thresholds) for scores in to_refuse]
    for own in np.argsort(caught, kind="stable"):
        highest = []
        for scores, share in limits:
            others = (np.delete(scores, own, axis=1) < np.delete(thresholds, own)).any(axis=1)
            room = int(share * len(scores)) - int(others.sum())
            highest.append(np.sort(scores[~others, own])[max(0, room)])
        thresholds[own] = max(thresholds[own], min(highest))
    return thresholds


def _regression(
    lesions: Lesions, to_refuse: ToRefuse, classes: Sequence[str], inverse_penalty: float
) -> Gate:
    """Fit lesions against each class that must be refused; the gate has thresholds of 0.

    Sources of lesions weigh the same; so do classes, kinds within a class, and sources of a kind. A class without
    examples gets an infinite score.
    """
    to_refuse = {kind: shown for kind, shown in to_refuse.items() if shown.count}
    kinds = {name: {kind for kind, _ in to_refuse if _class(kind) == name} for name in classes}
    shown = [*lesions.values(), *to_refuse.values()]
    shares = [1 / len(lesions)] * len(lesions)
    for kind, _ in to_refuse:
        sources = sum(other == kind for other, _ in to_refuse)
        shares.append(_KIND_WEIGHT / len(kinds[_class(kind)]) / sources)
    weights = np.concatenate([share * part.weights() for share, part in zip(shares, shown, strict=True)])
    truth = [0] * len(lesions) + [1 + classes.index(_class(kind)) for kind, _ in to_refuse]
    features = np.concatenate([part.features for part in shown])
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    np.clip((features - mean) / scale, -CLIP, CLIP, out=features)
    axes = principal_axes(features, weights / weights.sum())
    along, labels = features @ axes, np.repeat(truth, [len(part.features) for part in shown])
    model = LogisticRegression(C=inverse_penalty, tol=1e-3)
    # Its products are so narrow that two threads take longer than one: they wait for each other.
    with threadpool_limits(1, "blas"):
        model.fit(along, labels, sample_weight=weights / weights.mean())
    of_each = np.hstack([model.coef_ @ axes.T, model.intercept_[:, None]])
    against = np.zeros((len(classes), of_each.shape[1]), np.float32)
    against[:, -1] = np.inf
    against[model.classes_[1:] - 1] = of_each[:1] - of_each[1:]
    return Gate(mean, scale, against.T)


def principal_axes(features: Features, weights: NDArray[np.float64]) -> Features:
    """Principal axes of features, the long ones shortened, shape (features, axes).

    Light and colour make most of the differences between images, and next to none between a close-up and dermoscopy.
    A penalty on weights favours long axes; along axes of more even lengths, fine differences count as well. The axes
    come from subspace iteration (Halko et al. 2011), in a third of the time of all eigenvectors.

    Args:
        features: shape (images, features).
        weights: of images; their sum is 1.
    """
    share = weights.astype(np.float32)
    spread = (features - share @ features) * np.sqrt(share)[:, None]
    covariance = spread.T @ spread
    count = min(_MAX_AXES, *features.shape)
    space = randomized_range_finder(
        covariance, size=count, n_iter=1, power_iteration_normalizer="QR", random_state=0
    )
    variances, turned = np.linalg.eigh(space.T @ covariance @ space)
    variances = np.maximum(variances, np.finfo(np.float32).eps * variances[-1])  # a feature may be constant
    shorter = np.sqrt(variances) ** -_EVENING
    total_kept = np.trace(covariance) / (shorter**2 @ variances)  # the penalty depends on the total variance
    return np.asarray(space @ turned * shorter * np.sqrt(total_kept), np.float32)


def _class(kind: str) -> str:
    """Kinds that are learned as one: pictures of anything, and skin without a lesion."""
    if kind in (SKIN, "bare skin"):
        return "skin"
    return "pictures" if kind in (*KINDS, PHOTOGRAPHS) else kind
