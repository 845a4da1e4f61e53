"""What the answers rest on: the lesion or its surroundings; and whether heat maps show it.

`lesion.json` holds `format`, `command`, `model` (identity), `data`, `images`, and

- `parts`: for each target the ROC-AUC on `whole` images, with the lesion `hidden` under surrounding skin, and on the
  lesion `alone`, its surroundings one colour, and `rest`: the share of the whole image's gain over chance that is
  left without the lesion (as in Bissoto et al. 2019);
- `refused`: the share of each of these that the model refuses: of images without their lesion, best all;
- `maps`: rows of `part` (all, then by truth and by right or wrong), `n`, `without_heat`, and the figures `inside`
  (share of the heat that lies in the lesion), `area` (share of the image that does: the expectation for a random
  map), and `hit` (how often the hottest place is in it, the pointing game of Zhang et al. 2018);
- `faithful` and `randomised`: see `melascope.evaluate.sanity`.

The model is asked about whole images too, since `predictions.parquet` holds no heat maps.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import files
from melascope.arrays import Float64
from melascope.errors import DataError
from melascope.evaluate.figure import Measured, mean
from melascope.evaluate.hiding import Mask, alone, hidden
from melascope.evaluate.metrics import Ranked, Sample, ratio
from melascope.evaluate.predictions import Evaluation
from melascope.evaluate.sanity import curves, faithful, randomised
from melascope.explain.cam import heat_map
from melascope.images import Pixels, each, load, square
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS, WORDS
from melascope.progress import Progress, silent

FORMAT = 1
NAME = "lesion.json"
SIDE = 224
PARTS = {"whole": "whole image", "hidden": "lesion painted over", "alone": "lesion alone"}
CURVES = 150  # images whose deletion and insertion curves are drawn: each costs 44 answers
_MAP_SIDE = 112  # pixels of a heat map when it is compared with a mask
_RANDOMISED = 64  # images whose maps are compared with those of shuffled networks
_EXAMPLES = 12
_ENDINGS = ("", "_segmentation", "_Segmentation", "_mask")


def masks_of(locators: list[str]) -> dict[str, str]:
    """Locators of masks by image id, which names them: `ISIC_0000000_segmentation.png`, or `ISIC_0000000.png`."""
    by_id: dict[str, str] = {}
    for locator in locators:
        stem = locator.replace(files.MEMBER, "/").rpartition("/")[2].rpartition(".")[0]
        for ending in _ENDINGS:
            if stem.endswith(ending):
                by_id.setdefault(stem.removesuffix(ending), locator)
    return by_id


def measure(
    evaluation: Evaluation,
    masks: list[str],
    *,
    images: int = 2000,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measure what the answers of an evaluation rest on, and write `lesion.json` into its folder.

    Args:
        evaluation: of images with masks.
        masks: locators of masks of the lesions, white where the lesion is, with the framing of their images.
        images: how many to use; of more, so many are drawn.
        seed: of everything random.
        progress: called with (what, done, total).

    Returns:
        What `lesion.json` holds, and examples: `image_id`, `malignant`, `whole`, `hidden`, `alone`, `mask`,
        `cam` and the probabilities `p`, one for each of `PARTS`.

    Raises:
        DataError: if no evaluated image has a mask.
        ModelError: if the model cannot be used.
    """
    by_id = masks_of(masks)
    table = evaluation.predictions
    known = table[(table["status"] != "error") & table["image_id"].isin(list(by_id))]
    rows = np.sort(np.random.default_rng(seed).permutation(len(known))[:images])
    chosen = known.iloc[rows].reset_index(drop=True)
    if chosen.empty:
        raise DataError(
            f"{evaluation.folder}: no image of the split {evaluation.split} has a mask; masks are named by image id"
        )
    predictor = evaluation.predictor(progress)
    shown = set(range(0, len(chosen), max(1, len(chosen) // _EXAMPLES))[:_EXAMPLES])

    def ask(i: int, pixels: Pixels) -> _Asked:
        mask = load(by_id[chosen["image_id"][i]], SIDE)[..., 0] > 127
        return _asked(predictor, i, pixels, mask, seed, keep=i in shown or i < _RANDOMISED)

    asked = list(each(chosen["path"].tolist(), SIDE, ask, "hiding lesions", progress))
    p, refused = (np.array([getattr(one, name) for one in asked], np.float64) for name in ("p", "refused"))
    called = p[:, 0, 0] >= predictor.card.threshold["malignant"]
    drawn = [one.curves for one in asked[:CURVES]]
    results = {
        "images": {"n": len(chosen), "of": len(known), "groups": int(chosen["group"].nunique())},
        "parts": {
            target: _parts(p[:, :, k].T, chosen, target, seed)
            for k, target in enumerate(TARGETS)
            if target in predictor.card.calibration
        },
        "refused": {part: mean(refused[:, k], chosen["group"], seed) for k, part in enumerate(PARTS)},
        "maps": _maps(pd.DataFrame([one.overlap for one in asked]), chosen, called, seed),
        "faithful": faithful(np.array(drawn), chosen["group"].iloc[: len(drawn)], seed),
        "randomised": randomised(
            Path(evaluation.model), [one.shown["whole"] for one in asked[:_RANDOMISED]], predictor, seed
        ),
    }
    rows_of = chosen.to_dict("records")
    examples = [_example(rows_of[i], asked[i]) for i in sorted(shown)]
    return evaluation.write(NAME, FORMAT, seed, results), examples


@dataclass(frozen=True)
class _Asked:
    """What an image, the same without its lesion, and its lesion alone gave."""

    p: list[list[float]]
    """Probability of each target, for each of `PARTS`; NaN where the model did not learn it."""
    refused: list[bool]
    """For each of `PARTS`."""
    overlap: dict[str, float]
    curves: NDArray[np.float32] | None
    shown: dict[str, Any]
    """The pixels of each of `PARTS`, `mask` and `cam`, of images that are kept."""


def _asked(predictor: Predictor, i: int, pixels: Pixels, mask: Mask, seed: int, *, keep: bool) -> _Asked:
    rng = np.random.default_rng([seed, i])
    parts = {"whole": pixels, "hidden": hidden(pixels, mask, rng), "alone": alone(pixels, mask)}
    answers = [predictor.answer(parts[part]) for part in PARTS]
    cam = np.asarray(answers[0].heat)[TARGETS.index("malignant")]
    return _Asked(
        [[np.nan if p is None else p for p in (answer.malignant, answer.melanoma)] for answer in answers],
        [answer.status == "refused" for answer in answers],
        _overlap(cam, mask),
        curves(predictor, pixels, cam, rng) if i < CURVES else None,
        {"mask": mask, "cam": cam, **parts} if keep else {},
    )


def _example(row: Mapping[Hashable, Any], asked: _Asked) -> dict[str, Any]:
    malignant = None if pd.isna(row["malignant"]) else bool(row["malignant"])
    p = [of_part[TARGETS.index("malignant")] for of_part in asked.p]
    return {"image_id": row["image_id"], "malignant": malignant, **asked.shown, "p": p}


def _overlap(cam: NDArray[np.float32], mask: Mask) -> dict[str, float]:
    """How much of a heat map lies in the lesion; NaN where there is no heat."""
    heat = heat_map(cam, _MAP_SIDE)
    small = square(mask.astype(np.uint8) * 255, _MAP_SIDE) > 127
    total = float(heat.sum())
    return {
        "inside": float(heat[small].sum()) / total if total else np.nan,
        "area": float(small.mean()),
        "hit": float(small.ravel()[heat.argmax()]) if total else np.nan,
    }


def _parts(chances: Float64, chosen: pd.DataFrame, target: str, seed: int) -> dict[str, Any]:
    known = chosen[target].notna().to_numpy()
    truth = chosen[target][known].astype(bool).to_numpy()
    counts: dict[str, Any] = {"n": int(known.sum()), "n_positive": int(truth.sum())}
    if not 0 < truth.sum() < len(truth):
        return {**counts, "reason": f"no image is {WORDS[target][0 if truth.any() else 1]}"}
    group = chosen["group"][known]
    samples = [Sample.of(truth, p[known], group) for p in chances]

    def statistics(weights: Float64) -> dict[str, Float64]:
        of = {
            part: Ranked.of(sample, weights[:, samples[0].weights_of(sample)]).roc_auc()
            for part, sample in zip(PARTS, samples, strict=True)
        }
        return {**of, "rest": ratio(of["hidden"] - 0.5, of["whole"] - 0.5)}

    measured = Measured(samples[0], target, statistics, seed=seed)
    return {**counts, "reason": None, **{name: measured.figure(name) for name in (*PARTS, "rest")}}


def _maps(
    maps: pd.DataFrame, chosen: pd.DataFrame, called: NDArray[np.bool_], seed: int
) -> list[dict[str, Any]]:
    truth = chosen["malignant"]
    known = truth.notna().to_numpy()
    malignant = truth.fillna(False).to_numpy(bool)
    parts = {
        "all images": np.ones(len(chosen), dtype=bool),
        "malignant, caught": known & malignant & called,
        "malignant, missed": known & malignant & ~called,
        "benign, left alone": known & ~malignant & ~called,
        "benign, false alarm": known & ~malignant & called,
    }
    heated = maps["inside"].notna().to_numpy()
    rows = []
    for name, part in parts.items():
        hot = part & heated
        group = chosen["group"][hot]
        means = {c: mean(maps[c][hot].to_numpy(), group, seed) for c in ("inside", "area", "hit")}
        rows.append({"part": name, "n": int(hot.sum()), "without_heat": int((part & ~heated).sum()), **means})
    return rows
