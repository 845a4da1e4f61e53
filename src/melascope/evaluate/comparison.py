"""Two models on the same images: what one gains over the other, with an interval over the same resamples."""

from typing import Any

import pandas as pd

from melascope import intervals
from melascope.evaluate.figure import Measured, sample_of
from melascope.evaluate.metrics import Floats, Ranked


def roc_auc_gain(first: pd.DataFrame, second: pd.DataFrame, target: str, seed: int = 0) -> dict[str, Any]:
    """ROC-AUC of the second model minus that of the first.

    Both are measured on each resample, so what makes an image hard for both cancels out: the interval is narrower
    than two intervals side by side would suggest.

    Args:
        first: predictions of a model, as `melascope.evaluate.evaluation.predict` returns them.
        second: those of another, of the same images in the same order.
        target: `malignant` or `melanoma`.
        seed: of the resamples.

    Returns:
        A figure, over the images whose target is known and that both models could read.

    Raises:
        ValueError: if the images are not the same.
    """
    if first["path"].tolist() != second["path"].tolist():
        raise ValueError("predictions of different images cannot be compared")
    known = first[target].notna() & first[f"p_{target}"].notna() & second[f"p_{target}"].notna()
    before, after = (sample_of(predictions[known], target) for predictions in (first, second))
    columns = before.weights_of(after)

    def statistics(weights: Floats) -> dict[str, Floats]:
        reached = Ranked.of(after, weights[:, columns]).roc_auc()
        return {"gain": reached - Ranked.of(before, weights).roc_auc()}

    return Measured(before, target, statistics, intervals.RESAMPLES, seed).figure("gain")
