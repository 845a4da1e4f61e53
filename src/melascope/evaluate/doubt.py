"""Which decisions to hand back: ways to measure doubt, compared by the errors they catch at equal referral rate.

`doubt.json` holds `format`, `command`, `model` (identity), `threshold`, `data`, `images`, `resampling` and

- `errors`: the number of `wrong` answers at the threshold, and of malignant lesions `missed` among them;
- `methods`: for each a row of `name`, `description`, the figures `area` (under the risk-coverage curve: mean share of
  wrong answers among those kept, over all referral rates; El-Yaniv and Wiener 2010), `area_change` (to the first
  method, paired), `caught` and `missed_caught` (share of the errors, and of the missed malignant lesions, among the
  referred images, a figure for each of `RATES`), and `curve` (`x` share referred, `y` wrong among the rest, `low`,
  `high`);
- `sets`: of the model's conformal prediction sets `coverage`, `low`, `high` (as in
  `melascope.model.decision.PredictionSets`), `rows` (for each class and source the figure `covered`: share whose own
  answer is not ruled out), and the figures `weak` (share of images), `wrong_weak` and `wrong_others` (share of wrong
  answers in either).

The model is asked about turned images and the validation split alone; the probabilities of the test images are those
of `predictions.parquet`.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import images, intervals, manifest
from melascope.arrays import Float64
from melascope.errors import DataError
from melascope.evaluate.caveats import ALL
from melascope.evaluate.figure import Measured, mean
from melascope.evaluate.metrics import Sample, ratio
from melascope.evaluate.predictions import Evaluation, predict
from melascope.images import Pixels
from melascope.infer.predictor import Predictor
from melascope.intervals import Figure
from melascope.learn.conformal import Reference
from melascope.model.decision import PredictionSets
from melascope.progress import Progress, silent

FORMAT = 2
NAME = "doubt.json"
RATES = (0.05, 0.1, 0.2, 0.3)
METHODS = {
    "band around one half": "how close the probability is to 0.5",
    "band around the threshold": "how close it is to the operating point",
    "conformal sets": "how far it is from ruling out one of both answers, by the cases of validation",
    "turned images": "how far the probabilities of the image's eight turns and mirrorings spread",
}
_GRID = np.arange(96) / 100  # shares referred; of the last images alone, no curve is steady


def measure(evaluation: Evaluation, *, seed: int = 0, progress: Progress = silent) -> dict[str, Any]:
    """Compare measures of doubt on an evaluated test split, and write `doubt.json` into the report folder.

    Args:
        evaluation: of the test split, or of all images; conformal sets are fitted on the validation split of its data.
        seed: of the resamples.
        progress: called with (what, done, total).

    Returns:
        What `doubt.json` holds.

    Raises:
        DataError: if the test split was not evaluated, a class is missing, no answer is wrong, or an image can no
            longer be read.
        ModelError: if the model cannot be used.
    """
    if evaluation.split not in ("test", ALL):
        raise DataError(
            f"{evaluation.folder}: of the split {evaluation.split}; doubt is measured on the test split"
        )
    test, predictor = evaluation.labelled("test"), evaluation.predictor(progress)
    threshold = predictor.card.threshold["malignant"]
    truth, p = test["malignant"].to_numpy(bool), test["p_malignant"].to_numpy()
    called = p >= threshold
    wrong = called != truth
    if not wrong.any():
        raise DataError(
            f"{evaluation.folder}: no answer in the test split is wrong, so no doubt can be measured"
        )
    fitted = _validation(evaluation, predictor, progress)
    reference = Reference.of(
        fitted["p_malignant"].to_numpy(),
        fitted["malignant"].to_numpy(np.float64),
        fitted["group"].to_numpy(),
    )
    scores = {
        "band around one half": -np.abs(p - 0.5),
        "band around the threshold": -np.abs(p - threshold),
        "conformal sets": reference.doubt(p),
        "turned images": _turned(predictor, test, progress).std(axis=1),
    }
    results = {
        "threshold": threshold,
        "data": evaluation.origin | {"split": "test"},
        "images": {"n": len(test), "n_positive": int(truth.sum()), "fitted": len(fitted)},
        "errors": {"wrong": int(wrong.sum()), "missed": int((wrong & truth).sum())},
        "methods": _methods(scores, Sample.of(truth, p, test["group"]), wrong, seed),
        "sets": _sets(predictor.card.prediction_sets, p, called, test, seed),
    }
    return evaluation.write(NAME, FORMAT, seed, results)


def _validation(evaluation: Evaluation, predictor: Predictor, progress: Progress) -> pd.DataFrame:
    """Predictions of the data set's validation split; made here, where it was not evaluated."""
    if evaluation.split == ALL:
        return evaluation.labelled("validation")
    table = manifest.read(evaluation.data)
    if manifest.content_hash(table) != evaluation.origin["hash"]:
        raise DataError(f"{evaluation.data}: has changed since it was evaluated; evaluate again")
    known = manifest.usable(table, "validation")
    known = known[known["malignant"].notna()]
    return replace(evaluation, predictions=predict(predictor, known, progress)).labelled("validation")


def _turned(predictor: Predictor, test: pd.DataFrame, progress: Progress) -> Float64:
    """Probability of malignancy of each image, as it was evaluated first, then turned and mirrored, shape (n, 8)."""

    def ask(_: int, pixels: Pixels) -> list[float | None]:
        turned = [np.rot90(side, k) for side in (pixels, pixels[:, ::-1]) for k in range(4)][1:]
        return [predictor.answer(np.ascontiguousarray(view)).malignant for view in turned]

    locators = test["path"].tolist()
    rows = list(images.each(locators, predictor.card.input_size, ask, "turning images", progress))
    return np.column_stack([test["p_malignant"], np.array(rows, np.float64)])


def _methods(
    scores: dict[str, Float64], sample: Sample, wrong: NDArray[np.bool_], seed: int
) -> list[dict[str, Any]]:
    """Risk and errors caught, of each measure of doubt.

    Args:
        scores: doubt of each image, by measure, shape (n,), in the order from which the sample was made.
        sample: the images.
        wrong: whether each image's answer is wrong, shape (n,), in the same order.
        seed: of the resamples.
    """
    place = np.argsort(sample.order)
    orders = {name: np.argsort(-score, kind="stable") for name, score in scores.items()}
    missed = wrong & sample.truth[place]

    def statistics(weights: Float64) -> dict[str, Float64]:
        values: dict[str, Float64] = {}
        for name, order in orders.items():
            drawn = weights[:, place[order]]  # most doubtful first
            handed = np.cumsum(drawn, axis=1)
            at = _first(handed, _GRID)
            errors, misses = (np.cumsum(drawn * part[order], axis=1) for part in (wrong, missed))
            risk = ratio(errors[:, -1:] - _at(errors, at), handed[:, -1:] - _at(handed, at))
            values[f"{name}.risk"], values[f"{name}.area"] = risk, np.nanmean(risk, axis=1)
            at = _first(handed, np.array(RATES))
            for kind, counts in (("caught", errors), ("missed", misses)):
                shares = ratio(_at(counts, at), np.repeat(counts[:, -1:], len(RATES), axis=1))
                values.update({f"{name}.{kind}.{rate}": shares[:, i] for i, rate in enumerate(RATES)})
        first = values[f"{next(iter(orders))}.area"]
        return {**values, **{f"{name}.change": values[f"{name}.area"] - first for name in orders}}

    measured = Measured(sample, "malignant", statistics, seed=seed)
    of_wrong, of_missed = wrong[sample.order], missed[sample.order]
    rows = []
    for name in orders:
        low, high = intervals.band(measured.draws[f"{name}.risk"])
        curve = {"x": _GRID, "y": measured.observed[f"{name}.risk"], "low": low, "high": high}
        rows.append(
            {
                "name": name,
                "description": METHODS[name],
                "area": measured.figure(f"{name}.area"),
                "area_change": measured.figure(f"{name}.change"),
                "caught": {f"{r}": measured.figure(f"{name}.caught.{r}", of_wrong) for r in RATES},
                "missed_caught": {f"{r}": measured.figure(f"{name}.missed.{r}", of_missed) for r in RATES},
                "curve": {key: np.round(values, 5).tolist() for key, values in curve.items()},
            }
        )
    return rows


def _first(handed: Float64, shares: Float64) -> NDArray[np.intp]:
    """How many images are referred so that their weight is each share of all, shape (resamples, shares)."""
    ends = np.stack([np.searchsorted(row, shares * row[-1] - 1e-9) for row in handed])
    return np.where(shares > 0, ends + 1, 0)


def _at(counts: Float64, taken: NDArray[np.intp]) -> Float64:
    """Counts over the first so many images."""
    return np.asarray(np.take_along_axis(np.pad(counts, ((0, 0), (1, 0))), taken, axis=1))


def _sets(
    sets: PredictionSets, p: Float64, called: NDArray[np.bool_], test: pd.DataFrame, seed: int
) -> dict[str, Any]:
    """What the model's own prediction sets promise, and what they hold."""
    truth, source = test["malignant"].to_numpy(bool), manifest.data_set(test["source"])
    covered = np.where(truth, p >= sets.low, p <= sets.high).astype(np.float64)
    weak, wrong = sets.weak(p, called), called != truth
    everyone = np.ones(len(p), dtype=bool)

    def share(values: Float64, of: NDArray[np.bool_]) -> Figure:
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
