"""A finished evaluation: what `evaluate` wrote into a report folder."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from melascope import files, intervals
from melascope.errors import DataError
from melascope.evaluate.figure import documents
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.progress import Progress, silent
from melascope.quality import Quality

FORMAT = 2
PREDICTIONS, METRICS, PAGE = "predictions.parquet", "metrics.json", "report.html"
_SUBGROUPS = ["age_approx", "sex", "site", "skin_type"]
KEPT = ["image_id", "path", "source", "group", "split", "diagnosis", *TARGETS]
QUALITY = Quality._fields
_NO_LOGITS, _NO_QUALITY = (np.nan,) * len(TARGETS), (None,) * len(QUALITY)
_SAME = ("identity", "threshold", "calibration", "prediction_sets")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A report folder that `evaluate` wrote: predictions, metrics, and the way back to model and data.

    The chapters of a report (`stress`, `lesion`, `doubt`, `cases`) start from it and add their files to the folder.
    """

    folder: Path
    metrics: dict[str, Any]
    """What `metrics.json` holds; see `melascope.evaluate.evaluation`."""
    predictions: pd.DataFrame
    """What `predictions.parquet` holds; see `predict`."""

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read a report folder.

        Raises:
            DataError: if the folder holds no report, or one of another format.
        """
        folder = Path(folder)
        try:
            metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
            predictions = pd.read_parquet(folder / PREDICTIONS).astype(dict.fromkeys(TARGETS, "boolean"))
            if metrics["format"] != FORMAT:
                raise DataError(f"{folder}: a report of format {metrics['format']}; this reads {FORMAT}")
        except FileNotFoundError as error:
            raise DataError(
                f"{folder}: no report here; make one with `melascope evaluate MODEL DATA --out {folder}`"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder}: not a whole report ({error}); evaluate again") from error
        return cls(folder, metrics, predictions)

    @property
    def model(self) -> str:
        """The absolute path of the model: a run folder, a `.keras` file or a stem."""
        return str(self.metrics["model"]["path"])

    @property
    def data(self) -> Path:
        """The data set folder; reports of older versions know it only as the user named it."""
        data = self.metrics["data"]
        return Path(data.get("path") or data["name"])

    @property
    def split(self) -> str:
        """`train`, `validation`, `test` or `all`."""
        return str(self.metrics["data"]["split"])

    def card(self) -> Card:
        """Read the model's card.

        Raises:
            DataError: if the model has changed since it was evaluated.
            ModelError: if it cannot be read.
        """
        return self._unchanged(Card.read(ModelFiles.find(self.model).card))

    def predictor(self, progress: Progress = silent) -> Predictor:
        """Load the model.

        Args:
            progress: called with (what, done, total).

        Raises:
            DataError: if the model has changed since it was evaluated.
            ModelError: if it cannot be used.
        """
        predictor = Predictor.load(self.model, progress)
        self._unchanged(predictor.card)
        return predictor

    @property
    def origin(self) -> dict[str, str]:
        """`name`, `hash` and `split` of the data."""
        return {key: self.metrics["data"][key] for key in ("name", "hash", "split")}

    def labelled(self, split: str | None = None) -> pd.DataFrame:
        """The predictions of images that could be read and are known to be malignant or benign, in their order.

        Args:
            split: to take; None for all that were evaluated.

        Raises:
            DataError: if either class is missing.
        """
        table = self.predictions
        known = table[table["p_malignant"].notna() & table["malignant"].notna()]
        known = known if split is None else known[known["split"] == split]
        if known["malignant"].nunique() < 2:
            where = f"{self.folder}, split {split or self.split}"
            raise DataError(f"{where}: malignant and benign images are both needed")
        return known.reset_index(drop=True)

    def write(self, name: str, version: int, seed: int, results: dict[str, Any]) -> dict[str, Any]:
        """Write the JSON file of a chapter into the folder, and return what it holds.

        Args:
            name: of the file.
            version: of its format.
            seed: of its resamples.
            results: of the chapter; JSON types and figures, no NaN; they go before the common fields.
        """
        document = {
            "format": version,
            "command": command(),
            "model": self.metrics["model"]["identity"],
            "data": self.origin,
            "resampling": {"resamples": intervals.RESAMPLES, "level": intervals.LEVEL, "seed": seed},
            **documents(results),
        }
        files.write_json(self.folder / name, document)
        return document

    def _unchanged(self, card: Card) -> Card:
        now = json.loads(json.dumps({"identity": card.identity, **card.document()}))  # as the report keeps it
        if any(now[name] != self.metrics["model"][name] for name in _SAME):
            raise DataError(f"{self.folder}: its model has changed since; evaluate again")
        return card


def predict(predictor: Predictor, table: pd.DataFrame, progress: Progress = silent) -> pd.DataFrame:
    """Run a model over the images of a manifest.

    Returns:
        A row for each image, in the table's order: image_id, path, source, group, split, diagnosis,
        malignant, melanoma (truth), p_malignant, p_melanoma (calibrated probability, NaN where the image
        could not be read or the target was not learned), logit_malignant, logit_melanoma (before calibration), status,
        reason, the columns of `QUALITY` (missing where the image could not be read), and subgroups.
    """
    rows = []
    for answer in predictor.predict(table["path"].tolist()):
        logits = _NO_LOGITS if answer.logits is None else answer.logits.tolist()
        answered = answer.malignant, answer.melanoma, *logits, answer.status, answer.reason
        rows.append((*answered, *(answer.quality or _NO_QUALITY)))
        progress("predicting", len(rows), len(table))
    numbers = [f"{what}_{name}" for what in ("p", "logit") for name in TARGETS]
    predicted = pd.DataFrame(rows, columns=[*numbers, "status", "reason", *QUALITY])
    types = dict.fromkeys((*numbers, *QUALITY), "float64") | {"width": "Int64", "height": "Int64"}
    predicted = predicted.astype({**types, "status": str, "reason": "string"})
    parts = (table[KEPT].reset_index(drop=True), predicted, table[_SUBGROUPS].reset_index(drop=True))
    return pd.concat(parts, axis=1)


def command() -> str:
    """The `melascope` command that this process runs, for the record; `Python` where it runs another program.

    >>> command()
    'Python'
    """
    program, *words = sys.argv
    by_module = Path(program).parts[-2:] == ("melascope", "__main__.py")
    return shlex.join(["melascope", *words]) if by_module or Path(program).stem == "melascope" else "Python"
