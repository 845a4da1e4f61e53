"""Which decisions to hand back: ways to measure doubt, compared by the errors they catch at equal referral rate.

`doubt.json` holds `format`, `command`, `model` (identity), `threshold`, `data`, `images`, `resampling`, `errors`
(number of wrong answers at the threshold, of them `missed`), `methods` and `sets`. A method has `name`, `told` (in
words), the figures `area` (under the risk-coverage curve: mean share of wrong answers among those kept, over all
referral rates; El-Yaniv and Wiener 2010), `area_change` (to the first method, paired), `caught` and `missed_caught`
(share of the errors, and of the missed malignant lesions, among what is referred, a figure for each of `RATES`),
and `curve` (`x` share referred, `y` wrong among the rest, `low`, `high`). `sets` tells of the model's conformal
prediction sets: `coverage`, `low`, `high` (as `melascope.model.decision.PredictionSets`), `rows` (for each class
and source the figure `covered`: share whose own answer is not ruled out), and the figures `weak` (share of images),
`wrong_weak` and `wrong_others` (share of wrong answers in either).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import images, intervals, manifest
from melascope.errors import DataError, ImageError
from melascope.evaluate.figure import Measured, mean
from melascope.evaluate.metrics import Floats, Sample, ratio
from melascope.evaluate.predictions import Evaluation
from melascope.images import Pixels
from melascope.infer.predictor import Predictor
from melascope.learn.conformal import Reference
from melascope.model.decision import PredictionSets
from melascope.progress import Progress, silent

FORMAT = 1
NAME = "doubt.json"
RATES = (0.05, 0.1, 0.2, 0.3)
METHODS = {
    "band around one half": "how close the probability is to 0.5",
    "band around the threshold": "how close it is to the operating point",
    "conformal sets": "how far it is from ruling out one of both answers, by the cases of validation",
    "turned images": "how far the probabilities of the image's eight turns and mirrorings spread",
}
_GRID = np.arange(96) / 100  # shares referred; of the last images alone, no curve is steady
_CHUNK = 64


def measure(evaluation: Evaluation, *, seed: int = 0, progress: Progress = silent) -> dict[str, Any]:
    """Compare measures of doubt on an evaluated test split, and write `doubt.json` into the report folder.

    Args:
        evaluation: of a test split; conformal sets are fitted on the validation split of its data set.
        seed: of the resamples.
        progress: called with (what, done, total).

    Returns:
        What `doubt.json` holds.

    Raises:
        DataError: if another split was evaluated, either split lacks a class, no answer is wrong, or an image can no
            longer be read.
        ModelError: if the model cannot be used.
    """
    if evaluation.split != "test":
        raise DataError(
            f"{evaluation.folder}: of the split {evaluation.split}; doubt is measured on the test split"
        )
    test, fitted = evaluation.labelled(), _validation(evaluation)
    predictor = evaluation.predictor(progress)
    threshold = predictor.card.threshold["malignant"]
    plain = [
        predictor.answer(pixels).malignant
        for pixels in _progress(fitted, predictor.card.input_size, progress, "fitting conformal sets")
    ]
    reference = Reference.of(
        np.array(plain, np.float64), fitted["malignant"].to_numpy(np.float64), fitted["group"].to_numpy()
    )
    chances = _turned(predictor, test, progress)
    p, truth = chances[:, 0], test["malignant"].to_numpy(bool)
    called = p >= threshold
    wrong = called != truth
    if not wrong.any():
        raise DataError(
            f"{evaluation.folder}: no answer in the test split is wrong, so no doubt can be measured"
        )
    scores = {
        "band around one half": -np.abs(p - 0.5),
        "band around the threshold": -np.abs(p - threshold),
        "conformal sets": reference.doubt(p),
        "turned images": chances.std(axis=1),
    }
    results = {
        "threshold": threshold,
        "images": {"n": len(test), "n_positive": int(truth.sum()), "fitted": len(fitted)},
        "errors": {"wrong": int(wrong.sum()), "missed": int((wrong & truth).sum())},
        "methods": _measured(scores, p, truth, wrong, test["group"], seed),
        "sets": _sets(predictor.card.prediction_sets, p, called, test, seed),
    }
    return evaluation.write(NAME, FORMAT, seed, results)


def _validation(evaluation: Evaluation) -> pd.DataFrame:
    """The images of the data set's validation split that are known to be malignant or benign."""
    table = manifest.read(evaluation.data)
    if manifest.content_hash(table) != evaluation.metrics["data"]["hash"]:
        raise DataError(f"{evaluation.data}: has changed since it was evaluated; evaluate again")
    known = manifest.usable(table, "validation")
    known = known[known["malignant"].notna()].reset_index(drop=True)
    if known["malignant"].nunique() < 2:
        raise DataError(
            f"{evaluation.data}: malignant and benign images are both needed in the split validation"
        )
    return known


def _progress(table: pd.DataFrame, size: int, progress: Progress, what: str) -> Iterator[Pixels]:
    """The images of a table, as a network of this input size sees them."""
    locators = table["path"].tolist()
    with ThreadPoolExecutor() as pool:
        try:
            for start in range(0, len(locators), _CHUNK):
                yield from pool.map(lambda name: images.load(name, size), locators[start : start + _CHUNK])
                progress(what, min(start + _CHUNK, len(locators)), len(locators))
        except ImageError as error:
            raise DataError(f"{error}; it could be read before: prepare the data set again") from error


def _turned(predictor: Predictor, table: pd.DataFrame, progress: Progress) -> Floats:
    """Probability of malignancy of each image, as it is first, then turned and mirrored, shape (n, 8)."""
    rows = []
    for pixels in _progress(table, predictor.card.input_size, progress, "turning images"):
        views = [np.rot90(side, k) for side in (pixels, pixels[:, ::-1]) for k in range(4)]
        rows.append([predictor.answer(np.ascontiguousarray(view)).malignant for view in views])
    return np.array(rows, np.float64)


def _measured(
    scores: dict[str, Floats],
    p: Floats,
    truth: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    group: "pd.Series[Any]",
    seed: int,
) -> list[dict[str, Any]]:
    sample = Sample.of(truth, p, group)
    place = np.argsort(sample.order)
    orders = {name: np.argsort(-score, kind="stable") for name, score in scores.items()}
    missed = wrong & truth

    def statistics(weights: Floats) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        for name, order in orders.items():
            drawn = weights[:, place[order]]  # most doubtful first
            handed = np.cumsum(drawn, axis=1)
            at = _first(handed, _GRID)
            errors, misses = (np.cumsum(drawn * part[order], axis=1) for part in (wrong, missed))
            risk = ratio(errors[:, -1:] - _at(errors, at), handed[:, -1:] - _at(handed, at))
            found[f"{name}.risk"], found[f"{name}.area"] = risk, np.nanmean(risk, axis=1)
            at = _first(handed, np.array(RATES))
            for kind, counts in (("caught", errors), ("missed", misses)):
                shares = ratio(_at(counts, at), np.repeat(counts[:, -1:], len(RATES), axis=1))
                found.update({f"{name}.{kind}.{rate}": shares[:, i] for i, rate in enumerate(RATES)})
        first = found[f"{next(iter(orders))}.area"]
        return {**found, **{f"{name}.change": found[f"{name}.area"] - first for name in orders}}

    measured = Measured(sample, "malignant", statistics, intervals.RESAMPLES, seed)
    of_wrong, of_missed = wrong[sample.order], missed[sample.order]
    told = []
    for name in orders:
        low, high = intervals.band(measured.draws[f"{name}.risk"])
        curve = {"x": _GRID, "y": measured.found[f"{name}.risk"], "low": low, "high": high}
        told.append(
            {
                "name": name,
                "told": METHODS[name],
                "area": measured.figure(f"{name}.area"),
                "area_change": measured.figure(f"{name}.change"),
                "caught": {f"{r}": measured.figure(f"{name}.caught.{r}", of_wrong) for r in RATES},
                "missed_caught": {f"{r}": measured.figure(f"{name}.missed.{r}", of_missed) for r in RATES},
                "curve": {key: np.round(values, 5).tolist() for key, values in curve.items()},
            }
        )
    return told


def _first(handed: Floats, shares: Floats) -> NDArray[np.intp]:
    """How many images are referred so that their weight is each share of all, shape (resamples, shares)."""
    ends = np.stack([np.searchsorted(row, shares * row[-1] - 1e-9) for row in handed])
    return np.where(shares > 0, ends + 1, 0)


def _at(counts: Floats, taken: NDArray[np.intp]) -> Floats:
    """Counts over the first so many images."""
    return np.asarray(np.take_along_axis(np.pad(counts, ((0, 0), (1, 0))), taken, axis=1))


def _sets(
    sets: PredictionSets, p: Floats, called: NDArray[np.bool_], test: pd.DataFrame, seed: int
) -> dict[str, Any]:
    """What the model's own prediction sets promise, and what they hold."""
    truth, source = test["malignant"].to_numpy(bool), test["source"].str.partition("/")[0]
    covered = np.where(truth, p >= sets.low, p <= sets.high).astype(np.float64)
    weak, wrong = sets.weak(p, called), called != truth
    everyone = np.ones(len(p), dtype=bool)

    def share(values: Floats, of: NDArray[np.bool_]) -> dict[str, Any]:
        return mean(values[of], test["group"][of], seed)

    rows = [
        {"class": name, "source": where, "covered": share(covered, chosen)}
        for where, inside in [
            ("all", everyone),
            *((s, source.eq(s).to_numpy()) for s in sorted(source.unique())),
        ]
        for name, of in (("malignant", truth), ("benign", ~truth))
        if (chosen := inside & of).any()
    ]
    return {
        "coverage": sets.coverage,
        "low": sets.low,
        "high": sets.high,
        "rows": rows,
        "weak": share(weak.astype(np.float64), everyone),
        "wrong_weak": share(wrong.astype(np.float64), weak),
        "wrong_others": share(wrong.astype(np.float64), ~weak),
    }
