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
import pandas as pd

from melascope import files, manifest
from melascope.errors import DataError
from melascope.evaluate.evaluation import evaluate
from melascope.evaluate.figure import documents
from melascope.intervals import Figure
from melascope.labels import TARGETS
from melascope.learn import training
from melascope.learn.settings import Settings
from melascope.model.card import Card
from melascope.progress import Progress, silent

NAME = "hold-out.json"
SHARED = "in one group with an image of the source that is held out"
STAGES = (training.BASE, training.MODEL)


def run(data: Path, out: Path, settings: Settings, progress: Progress = silent) -> dict[str, Any]:
    """Train and test once for each source; what is finished in `out` is not done again.

    Args:
        data: a folder made by `prepare`, with at least two sources.
        out: folder for everything; `OUT/SOURCE/{data,run,report,base}`.
        settings: of every training.
        progress: called with (what, done, total).

    Returns:
        What `hold-out.json` holds.

    Raises:
        DataError: if there is but one source, or the others do not suffice to train on.
        ModelError: if backbone, size and weights do not fit together.
    """
    table = manifest.read(data)
    metrics: dict[str, dict[str, Any]] = {}
    for source in sources(table):
        folder = out / re.sub(r"[^\w.-]+", "-", source)
        manifest.write(without(table, source), folder / "data")
        metrics[source] = {}
        for path in training.train_networks(folder / "data", folder / "run", settings, progress):
            report = folder / ("report" if path.stem == training.MODEL else path.stem)
            metrics[source][path.stem] = evaluate(path, folder / "data", report, progress=progress).metrics
    results = {
        "settings": asdict(settings),
        "data": manifest.content_hash(table),
        "targets": {target: documents(_rows(metrics, target)) for target in TARGETS},
    }
    files.write_json(out / NAME, results)
    return results


def sources(table: pd.DataFrame) -> list[str]:
    """The sources to hold out: the clinics of one data set (`SET/CLINIC`) count as one."""
    return sorted(manifest.data_set(manifest.usable(table)["source"]).unique())


def without(table: pd.DataFrame, held_out: str) -> pd.DataFrame:
    """Split a table again: one source is the test split, and the test images of the others are trained on.

    Images of other sources that share a patient, a lesion or a copy with the source that is held out are excluded.

    Args:
        table: a manifest.
        held_out: one of `sources`.

    Raises:
        DataError: if there is no such source, or no other.
    """
    names = sources(table)
    if held_out not in names or len(names) < 2:
        raise DataError(f"{held_out}: cannot be held out of a data set with the sources {', '.join(names)}")
    changed = table.copy()
    used = changed["excluded"] == ""
    test = used & (manifest.data_set(changed["source"]) == held_out)
    linked = used & ~test & changed["group"].isin(changed.loc[test, "group"])
    changed.loc[used & (changed["split"] == "test"), "split"] = "train"
    changed.loc[test, "split"] = "test"
    changed.loc[linked, "excluded"] = SHARED
    return changed


def read(path: Path, card: Card) -> dict[str, Any]:
    """Read the results of a model's recipe.

    Args:
        path: of `hold-out.json`.
        card: of the model.

    Raises:
        DataError: if the file is not such results, or of another recipe or other data than the model.
    """
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = results["data"] == card.data.get("hash")
        # Weights are a path here, and a name with its hash there.
        ours, theirs = (
            {**s, "weights": None} for s in (card.training.get("settings", {}), results["settings"])
        )
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the figures of `melascope hold-out` ({error})") from error
    if not same or ours != theirs:
        raise DataError(f"{path}: of another recipe, or of other data, than {card.identity}")
    return results


def _rows(metrics: dict[str, dict[str, Any]], target: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for source, stages in metrics.items():
        targets = {stage: of_stage["targets"][target] for stage, of_stage in stages.items()}
        counts = next(iter(targets.values()))
        row = {"source": source, "n": counts["n"], "n_positive": counts["n_positive"]}
        rows.append(row | {stage: of_stage.get("roc_auc") for stage, of_stage in targets.items()})
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


def _mean(held: list[dict[str, Any] | None]) -> Figure | None:
    """Mean of independent figures; its interval from theirs, as if they were normal."""
    figures = [Figure.of(document) for document in held]
    ends = np.array([(f.value, f.low, f.high) for f in figures], np.float64)
    if np.isnan(ends).any():
        return None
    value, half = ends[:, 0].mean(), np.sqrt(((ends[:, 2] - ends[:, 1]) ** 2).sum()) / 2 / len(ends)
    return Figure(float(value), float(value - half), float(min(1, value + half)))
