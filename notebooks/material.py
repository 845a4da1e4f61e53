"""What the notebooks start from: data, models and reports, each made once and kept in a work folder.

The environment chooses, under names that begin with `MELASCOPE_NOTEBOOK_`; `tools/notebooks.py` sets them:

- `DATA`: `synthetic` (drawn lesions, offline, in minutes; the default) or the folder with the public files;
- `WEIGHTS`: ImageNet weights of MobileNetV2, a file or `imagenet`; for real data only;
- `WORK`: where to keep what is made;
- `TRIALS`, `EPOCHS`, `SIZE`, `SHARE`: the budget of the random search: trials, most epochs of one, side of the images
  in pixels, share of the images.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))

from models import SOURCES

from likeness import write_likeness
from melascope import manifest
from melascope.evaluate import doubt, lesion
from melascope.evaluate.evaluation import evaluate
from melascope.evaluate.predictions import METRICS, Evaluation
from melascope.infer.predictor import Predictor
from melascope.learn.settings import Artefacts, Settings
from melascope.model.folder import SHIPPED
from melascope.prepare.pipeline import prepare
from melascope.prepare.splits import Options
from melascope.prepare.tree import open_trees
from melascope.synthetic import write_archive

if TYPE_CHECKING:
    from melascope.learn.search import Search

HOUSE = Path(__file__).resolve().parents[1]
BACKBONE = "MobileNetV2"
FROZEN, FINE_TUNED = "frozen", "fine-tuned"
_DRAWN = 200  # images


def _given(name: str, default: str) -> str:
    return os.environ.get(f"MELASCOPE_NOTEBOOK_{name}") or default


def _path(word: str) -> Path:
    return (HOUSE / word).resolve()


_DATA = _given("DATA", "synthetic")
REAL = _DATA != "synthetic"
WORK = _path(_given("WORK", f"runs/notebooks/{'real' if REAL else 'synthetic'}"))
_WEIGHTS = _given("WEIGHTS", "imagenet") if REAL else "models/base_model.keras"
WEIGHTS = _WEIGHTS if _WEIGHTS == "imagenet" else str(_path(_WEIGHTS))
"""Of the backbone before any fine-tuning; for drawn lesions, those in the shipped base model."""
SIZE = 160 if REAL else 64  # pixels
SHARE = float(_given("SHARE", "1"))
ABOUT = (
    "*This run is on real images: HAM10000, ISIC 2017, MILK10k, and for the audit those of the published model.*"
    if REAL
    else "*This run is on drawn lesions. It shows that the notebook runs; its figures say nothing about real lesions.*"
)


def data() -> Path:
    """The data set folder: real dermoscopic images, or drawn ones with planted faults."""
    if REAL:
        return _prepared([_path(_DATA) / name for name in SOURCES], WORK / "data")
    truth = WORK / "raw" / "truth" / "truth.json"
    if not truth.is_file():
        write_archive(WORK / "raw", _DRAWN)
    return _prepared(json.loads(truth.read_text(encoding="utf-8"))["sources"], WORK / "data")


def audited_source() -> Path:
    """The data that the published 86 % came from, or a drawn likeness of it."""
    return _path(_DATA) / "neural_network_data.zip" if REAL else write_likeness(WORK / "likeness")


def audited() -> Path:
    """The data set folder of `audited_source`, in the splits that it came with, leaks and all."""
    return _prepared([audited_source()], WORK / "audited", keep_splits=True, allow_leaks=True)


def _prepared(sources: list[Any], out: Path, **options: bool) -> Path:
    if not (out / manifest.NAME).is_file():
        prepare(sources, out, Options(**options), jobs=1)
    return out


def part(name: str, **most: int) -> Path:
    """A data set folder with at most so many images of each split named; whole groups are drawn at random."""
    table = manifest.read(data())
    for split, images in most.items():
        rows = manifest.usable(table, split)
        sizes = rows.groupby("group").size().sample(frac=1, random_state=0)
        taken = sizes.index[sizes.cumsum() <= images]
        table.loc[rows.index[~rows["group"].isin(taken)], "excluded"] = "not drawn"
    out = WORK / name
    out.mkdir(parents=True, exist_ok=True)
    manifest.write(table, out)
    return out


def head_only(source: Path, name: str) -> Path:
    """A model whose backbone is frozen: a linear head, fitted to a data set."""
    from melascope.learn import training

    settings = Settings(backbone=BACKBONE, weights=WEIGHTS, size=SIZE, epochs=0)
    return _converted(training.train_networks(source, WORK / name, settings))[0]


def model(stage: str = FINE_TUNED) -> Path:
    """A model of the data: the shipped one, or one of drawn lesions."""
    if REAL:
        return SHIPPED if stage == FINE_TUNED else SHIPPED.with_name("base_model")
    from melascope.learn import training

    settings = Settings(
        backbone=BACKBONE, weights=WEIGHTS, size=SIZE, epochs=2, rate=5e-4, artefacts=Artefacts.NONE
    )
    base, tuned = _converted(training.train_networks(data(), WORK / "run", settings))
    return base if stage == FROZEN else tuned


def _converted(models: list[Path]) -> list[Path]:
    """Make what predictions run from here, where the backend is loaded: half the time of a process of its own."""
    from melascope.learn import convert
    from melascope.learn.backend import keras

    for path in models:
        converted = path.with_suffix(".onnx")
        if keras.config.backend() == "torch" and not converted.is_file():
            convert.convert(path, converted)
    return models


def report(stage: str = FINE_TUNED) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Predictions and metrics of a model on the test split."""
    evaluation = _evaluation(stage)
    return evaluation.predictions, evaluation.metrics


def _evaluation(stage: str) -> Evaluation:
    folder = report_folder(stage)
    if _of_another(folder / METRICS, stage):
        return evaluate(model(stage), data(), folder)
    return Evaluation.read(folder)


def doubted() -> dict[str, Any]:
    """What `melascope doubt` finds of the fine-tuned model."""
    folder = report_folder(FINE_TUNED)
    if _of_another(folder / doubt.NAME, FINE_TUNED):
        doubt.measure(_evaluation(FINE_TUNED))
    return _read(folder / doubt.NAME)


def attributed() -> dict[str, Any]:
    """What `melascope attribution` finds of the fine-tuned model, with the masks of HAM10000 or the drawn ones."""
    folder = report_folder(FINE_TUNED)
    if _of_another(folder / lesion.NAME, FINE_TUNED):
        lesion.measure(_evaluation(FINE_TUNED), masks(), images=2000 if REAL else 20)
    return _read(folder / lesion.NAME)


def masks() -> list[str]:
    """Locators of lesion masks, named by image id."""
    where = _path(_DATA) / "HAM10000_lesion_masks.zip" if REAL else WORK / "raw" / "truth"
    data()
    return [mask.locator for tree in open_trees(where) for mask in (*tree.images, *tree.passed_over)]


def asked() -> "Search":
    """The random search, within the budget."""
    from melascope.learn.search import Search

    return Search(
        Settings(
            backbone=BACKBONE,
            weights=WEIGHTS,
            size=int(_given("SIZE", "64" if REAL else "32")),
            epochs=(epochs := int(_given("EPOCHS", "6" if REAL else "2"))),
            patience=epochs,
            augmentation=1.5,
            artefacts=Artefacts.NONE,
            unfrozen=0.65,
        ),
        names=("rate", "dropout", "epochs"),
        trials=int(_given("TRIALS", "8" if REAL else "3")),
    )


def searched() -> Path:
    """The data set folder that the search learns from."""
    if SHARE == 1:
        return data()
    counts = manifest.usable(manifest.read(data()))["split"].value_counts()
    return part("share", **{split: int(SHARE * counts[split]) for split in ("train", "validation")})


def report_folder(stage: str) -> Path:
    """Where the report of a model is kept."""
    return WORK / f"report-{stage}"


def _of_another(path: Path, stage: str) -> bool:
    """Whether a report is missing, or tells of another model or data."""
    if not path.is_file():
        return True
    found = _read(path)
    identity = found["model"]["identity"] if isinstance(found["model"], dict) else found["model"]
    told = identity, found["data"]["hash"]
    return told != (Predictor.load(model(stage)).card.identity, manifest.content_hash(manifest.read(data())))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
