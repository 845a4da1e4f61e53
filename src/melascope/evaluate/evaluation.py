"""The run of an evaluation: a model's predictions over a split, and how far they can be trusted.

`metrics.json` holds

- `format`, `created`, `command` (how to repeat it), `versions`;
- `warnings`: sentences that a reader must see before any figure;
- `model`: `identity`, `path`, `name`, `architecture`, `keras_sha256`, `input_size`, `threshold`,
  `calibration` and `calibrated_on` (see the card), `sensitivity` (that the threshold was chosen for), `confidence`,
  `data_hash` (of its training data) and `license`;
- `data`: `name` (as the user named it), `path`, `hash`, `split`, `same_as_training` (true, false or null: not known);
- `resampling`: `resamples`, `level`, `seed`, `unit`;
- `images`: how many were `asked`, `read`, `unreadable`, `refused`, in how many `groups`, and of whom;
- `unreadable`: `path` and `reason` of each image that could not be read;
- `targets`: for `malignant` and `melanoma` what `melascope.evaluate.targets.assess_target` returns, and for
  `malignant` `melanomas_caught`.
"""

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from melascope import __version__, files, manifest
from melascope.errors import DataError
from melascope.evaluate.caveats import ALL, Origin, caveats
from melascope.evaluate.figure import Question, documents
from melascope.evaluate.predictions import FORMAT, METRICS, PAGE, PREDICTIONS, Evaluation, command, predict
from melascope.evaluate.targets import assess_target, melanomas_caught
from melascope.infer.predictor import Predictor
from melascope.intervals import LEVEL, RESAMPLES
from melascope.labels import NOT_RECORDED, TARGETS
from melascope.model.card import Card
from melascope.model.decision import CONFIDENCE
from melascope.progress import Progress, silent

_PACKAGES = ("numpy", "onnxruntime", "pandas", "pillow")


def evaluate(
    model: str | Path,
    data: Path,
    out: Path,
    split: str = "test",
    seed: int = 0,
    progress: Progress = silent,
    prevalence: float | None = None,
) -> Evaluation:
    """Run a model over a split and write `predictions.parquet` and `metrics.json`.

    Args:
        model: a run folder, a `.keras` file or a stem.
        data: a folder made by `prepare`.
        out: the report folder.
        split: `train`, `validation`, `test` or `all`.
        seed: of the resamples.
        progress: called with (what, done, total).
        prevalence: share of malignant lesions where the model is to be used, for predictive values.

    Returns:
        The report folder, read.

    Raises:
        DataError: if there is nothing to evaluate.
        ModelError: if the model cannot be used.
    """
    table = manifest.read(data)
    origin = Origin(
        str(data), manifest.content_hash(table), split, manifest.allows_leaks(data), str(data.absolute())
    )
    chosen = manifest.usable(table, None if split == ALL else split)
    if chosen.empty:
        raise DataError(
            f"{data}: no usable image in the split {split}; prepare more data or name another --split"
        )
    if not chosen[list(TARGETS)].notna().to_numpy().any():
        raise DataError(
            f"{data}: no image of the split {split} has a known label, so nothing can be measured"
        )
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: a file; name a folder to write the report into")
    predictor = Predictor.load(model)
    predictions = predict(predictor, chosen, progress)
    if (predictions["status"] == "error").all():
        raise DataError(
            f"{data}: none of the {len(chosen)} images could be read ({predictions['reason'].iloc[0]})"
        )
    path = str(Path(model).absolute())
    metrics = assess(predictions, predictor.card, origin, path, RESAMPLES, seed, progress, prevalence)
    with files.replacing(out / PREDICTIONS) as beside:
        for name in (PAGE, METRICS):  # figures never stand beside the predictions of another run
            (out / name).unlink(missing_ok=True)
        predictions.to_parquet(beside, index=False)
    files.write_json(out / METRICS, metrics)
    return Evaluation.read(out)


def assess(
    predictions: pd.DataFrame,
    card: Card,
    origin: Origin,
    path: str = "",
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = silent,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Measure predictions.

    Args:
        predictions: as `predict` returns them.
        card: of the model that made them.
        origin: what they were made on.
        path: of the model.
        resamples: for the intervals.
        seed: of the resamples.
        progress: called with (what, done, total).
        prevalence: share of malignant lesions where the model is to be used, for predictive values.

    Returns:
        What `metrics.json` holds; no value in it is NaN.
    """
    targets = {}
    for i, target in enumerate(TARGETS):
        shared = prevalence if target == "malignant" else None
        targets[target] = assess_target(predictions, card, target, resamples, seed, shared)
        progress("resampling", i + 1, len(TARGETS))
    question = Question("malignant", card.threshold["malignant"], resamples, seed)
    targets["malignant"]["melanomas_caught"] = melanomas_caught(predictions, question)
    broken = predictions[predictions["status"] == "error"]
    metrics: dict[str, Any] = documents(
        {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command(),
            "warnings": caveats(predictions, card, origin, targets),
            "model": _model(card, path),
            "data": {
                **{name: getattr(origin, name) for name in ("name", "path", "hash", "split")},
                "same_as_training": card.data["hash"] == origin.hash if card.data.get("hash") else None,
            },
            "resampling": {
                "resamples": resamples,
                "level": LEVEL,
                "seed": seed,
                "unit": "group: images linked by patient, lesion or duplicate",
            },
            "images": _images(predictions),
            "unreadable": broken[["path", "reason"]].fillna("").to_dict("records"),
            "targets": targets,
            "versions": {
                "python": platform.python_version(),
                "melascope": __version__,
                **{name: version(name) for name in _PACKAGES},
            },
        }
    )
    return metrics


def _model(card: Card, path: str) -> dict[str, Any]:
    names = "identity name architecture keras_sha256 input_size threshold sensitivity license"
    return {
        **{name: getattr(card, name) for name in names.split()},
        "path": path,
        "calibration": {name: asdict(one) for name, one in card.calibration.items()},
        "calibrated_on": dict(card.calibrated_on),
        "prediction_sets": asdict(card.prediction_sets),
        "confidence": CONFIDENCE,
        "data_hash": card.data.get("hash"),
    }


def _images(predictions: pd.DataFrame) -> dict[str, Any]:
    """How many images there are, and of whom."""
    read = predictions[predictions["status"] != "error"]
    ages = read["age_approx"].dropna()
    return {
        "asked": len(predictions),
        "read": len(read),
        "unreadable": len(predictions) - len(read),
        "refused": int((read["status"] == "refused").sum()),
        "groups": int(read["group"].nunique()),
        "sources": _counts(read["source"]),
        "diagnoses": _counts(read["diagnosis"]),
        "age": {
            "known": len(ages),
            "quartiles": [float(ages.quantile(q)) for q in (0.25, 0.5, 0.75)] if len(ages) else None,
        },
        **{name: _counts(read[name]) for name in ("sex", "site", "skin_type")},
    }


def _counts(column: "pd.Series[Any]") -> dict[str, int]:
    """How often each word occurs, most frequent first, then `NOT_RECORDED`, if any.

    Sources differ in capitals; of spellings that do, the most frequent stands for all.
    """
    counts: dict[str, int] = {}
    spelling: dict[str, str] = {}
    for word, n in column.value_counts().items():
        name = spelling.setdefault(str(word).casefold(), str(word))
        counts[name] = counts.get(name, 0) + int(n)
    counts = dict(sorted(counts.items(), key=lambda item: -item[1]))
    missing = int(column.isna().sum())
    return {**counts, NOT_RECORDED: missing} if missing else counts
