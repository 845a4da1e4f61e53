"""Fit a model's calibration, operating points and gate to another data set; its network stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope import files, manifest
from melascope.errors import DataError, ModelError
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.learn import fit_decision
from melascope.learn.training import MODEL, complete
from melascope.model.folder import ModelFiles
from melascope.progress import Progress, silent

SPLIT = "validation"


def recalibrate(
    model: str | Path,
    data: Path,
    out: Path,
    progress: Progress = silent,
    *,
    refuse: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Copy a model with calibration and operating points from the validation split of a data set, and a new gate.

    Args:
        model: a run folder, a `.keras` file or a stem, with its `.keras` file.
        data: a folder made by `prepare`.
        out: the run folder to write.
        progress: called with (what, done, total).
        refuse: locators of further images that the gate must refuse, by kind.

    Returns:
        The `.keras` file in `out`.

    Raises:
        DataError: if the split holds no malignant or no benign image.
        ModelError: if the model cannot be used.
    """
    source = ModelFiles.find(model)
    if not source.keras.is_file():
        raise ModelError(f"{source.keras}: missing; without it a model cannot be fitted to other data")
    predictor = Predictor.load(model, progress)
    table = manifest.read(data)
    chosen = manifest.usable(table, SPLIT)
    if chosen.empty:
        raise DataError(f"{data}: no usable image in the split {SPLIT}; prepare more data")
    logits = [answer.logits for answer in predictor.predict(chosen["path"].tolist(), progress)]
    chosen = chosen[[row is not None for row in logits]]
    calibrated = [1.0 if name in predictor.card.calibration else np.nan for name in TARGETS]
    card = fit_decision.fit(
        replace(predictor.card, sensitivity=fit_decision.DEFAULT, gate={}, name=out.name),
        np.array([row for row in logits if row is not None], np.float32).reshape(-1, len(TARGETS)),
        manifest.targets(chosen, TARGETS) * np.array(calibrated, np.float32),
        chosen["group"].to_numpy(),
        f"{SPLIT} split of data {manifest.content_hash(table)[:12]}",
    )
    target = ModelFiles(out / f"{MODEL}.keras")
    files.copy(source.keras, target.keras)
    if source.onnx.is_file():  # else it is converted again
        files.copy(source.onnx, target.onnx)
    card.write(target.card)
    complete([target.keras], data, 0, progress, refuse)
    return target.keras
