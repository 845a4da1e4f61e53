"""Fitting the recogniser: which images a model can judge, learned from those it was made for and from what is none.

A gate fitted to the clinics at hand refuses another clinic's images for their camera alone. Two remedies: both sides
are shown in other light, scale, sharpness and compression, so that none of these tells them apart; and where the data
have several sources, the threshold is set by leaving each out in turn: it is the highest score, a log odds, below which
gates that never saw a source refuse at most `MOST_FALSE` of it, for each source. What must be refused of that source is
left out with it: a gate that learned a clinic's close-ups without its dermoscopic images would know the clinic by what
to refuse.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from melascope import files, images, manifest
from melascope.images import Pixels
from melascope.learn import artefacts, network
from melascope.learn.augment import augment
from melascope.learn.batches import PlainBatches
from melascope.learn.card import Card
from melascope.learn.pixels import decoded
from melascope.learn.recogniser import CLIP, Recogniser, beside
from melascope.progress import Progress, silent
from melascope.synthetic.clutter import KINDS, clutter

MOST_FALSE = 0.03  # of the dermoscopic images of a source that the gate never saw
_KNOWN_FALSE = 0.01  # of the sources that it knows
_DRAWN = 150  # pictures of each drawn kind
_MOST = 400  # images of any other kind
_LESIONS = 1500  # images a source, at most
_ENOUGH = 50  # images of a source, for it to be left out in turn
_UNITS = 48
_MEMBERS = 5  # networks, whose mean varies less on images unlike those learned from
_PENALTY = 1.0
_ROUNDS = 15  # over all images, of the second network's training
_SPOILT = {"seen": 1, "no lesion": 2}  # changed copies of each image
PHOTOGRAPHS, SKIN = "photographs", "skin beside a lesion"
_EVEN = 30  # most by which the mean luminance of an eighth of a side may differ within bare skin, of 255

Features = NDArray[np.float32]
Kind = tuple[str, str]  # what must be refused: a word for it, and its source if it is one of the data's


def fit(
    model: Path,
    data: Path,
    others: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    tell: Progress = silent,
) -> Card:
    """Fit a gate for a model, write it beside the model, and tell of it in the model's card.

    It learns from the training split, and from the images that the data set left out for not being dermoscopic,
    all but a third of them, on which it is tested; so it is on a third of all else that must be refused.

    Args:
        model: a `.keras` file with its card.
        data: a folder made by `prepare`.
        others: locators of further images that must be refused, by a word for their kind.
        seed: of everything random.
        tell: hears how far it is.

    Returns:
        The new card, whose `gate` has `sha256`, `false_refusals` (share of the dermoscopic images of the validation
        split, by source), `false_refusals_unseen` (the same by a gate that never saw the source; empty with one
        source) and `refused` (share of the tested images, by kind).

    Raises:
        DataError: if an image can no longer be read.
        ModelError: if the model cannot be loaded.
    """
    card = Card.read(model.with_suffix(".json"))
    rng = np.random.default_rng(seed)
    look = _Look(network.load(model), card.input_size, tell)
    table = manifest.read(data)
    used = manifest.usable(table).reset_index(drop=True)
    pixels = decoded(used, card.input_size, data, tell)
    source = _data_set(used).to_numpy()
    seen, held, plain = {}, {}, {}
    for name in np.unique(source):
        inside = source == name
        rows = rng.permutation(np.flatnonzero(inside & (used["split"] == "train").to_numpy()))[:_LESIONS]
        seen[name] = look.at(pixels[rows], rng, _SPOILT["seen"])
        rows = np.flatnonzero(inside & (used["split"] == "validation").to_numpy())
        held[name] = look.at(pixels[rows])
        plain[name] = np.concatenate([held[name], seen[name][: len(seen[name]) // (1 + _SPOILT["seen"])]])
    strangers = _strangers(table, others or {}, card.input_size, rng)
    strangers |= _skin(used, source, card.input_size, rng)
    learned: dict[Kind, Features] = {}
    tested: dict[str, list[Features]] = {}
    for kind, shown in strangers.items():
        third = len(shown) // 3
        tested.setdefault(kind[0], []).append(look.at(shown[:third]))
        learned[kind] = look.at(shown[third:], rng, _SPOILT["no lesion"])
    recogniser, unseen = _fitted(seen, held, plain, learned, seed)
    recogniser.write(beside(model))
    card = replace(
        card,
        gate={
            "sha256": files.sha256(beside(model)),
            "false_refusals": {k: _refused(recogniser, v) for k, v in held.items() if len(v)},
            "false_refusals_unseen": unseen,
            "refused": {
                k: _refused(recogniser, v) for k, parts in tested.items() if len(v := np.concatenate(parts))
            },
        },
    )
    card.write(model.with_suffix(".json"))
    return card


class _Look:
    """What a network sees of images."""

    def __init__(self, net: Any, size: int, tell: Progress) -> None:
        self._net, self._size, self._tell, self._done = network.views(net), size, tell, 0

    def at(
        self, pixels: NDArray[np.uint8], rng: np.random.Generator | None = None, changed: int = 0
    ) -> Features:
        """Features of images, and of so many changed copies of each, shape (images, features)."""
        rows = np.arange(len(pixels))
        shown = [pixels[i : i + 256] for i in range(0, len(rows), 256)]
        if rng is not None:
            shown += [np.stack([_spoil(p, rng) for p in part]) for part in shown for _ in range(changed)]
        found = []
        for part in shown:
            batches = PlainBatches(part, np.arange(len(part)), 64)
            found += [np.asarray(self._net.predict_on_batch(batches[i][0])) for i in range(len(batches))]
            self._done += len(part)
            self._tell("learning what to refuse", self._done, self._done)
        width = self._net.output.shape[1]
        return np.concatenate(found) if found else np.empty((0, width), np.float32)


def _strangers(
    table: pd.DataFrame, others: Mapping[str, Sequence[str]], size: int, rng: np.random.Generator
) -> dict[Kind, NDArray[np.uint8]]:
    """Images that must be refused, by kind."""
    shown = {
        (kind, ""): np.stack(
            [images.fit(clutter(kind, int(rng.integers(2**31))), size) for _ in range(_DRAWN)]
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
    return float(np.ptp(images.fit(pixels, 8) @ np.array([0.299, 0.587, 0.114])))


def _data_set(table: pd.DataFrame) -> "pd.Series[str]":
    return table["source"].astype(str).str.split("/").str[0]  # of none, too


def _crop(rng: np.random.Generator, size: int) -> Pixels:
    """A part of one of two photographs that come with scikit-learn: a temple, a flower."""
    picture = load_sample_images().images[int(rng.integers(2))]
    side = int(rng.integers(60, min(picture.shape[:2])))
    top, left = (int(rng.integers(0, length - side)) for length in picture.shape[:2])
    return images.fit(picture[top : top + side, left : left + side], size)


def _spoil(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Another light, scale, sharpness and compression, often more than training shows."""
    return artefacts.in_camera(augment(pixels, rng, 1.5), rng, 3.0)


def _fitted(
    seen: Mapping[str, Features],
    held: Mapping[str, Features],
    plain: Mapping[str, Features],
    learned: Mapping[Kind, Features],
    seed: int,
) -> tuple[Recogniser, dict[str, float]]:
    """The gate, and the share that it refuses of each source when that is left out.

    Args:
        seen: what is learned from, by source.
        held: images of the sources that are not learned from.
        plain: images of a source as they are, to judge a gate by that has not learned from the source.
        learned: what must be refused.
        seed: of everything random.
    """
    turns = [name for name in seen if len(seen) > 1 and min(len(seen[name]), len(plain[name])) >= _ENOUGH]
    unknown = {
        name: _network(
            {k: v for k, v in seen.items() if k != name},
            {k: v for k, v in learned.items() if k[1] != name},
            seed,
        ).score(plain[name])
        for name in turns
    }
    whole = _network(seen, learned, seed)
    known = np.concatenate([whole.score(held[name] if len(held[name]) else seen[name]) for name in seen])
    limits = [float(np.quantile(scores, MOST_FALSE, method="lower")) for scores in unknown.values()]
    threshold = min([float(np.quantile(known, _KNOWN_FALSE)), *limits])
    return replace(whole, threshold=threshold), {k: float((v < threshold).mean()) for k, v in unknown.items()}


def _network(seen: Mapping[str, Features], learned: Mapping[Kind, Features], seed: int) -> Recogniser:
    """Fit the second network, a mean of `_MEMBERS`; sources weigh the same, and so do both sides.

    Of what is to be refused, images weigh as much as drawings, which are easy to tell, and skin, which the images to be
    judged show too; kinds weigh the same in either.
    """
    parts = [*seen.values(), *learned.values()]
    features = np.concatenate(parts)
    shares = [*(1 / len(seen) / len(part) for part in seen.values())]
    sources = Counter(kind for kind, _ in learned)
    light = {*KINDS, SKIN}
    kinds = Counter(kind in light for kind in sources)
    shares += [
        1 / 2 / kinds[kind in light] / sources[kind] / len(part) for (kind, _), part in learned.items()
    ]
    weights = np.repeat(shares, [len(part) for part in parts])
    truth = np.repeat([1] * len(seen) + [0] * len(learned), [len(part) for part in parts])
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    units, outputs, offset = [], [], 0.0
    for member in range(_MEMBERS):
        rng = np.random.default_rng([seed, member])
        drawn = rng.choice(len(features), len(features), p=weights / weights.sum())
        fitted = MLPClassifier(
            (_UNITS,), alpha=_PENALTY, learning_rate_init=5e-4, max_iter=_ROUNDS, random_state=seed + member
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
            fitted.fit(np.clip((features[drawn] - mean) / scale, -CLIP, CLIP), truth[drawn])
        units.append(np.vstack([fitted.coefs_[0], fitted.intercepts_[0]]))
        outputs.append(fitted.coefs_[1][:, 0] / _MEMBERS)
        offset += float(fitted.intercepts_[1][0]) / _MEMBERS
    # The mean of several networks is one network with all their units.
    hidden, output = np.hstack(units), np.append(np.concatenate(outputs), offset)
    return Recogniser(mean, scale, hidden.astype(np.float32), output.astype(np.float32), 0.0)


def _refused(recogniser: Recogniser, features: Features) -> float:
    return float(1 - recogniser.knows(features).mean())
