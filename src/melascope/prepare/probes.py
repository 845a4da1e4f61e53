"""Shortcut probes: can the label be guessed without seeing the lesion?

Each probe is a simple model that sees only what must not matter: image corners, the border with the centre hidden,
or source, size and file. It is cross-validated by group, so that it cannot profit from copies. A network trained
on the same data can learn all that a probe can, and would be praised for it (Bissoto et al. 2019; Winkler et al.
2019).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from melascope import intervals
from melascope.arrays import Float64
from melascope.prepare.scan import Scan
from melascope.progress import Progress, silent

MAX_IMAGES = 6_000  # of a probe; more would cost time and hardly narrow the interval
_FOLDS = 5
_RESAMPLES = 500
_RING = 4  # pixels of 32 at each side: an eighth

NAMES = {
    "corners": "the four corners of the image",
    "border": "the border of the image",
    "file": "source, size and file, without any pixel",
}


def probe(
    rows: pd.DataFrame, scan: Scan, target: str, seed: int = 0, progress: Progress = silent
) -> list[dict[str, Any]]:
    """Run every probe.

    Args:
        rows: usable images: `group`, `source`, `path` and the target; the index says where in the scan.
        scan: of all images.
        target: `malignant` or `melanoma`.
        seed: of the folds, the sample and the resamples.
        progress: called with (what, done, total).

    Returns:
        For each probe `name`, `what` it sees, `roc_auc` and `within_sources` (over pairs of images of one source),
        both as `value`, `low` and `high` (95 % interval, resampling groups), `n`, `n_positive` and `sampled`
        (whether not all images were used). Empty if a class has too few groups to cross-validate.
    """
    known = rows[rows[target].notna()]
    sampled = len(known) > MAX_IMAGES
    if sampled:
        known = known.sample(MAX_IMAGES, random_state=seed).sort_index()
    truth = known[target].to_numpy(dtype=bool)
    group, source = pd.factorize(known["group"])[0], pd.factorize(known["source"])[0]
    if min(len(np.unique(group[truth])), len(np.unique(group[~truth]))) < 2 * _FOLDS:
        return []
    at = known.index.to_numpy()
    visible: Mapping[str, Callable[[], tuple[Float64, Any]]] = {
        "corners": lambda: (scan.features["corners"][at].astype(np.float64), _boosting(seed)),
        "border": lambda: (_border(scan.features["whole"][at]), _linear()),
        "file": lambda: (_file(known, scan), _boosting(seed)),
    }
    results = []
    for i, (name, make) in enumerate(visible.items()):
        features, model = make()
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
        score = cross_val_predict(model, features, truth, groups=group, cv=folds, method="predict_proba")[
            :, 1
        ]

        def measure(weights: Float64, score: Float64 = score) -> dict[str, Float64]:
            return {
                "roc_auc": roc_auc(score, truth, weights),
                "within_sources": roc_auc(score, truth, weights, source),
            }

        values, draws = measure(np.ones((1, len(truth)))), intervals.draws(measure, group, _RESAMPLES, seed)
        results.append(
            {"name": name, "what": NAMES[name]}
            | {key: _figure(float(values[key][0]), draws[key]) for key in values}
            | {"n": len(truth), "n_positive": int(truth.sum()), "sampled": sampled}
        )
        progress(f"shortcut probes for {target}", i + 1, len(visible))
    return results


def roc_auc(
    score: Float64, truth: NDArray[np.bool_], weights: Float64, source: NDArray[np.intp] | None = None
) -> Float64:
    """ROC-AUC under each row of weights: the share of pairs in the right order, ties counted half.

    Args:
        score: shape (n,).
        truth: shape (n,).
        weights: shape (resamples, n).
        source: numbers, shape (n,): then only pairs within a source count, so that recognising the source
            gains nothing.

    Returns:
        Shape (resamples,); NaN where no pair has weight.
    """
    parts = [slice(None)] if source is None else [source == s for s in np.unique(source)]
    right, pairs = np.sum([_pairs(score[part], truth[part], weights[:, part]) for part in parts], axis=0)
    share: Float64 = np.divide(right, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return share


def _pairs(score: Float64, truth: NDArray[np.bool_], weights: Float64) -> tuple[Float64, Float64]:
    """Weight of the pairs in the right order, and of all pairs."""
    _, rank = np.unique(score, return_inverse=True)
    order = np.argsort(rank, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(rank[order]), 1))  # last place of each run of ties

    def counted(of: NDArray[np.bool_]) -> Float64:
        return np.diff(np.cumsum(weights[:, order] * of[order], axis=1)[:, ends], axis=1, prepend=0)

    positive, negative = counted(truth), counted(~truth)
    lower = np.cumsum(negative, axis=1) - negative
    right = (positive * (lower + negative / 2)).sum(axis=1)
    return right, positive.sum(axis=1) * negative.sum(axis=1)


def _figure(value: float, draws: Float64) -> dict[str, Any]:
    figures = (value, *intervals.interval(draws)[:2])
    rounded = [None if x is None or np.isnan(x) else round(x, 4) for x in figures]
    return dict(zip(("value", "low", "high"), rounded, strict=True))


def _boosting(seed: int) -> Any:
    return HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=seed)


def _linear() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))


def _border(whole: NDArray[np.uint8]) -> Float64:
    """The outermost eighth on each side, at half the resolution, as one row an image."""
    n, side = whole.shape[:2]
    small = whole.reshape(n, side // 2, 2, side // 2, 2, 3).mean(axis=(2, 4))
    ring = np.ones(small.shape[1:3], dtype=bool)
    width = _RING // 2
    ring[width:-width, width:-width] = False
    return np.asarray(small[:, ring].reshape(n, -1), dtype=np.float64)


def _file(rows: pd.DataFrame, scan: Scan) -> Float64:
    read = scan.table.loc[rows.index]
    pixels = (read["width"] * read["height"]).astype(float)
    numbers = pd.DataFrame(
        {
            "width": read["width"].astype(float),
            "height": read["height"].astype(float),
            "aspect": read["width"] / read["height"],
            "bytes a pixel": read["n_bytes"] / pixels,
            "format": pd.factorize(read["format"], sort=True)[0].astype(float),
        }
    )
    sources = pd.get_dummies(rows["source"], dtype=float)
    return np.asarray(pd.concat([numbers, sources], axis=1).to_numpy(dtype=np.float64))
