"""`melascope train`: from a data set folder to a model and its card."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.progress import progress


def train(
    data: Annotated[Path, typer.Argument(help="Data set folder made by `melascope prepare`.")],
    out: Annotated[Path, typer.Option(help="Run folder; a killed run goes on with the same command.")],
    backbone: Annotated[
        str, typer.Option(help="A network of keras.applications, such as EfficientNetB0 or MobileNetV2.")
    ] = "EfficientNetB0",
    weights: Annotated[
        str, typer.Option(help="imagenet (downloaded by Keras), none, or a file of the backbone's weights.")
    ] = "imagenet",
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the square input, in pixels.")] = 224,
    epochs: Annotated[int, typer.Option(min=0, help="At most so many; 0 trains the head only.")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many epochs without a gain.")] = 3,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 32,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="Peak learning rate (default: 1.5e-4; 1e-3 with --weights none)."),
    ] = None,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Dropout before the head.")] = 0.2,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of AdamW.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Same seed, same machine, same model.")] = 0,
) -> None:
    """Train a network: first a linear head on the frozen backbone, then everything at a low rate.

    Writes model.keras, its card model.json, model.onnx for prediction, history.csv, and base.*: the same
    network before fine-tuning, which is the baseline to beat.
    """
    from melascope.infer import convert
    from melascope.learn.training import Settings, train

    settings = Settings(
        backbone=backbone,
        weights=None if weights == "none" else weights,
        size=size,
        epochs=epochs,
        patience=patience,
        batch=batch,
        rate=rate,
        dropout=dropout,
        weight_decay=weight_decay,
        seed=seed,
    )
    with progress() as tell:
        made = train(data, out, settings, tell)
        for path in made:
            convert.to_onnx(path, path.with_suffix(".onnx"))
    for path in made:
        typer.echo(path)
