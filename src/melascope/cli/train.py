"""`melascope train`: from a data set folder to a model."""

from pathlib import Path
from typing import Annotated, Any

import typer

import melascope as ms
from melascope.cli.options import Data, Refuse, option, takes_settings
from melascope.cli.progress import progress_bar


@takes_settings()
def train(
    data: Data,
    out: Annotated[Path, option("FOLDER", "Run folder.")],
    settings: dict[str, Any],
    refuse: Refuse = None,
) -> None:
    """Train a model on a data set.

    First a linear head is trained on the frozen backbone, then the whole network at a low rate. If interrupted, run the
    same command to resume.

    Writes model.keras, its card model.json, its gate model.gate.npz, model.onnx for predictions, and history.csv. With
    a pretrained backbone it also writes base.*: the frozen network, which is the baseline to beat.

    Examples:
        $ melascope train data/ --out runs/first
        $ melascope train data/ --out runs/small --backbone MobileNetV2 --size 160
    """
    with progress_bar() as progress:
        model = ms.train(data, out, refuse=refuse or (), progress=progress, **settings)
    for path in (*out.glob("base.keras"), model.files.keras):
        typer.echo(path)
