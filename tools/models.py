"""Make the models that are shipped, from raw data to `models/`: `make models`.

Prepares, trains, evaluates and copies; finished steps are not repeated. `docs/models.md` is written from the figures
of this run.
"""

import argparse
import io
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL.JpegImagePlugin import JpegImageFile

from melascope import files
from melascope.intervals import Figure
from melascope.model.folder import ModelFiles

SOURCES = (
    "HAM10000_metadata.csv",
    "ISIC2018_Task3_Training_Input.zip",
    "ISIC-2017_Training_Data.zip",
    "ISIC-2017_Validation_Data.zip",
    "ISIC-2017_Training_Part3_GroundTruth.csv",
    "ISIC-2017_Validation_Part3_GroundTruth.csv",
    "ISIC-images.zip",
)
RECIPE = {
    "backbone": "MobileNetV2",
    "size": 160,
    "epochs": 8,
    "patience": 8,
    "augmentation": 1.5,
    "members": 2,
    "unfrozen": 0.65,
    "seed": 0,
}
LAST_DERMOSCOPIC = 100_000  # of the ids of benign images in that data set that are no tiles
COARSEST = 2  # first step of a tile's JPEG quantisation; what has 8 came from elsewhere and is dermoscopic
SHIPPED = {"base": "base_model", "model": "finetuned_model"}
MODELS, PAGE, WORK = Path("models"), Path("docs/models.md"), Path("runs/models")

TEMPLATE = """# The models

Made by `make models` on {date} ({machine}, Keras on {backend}).

| file | what it is |
|---|---|
| `base_model.keras` | {backbone} with ImageNet weights, frozen; a linear head fitted to it |
| `finetuned_model.keras` | the same network, fine-tuned; what `predict` uses without `--model` |

They lie in `models/`.
Each comes with its card (`.json`), its gate (`.gate.npz`) and the `.onnx` file that predictions run from.
The card holds the meaning of the outputs, calibration, thresholds and data.
`melascope info models/finetuned_model` prints all of it.

## Figures

The test split has {n:,} dermoscopic images in {groups:,} groups.
No patient, lesion or copy is also in training or validation.
In brackets: 95 % intervals from {resamples:,} resamples of groups.
Thresholds were chosen on validation for 95 % sensitivity.

| | ROC-AUC, malignant | ROC-AUC, melanoma | sensitivity, malignant | specificity, malignant |
|---|---|---|---|---|
{rows}

By source, ROC-AUC for malignant of `finetuned_model`:

| source | images | ROC-AUC |
|---|---|---|
{sources}

These are clinics that the model has seen in training.

### Clinics it has not seen

This is the figure to expect elsewhere.
The same recipe was trained without one source and tested on all of it; ROC-AUC:

| held out | images | malignant, frozen | malignant, fine-tuned | melanoma, frozen | melanoma, fine-tuned |
|---|---|---|---|---|---|
{held_out}

## What it refuses

The model refuses images that are too small, dark, bright, flat or blurred.
Its gate also refuses what does not look like a dermoscopic image of a lesion.
In ten-fold cross-validation, on images that the gate had not learned from, `finetuned_model` refuses:

| kind | refused |
|---|---|
{refused}

Of the dermoscopic images of a source it refuses {false_known}.
Of a source that the gate never saw, it refuses {false_unseen}.

## Data and licence

HAM10000, ISIC 2017 and MILK10k: {images}.
Licences of the images: {licenses}.
The models are therefore **not for commercial use**.
{use}

## Retrain

    make models DATA=folder/with/the/downloads WEIGHTS=mobilenetv2.weights.h5

`DATA` holds the public files {files}.
Without `WEIGHTS`, Keras downloads ImageNet weights.
The command that trained them:

    {command}

The same seed on the same kind of machine gives the same split and the same order.
Sums differ in the last digit between kinds of machine, and so do weights.
"""


def run(*words: object) -> None:
    """Run a command of melascope, shown."""
    command = [str(Path(sys.executable).with_name("melascope")), *map(str, words)]
    print("$", shlex.join(["melascope", *map(str, words)]), flush=True)
    subprocess.run(command, check=True)


def train(data: Path, weights: str, work: Path) -> list[str]:
    """Prepare and train; return the command that trained."""
    if not (work / "data" / "manifest.parquet").is_file():
        run("prepare", *(data / name for name in SOURCES), "--out", work / "data")
    options = [part for name, value in RECIPE.items() for part in (f"--{name}", str(value))]
    words = ["train", str(work / "data"), "--weights", weights, *options, "--out", str(work / "run")]
    run(*words, *tiles(data, work))
    run("hold-out", *words[1:-1], work / "hold-out")
    return words


def tiles(data: Path, work: Path) -> list[str]:
    """The option that names what the gate must refuse besides: tiles of body photographs, where they are there.

    The gate alone sees them, those of the folder `train`; no network learns a diagnosis from that data set, which
    cannot support one.
    """
    source, target = data / "neural_network_data.zip", work / "body-photo-tiles.zip"
    if not source.is_file():
        return []
    if not target.is_file():
        with zipfile.ZipFile(source) as archive, files.replacing(target) as beside:
            names = [name for name in archive.namelist() if re.fullmatch(r".*train/benign/.*\.jpg", name)]
            named = sorted(name for name in names if int(name[:-4].rpartition("_")[2]) > LAST_DERMOSCOPIC)
            with zipfile.ZipFile(beside, "w") as tiles_alone:
                for name in named:
                    content = archive.read(name)
                    if JpegImageFile(io.BytesIO(content)).quantization[0][0] <= COARSEST:
                        tiles_alone.writestr(Path(name).name, content)
    return ["--refuse", str(target)]


def ship(work: Path) -> None:
    """Copy the models under the names that they are shipped with, their cards to match."""
    MODELS.mkdir(exist_ok=True)
    for name, shipped in SHIPPED.items():
        run_model, model = work / "run" / f"{name}.keras", MODELS / f"{shipped}.keras"
        files.copy(run_model.with_suffix(".onnx"), model.with_suffix(".onnx"))
        ModelFiles(run_model).copy(ModelFiles(model), shipped)


def describe(work: Path, words: list[str]) -> str:
    """Evaluate what is shipped, and describe it."""
    reports: dict[str, dict[str, Any]] = {}
    for shipped in SHIPPED.values():
        run("evaluate", MODELS / shipped, work / "data", "--out", work / f"report-{shipped}")
        text = (work / f"report-{shipped}" / "metrics.json").read_text(encoding="utf-8")
        reports[shipped] = json.loads(text)
    metrics, card = reports["finetuned_model"], json.loads((MODELS / "finetuned_model.json").read_text())
    rows = []
    for shipped, measured in reports.items():
        targets = measured["targets"]
        at = targets["malignant"]["at_threshold"]
        cells = (
            targets["malignant"]["roc_auc"],
            targets["melanoma"]["roc_auc"],
            at["sensitivity"],
            at["specificity"],
        )
        rows.append(f"| `{shipped}` | " + " | ".join(str(Figure.of(figure)) for figure in cells) + " |")
    images = card["data"]["images"]
    settings = card["training"]["settings"]
    shown = {words[3]: settings["weights"].split(" ")[0]}  # a path of this machine means nothing elsewhere
    words = [shown.get(word, word.replace(str(work), str(WORK))) for word in words]
    return TEMPLATE.format(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{os.cpu_count()} cores, {platform.machine()}",
        backend=next(name for name in card["versions"] if name in ("torch", "tensorflow", "jax")),
        backbone=card["architecture"],
        n=metrics["images"]["read"],
        groups=metrics["images"]["groups"],
        resamples=metrics["resampling"]["resamples"],
        rows="\n".join(rows),
        sources="\n".join(sources(metrics)),
        held_out="\n".join(held_out(work)),
        refused="\n".join(
            f"| {kind} | {percent(share)} |" for kind, share in card["gate"]["refused"].items()
        ),
        false_known=shares(card["gate"]["false_refusals"]),
        false_unseen=shares(card["gate"]["false_refusals_unseen"]),
        images=", ".join(
            f"{sum(images[split].values()):,} images in {split}" for split in ("train", "validation", "test")
        ),
        licenses=", ".join(card["data"]["licenses"]),
        use=card["intended_use"].replace(". ", ".\n"),
        files=", ".join(f"`{name}`" for name in SOURCES),
        command=shlex.join(["melascope", *words]),
    )


def sources(metrics: dict[str, Any]) -> list[str]:
    """One row a source."""
    return [
        f"| {item['source']} | {item['n']:,} | "
        + ("too few of one class to say |" if item["too_small"] else f"{Figure.of(item['roc_auc'])} |")
        for item in metrics["targets"]["malignant"]["sources"]
    ]


def held_out(work: Path) -> list[str]:
    """One row a source that was held out, and their mean."""
    targets = json.loads((work / "hold-out" / "hold-out.json").read_text(encoding="utf-8"))["targets"]
    rows = zip(targets["malignant"], targets["melanoma"], strict=True)
    return [
        f"| {malignant['source']} | {malignant['n']:,} | "
        + " | ".join(str(Figure.of(row[stage])) for row in (malignant, melanoma) for stage in SHIPPED)
        + " |"
        for malignant, melanoma in rows
    ]


def percent(share: float) -> str:
    """A share as text."""
    return f"{100 * share:.1f} %"


def shares(by_name: dict[str, float]) -> str:
    """Shares with their names, as part of a sentence."""
    return ", ".join(f"{percent(share)} ({name})" for name, share in by_name.items())


def main() -> None:
    """Make the models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the public files")
    parser.add_argument("--weights", default="imagenet", help="a file; without it, Keras downloads")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for what is made between")
    arguments = parser.parse_args()
    words = train(arguments.data, arguments.weights, arguments.work)
    ship(arguments.work)
    PAGE.write_text(describe(arguments.work, words), encoding="utf-8")


if __name__ == "__main__":
    main()
