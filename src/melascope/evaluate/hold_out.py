"""Leave-one-source-out validation: how a recipe does in a clinic that its training never saw.

`hold-out.json` holds `settings`, `data` (the data set's hash) and `targets`: for each target a row a source with
`source`, `n`, `n_positive`, and ROC-AUC with interval of the `base` model (frozen backbone) and of the `model`
(fine-tuned); the last row, `mean`, is their mean, each source counting once.
"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from melascope import files, manifest
from melascope.errors import DataError
from melascope.evaluate import evaluation
from melascope.labels import TARGETS
from melascope.learn import training
from melascope.learn.settings import Settings
from melascope.model.card import Card
from melascope.prepare import folds
from melascope.progress import Progress, silent

NAME = "hold-out.json"
STAGES = (training.BASE, training.MODEL)


def transfer(data: Path, out: Path, settings: Settings, progress: Progress = silent) -> dict[str, Any]:
    """Train and test once for each source; what is finished in `out` is not done again.

    Args:
        data: a folder made by `prepare`, with at least two sources.
        out: folder for everything; `OUT/SOURCE/{data,run,report,base}`.
        settings: of every training.
        progress: called with (what, done, total).

    Returns:
        What `hold-out.json` holds.

    Raises:
        DataError: if there is but one source, or one cannot be learned from without another.
        ModelError: if backbone, size and weights do not fit together.
    """
    table = manifest.read(data)
    sources = folds.data_sets(table)
    measured: dict[str, dict[str, Any]] = {}
    for source in sources:
        folder = out / re.sub(r"[^\w.-]+", "-", source)
        manifest.write(folds.hold_out(table, source), folder / "data")
        measured[source] = {}
        for path in training.train_networks(folder / "data", folder / "run", settings, progress):
            report = folder / ("report" if path.stem == training.MODEL else path.stem)
            measured[source][path.stem] = evaluation.evaluate(
                path, folder / "data", report, progress=progress
            ).metrics
    found = {
        "settings": asdict(settings),
        "data": manifest.content_hash(table),
        "targets": {target: _rows(measured, target) for target in TARGETS},
    }
    files.write_text(out / NAME, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def read(path: Path, card: Card) -> dict[str, Any]:
    """Read what `hold-out.json` tells of a model's recipe.

    Raises:
        DataError: if it is no such file, or of another recipe or other data than the model.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = found["data"] == card.data.get("hash")
        # Weights are a path here, and a name with its hash there.
        ours, theirs = (
            {**s, "weights": None} for s in (card.training.get("settings", {}), found["settings"])
        )
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the figures of `melascope hold-out` ({error})") from error
    if not same or ours != theirs:
        raise DataError(f"{path}: of another recipe, or of other data, than {card.identity}")
    return found


def _rows(measured: dict[str, dict[str, Any]], target: str) -> list[dict[str, Any]]:
    rows = []
    for source, stages in measured.items():
        any_stage = next(iter(stages.values()))["targets"][target]
        row = {"source": source, "n": any_stage["n"], "n_positive": any_stage["n_positive"]}
        rows.append(row | {stage: m["targets"][target].get("roc_auc") for stage, m in stages.items()})
    stages_made = [stage for stage in STAGES if any(stage in row for row in rows)]
    return [
        *rows,
        {
            "source": "mean",
            "n": sum(row["n"] for row in rows),
            "n_positive": sum(row["n_positive"] for row in rows),
            **{stage: _mean([row.get(stage) for row in rows]) for stage in stages_made},
        },
    ]


def _mean(figures: list[dict[str, Any] | None]) -> dict[str, float] | None:
    """Mean of independent figures; its interval from theirs, as if they were normal."""
    if any(figure is None or figure["low"] is None for figure in figures):
        return None
    values = np.array([[figure["value"], figure["low"], figure["high"]] for figure in figures if figure])
    value = values[:, 0].mean()
    half = np.sqrt(((values[:, 2] - values[:, 1]) ** 2).sum()) / 2 / len(values)
    return {"value": float(value), "low": float(value - half), "high": float(min(1, value + half))}
