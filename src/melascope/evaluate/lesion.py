"""What the answers rest on: the lesion, or what surrounds it; and whether heat maps say so.

`lesion.json` holds `format`, `command`, `model` (identity), `data`, `images`, and

- `parts`: for each target the ROC-AUC on `whole` images, with the lesion `hidden` under surrounding skin, and on the
  lesion `alone`, its surroundings one colour, and `rest`: of what the whole image has above chance, the share that is
  left without the lesion (Bissoto et al. 2019 ask so);
- `refused`: the share of each of these that the model refuses to judge: of images without their lesion, best all;
- `maps`: rows of `part` (all, then by truth and by right or wrong), `n`, `without_heat`, and the figures `inside`
  (share of the heat that lies in the lesion), `area` (share of the image that does: what a map that knows nothing
  would reach), and `hit` (how often the hottest place is in it, the pointing game of Zhang et al. 2018);
- `faithful` and `randomised`: see `melascope.evaluate.sanity`.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import files, intervals
from melascope.errors import DataError
from melascope.evaluate.figure import Measured, mean
from melascope.evaluate.hiding import Mask, alone, hidden
from melascope.evaluate.metrics import Floats, Ranked, Sample, ratio
from melascope.evaluate.predictions import Evaluation
from melascope.evaluate.sanity import curves, faithful, randomised
from melascope.explain.cam import heat_map
from melascope.images import Pixels, load, square
from melascope.infer.answer import Answer
from melascope.labels import TARGETS, WORDS
from melascope.progress import Progress, silent

FORMAT = 1
NAME = "lesion.json"
SIDE = 224
TOLD = {"whole": "whole image", "hidden": "lesion painted over", "alone": "lesion alone"}
PARTS = tuple(TOLD)
_MAP = 112  # pixels of a heat map's side when it is compared with a mask
_FAITHFUL = 150  # images whose curves are drawn: each costs 44 answers
_RANDOMISED = 64
_ENDINGS = ("", "_segmentation", "_Segmentation", "_mask")
_CHUNK = 32


def masks_of(locators: list[str]) -> dict[str, str]:
    """Locators of masks by image id, which names them: `ISIC_0000000_segmentation.png`, or `ISIC_0000000.png`."""
    found: dict[str, str] = {}
    for locator in locators:
        stem = locator.replace(files.MEMBER, "/").rpartition("/")[2].rpartition(".")[0]
        for ending in _ENDINGS:
            if stem.endswith(ending):
                found.setdefault(stem.removesuffix(ending), locator)
    return found


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
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(known))[:images])
    chosen = known.iloc[rows].reset_index(drop=True)
    if chosen.empty:
        raise DataError(
            f"{evaluation.folder}: no image of the split {evaluation.split} has a mask; masks are named by image id"
        )
    predictor = evaluation.predictor(progress)

    def look(i: int) -> tuple[list[Answer], Mask, NDArray[np.float32] | None, dict[str, Any]]:
        own = np.random.default_rng([seed, i])
        pixels = load(chosen["path"][i], SIDE)
        mask = load(by_id[chosen["image_id"][i]], SIDE)[..., 0] > 127
        shown = {"whole": pixels, "hidden": hidden(pixels, mask, own), "alone": alone(pixels, mask)}
        answers = [predictor.answer(shown[part]) for part in PARTS]
        cam = np.asarray(answers[0].heat)[TARGETS.index("malignant")]
        drawn = curves(predictor, pixels, cam, own) if i < _FAITHFUL else None
        return answers, mask, drawn, {"mask": mask, "cam": cam, **shown}

    chances = np.empty((len(PARTS), len(chosen), len(TARGETS)))
    refused = np.empty((len(PARTS), len(chosen)))
    maps: dict[str, list[float]] = {"inside": [], "area": [], "hit": []}
    drawn: list[NDArray[np.float32]] = []
    examples: list[dict[str, Any]] = []
    kept: list[Pixels] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(chosen), _CHUNK):
            for i, (answers, mask, curve, shown) in enumerate(
                pool.map(look, range(start, min(start + _CHUNK, len(chosen)))), start=start
            ):
                for k, answer in enumerate(answers):
                    chances[k, i] = [np.nan if p is None else p for p in (answer.malignant, answer.melanoma)]
                    refused[k, i] = answer.status == "refused"
                for name, value in _overlap(shown["cam"], mask).items():
                    maps[name].append(value)
                if curve is not None:
                    drawn.append(curve)
                if len(kept) < _RANDOMISED:
                    kept.append(shown["whole"])
                if len(examples) < 12 and i % max(1, len(chosen) // 12) == 0:
                    truth = chosen["malignant"][i]
                    about = {
                        "image_id": chosen["image_id"][i],
                        "malignant": None if pd.isna(truth) else bool(truth),
                    }
                    examples.append({**about, **shown, "p": chances[:, i, 0].tolist()})
            progress("hiding lesions", min(start + _CHUNK, len(chosen)), len(chosen))
    called = chances[0, :, 0] >= predictor.card.threshold["malignant"]
    results = {
        "images": {"n": len(chosen), "of": len(known), "groups": int(chosen["group"].nunique())},
        "parts": {
            target: _parts(chances[:, :, k], chosen, target, seed)
            for k, target in enumerate(TARGETS)
            if target in predictor.card.calibration
        },
        "refused": {
            part: mean(of_part, chosen["group"], seed) for part, of_part in zip(PARTS, refused, strict=True)
        },
        "maps": _maps(pd.DataFrame(maps), chosen, called, seed),
        "faithful": faithful(np.array(drawn), chosen["group"].iloc[: len(drawn)], seed),
        "randomised": randomised(Path(evaluation.model), kept, predictor, seed),
    }
    return evaluation.write(NAME, FORMAT, seed, results), examples


def _overlap(cam: NDArray[np.float32], mask: Mask) -> dict[str, float]:
    """How much of a heat map lies in the lesion; NaN where there is no heat."""
    heat = heat_map(cam, _MAP)
    small = square(mask.astype(np.uint8) * 255, _MAP) > 127
    total = float(heat.sum())
    return {
        "inside": float(heat[small].sum()) / total if total else np.nan,
        "area": float(small.mean()),
        "hit": float(small.ravel()[heat.argmax()]) if total else np.nan,
    }


def _parts(chances: Floats, chosen: pd.DataFrame, target: str, seed: int) -> dict[str, Any]:
    known = chosen[target].notna().to_numpy()
    truth = chosen[target][known].astype(bool).to_numpy()
    told: dict[str, Any] = {"n": int(known.sum()), "n_positive": int(truth.sum())}
    if not 0 < truth.sum() < len(truth):
        return {**told, "reason": f"no image is {WORDS[target][0 if truth.any() else 1]}"}
    group = chosen["group"][known]
    samples = [Sample.of(truth, p[known], group) for p in chances]

    def statistics(weights: Floats) -> dict[str, Floats]:
        of = {
            part: Ranked.of(sample, weights[:, samples[0].weights_of(sample)]).roc_auc()
            for part, sample in zip(PARTS, samples, strict=True)
        }
        return {**of, "rest": ratio(of["hidden"] - 0.5, of["whole"] - 0.5)}

    measured = Measured(samples[0], target, statistics, intervals.RESAMPLES, seed)
    return {**told, "reason": None, **{name: measured.figure(name) for name in (*PARTS, "rest")}}


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
        rows_of = part & heated
        row: dict[str, Any] = {
            "part": name,
            "n": int(rows_of.sum()),
            "without_heat": int((part & ~heated).sum()),
        }
        for column in ("inside", "area", "hit"):
            row[column] = mean(maps[column][rows_of].to_numpy(), chosen["group"][rows_of], seed)
        rows.append(row)
    return rows
