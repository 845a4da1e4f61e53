"""A model's probabilities and operating points, fitted anew to another data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope import files, manifest
from melascope.errors import DataError, ModelError
from melascope.evaluate import evaluation
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.learn import fit_decision
from melascope.learn.training import MODEL
from melascope.model.folder import ModelFiles
from melascope.progress import Progress, silent

SPLIT = "validation"


def recalibrate(model: str | Path, data: Path, out: Path, progress: Progress = silent) -> Path:
    """Copy a model with calibration and operating points from the validation split of a data set, without a gate.

    Args:
        model: a run folder, a `.keras` file or a stem, with its `.keras` file.
        data: a folder made by `prepare`.
        out: the run folder to write.
        progress: called with (what, done, total).

    Returns:
        The `.keras` file in `out`.

    Raises:
        DataError: if the split holds no malignant or no benign image.
        ModelError: if the model cannot be used.
    """
    source = ModelFiles.find(model).keras
    if not source.is_file():
        raise ModelError(f"{source}: missing; without it a model cannot be fitted to other data")
    predictor = Predictor.load(model, progress)
    table = manifest.read(data)
    chosen = manifest.usable(table, SPLIT)
    if chosen.empty:
        raise DataError(f"{data}: no usable image in the split {SPLIT}; prepare more data")
    told = evaluation.predict(predictor, chosen, progress)
    told = told[told["status"] != "error"]
    logits = told[[f"logit_{name}" for name in TARGETS]].to_numpy(np.float32)
    learned = [1.0 if name in predictor.card.calibration else np.nan for name in TARGETS]
    truth = manifest.targets(told, TARGETS) * np.array(learned, np.float32)
    card = fit_decision.fitted(
        replace(predictor.card, sensitivity=fit_decision.DEFAULT, gate={}, name=out.name),
        logits,
        truth,
        told["group"].to_numpy(),
        f"{SPLIT} split of data {manifest.content_hash(table)[:12]}",
    )
    path = out / f"{MODEL}.keras"
    files.copy(source, path)
    files.copy(source.with_suffix(".onnx"), path.with_suffix(".onnx"))
    card.write(path.with_suffix(".json"))
    return path
