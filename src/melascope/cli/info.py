"""`melascope info`: what a model file holds, without running it."""

import json
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

MODEL = typer.Argument(
    metavar="MODEL", help="A run folder, a .keras or .onnx file, or its path without the ending."
)


class Format(StrEnum):
    """How a model is described."""

    TEXT = "text"
    JSON = "json"


def info(
    model: Annotated[Path, MODEL],
    format: Annotated[Format, typer.Option(help="json has all that the card says.")] = Format.TEXT,
) -> None:
    """Show a model's card, inputs, outputs, operations, sizes and hashes.

    Loads no framework and runs nothing. A file is refused if it holds more than a network for images and its weights.

    Exit code 1: the files do not belong together. Exit code 2: no model, or a refused file.

    Examples:
        $ melascope info runs/first
        $ melascope info models/finetuned_model --format json | jq .card
    """
    from melascope.model.describe import describe

    description = describe(model)
    typer.echo(json.dumps(description, indent=2) if format is Format.JSON else _text(description))
    raise typer.Exit(1 if any(item["belongs_to_card"] is False for item in description["files"]) else 0)


def _text(description: dict[str, Any]) -> str:
    lines = []
    card = description["card"]
    if card is None:
        lines.append("card        none beside it: no threshold, no calibration, no intended use")
    else:
        lines += [
            f"model       {description['identity']}",
            f"network     {card['architecture']}, {card['parameters']:,} parameters, started from {card['weights']}",
            f"input       RGB 0 to 255, {card['crop']}, {card['input_size']} x {card['input_size']} pixels",
        ]
        for name, meaning in card["outputs"].items():
            calibration = card["calibration"][name]["method"]
            lines.append(f"{name:<11} {meaning}; calibration: {calibration}")
            for point in card["operating_points"][name]:
                sure = "" if point["held"] else ", not sure: too few such lesions"
                used = ", in use" if point["sensitivity"] == card["sensitivity"] else ""
                lines.append(
                    f"            yes from {point['threshold']:.3f} on for a sensitivity of "
                    f"{100 * point['sensitivity']:.0f} %{sure}{used}"
                )
        lines += [
            f"made        {card['created'] or 'unknown'}",
            f"licence     {card['license']}",
            f"use         {card['intended_use']}",
        ]
    for item in description["files"]:
        belongs = {True: "", False: "; DOES NOT BELONG TO THE CARD", None: ""}[item["belongs_to_card"]]
        lines += [
            "",
            f"{item['path']}  {item['bytes'] / 2**20:.1f} MiB{belongs}",
            f"  sha256     {item['sha256']}",
            f"  inputs     {_shapes(item['inputs'])}",
            f"  outputs    {_shapes(item['outputs'])}",
            f"  operations {_counts(item['operations'])}",
        ]
    return "\n".join(lines)


def _shapes(shapes: dict[str, str]) -> str:
    return "; ".join(f"{name} {shape}".rstrip() for name, shape in shapes.items())


def _counts(operations: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(operations).most_common())
