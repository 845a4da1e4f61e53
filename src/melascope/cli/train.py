"""`melascope train`: from a data set folder to a model and its card."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli import recipe
from melascope.cli.progress import progress


def train(
    data: Annotated[Path, typer.Argument(help="Data set folder made by `melascope prepare`.")],
    out: Annotated[Path, typer.Option(help="Run folder; a killed run goes on with the same command.")],
    backbone: recipe.Backbone = "EfficientNetB0",
    weights: recipe.Weights = "imagenet",
    size: recipe.Size = 224,
    epochs: recipe.Epochs = 10,
    patience: recipe.Patience = 3,
    batch: recipe.Batch = 32,
    rate: recipe.Rate = None,
    dropout: recipe.Dropout = 0.2,
    weight_decay: recipe.WeightDecay = 1e-4,
    augmentation: recipe.Augmentation = 1.0,
    label_smoothing: recipe.LabelSmoothing = 0.0,
    unfrozen: recipe.Unfrozen = 1.0,
    seed: recipe.Seed = 0,
) -> None:
    """Train a network: first a linear head on the frozen backbone, then everything at a low rate.

    Writes model.keras, its card model.json, model.onnx for prediction, history.csv, and base.*: the same
    network before fine-tuning, which is the baseline to beat.
    """
    from melascope.infer.predictor import Predictor
    from melascope.learn.training import train

    settings = recipe.settings(locals())
    with progress() as tell:
        made = train(data, out, settings, tell)
        for path in made:
            Predictor.load(path, tell)  # makes the .onnx, unless it is there
    for path in made:
        typer.echo(path)
