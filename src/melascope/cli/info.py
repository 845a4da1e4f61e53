"""`melascope model`: what a model file is, told without running it."""

import json
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Look at models.", no_args_is_help=True)


class Format(StrEnum):
    """How a model is described."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def _nouns() -> None:
    # With a callback, typer keeps the word `info` even while it is the only one.
    pass


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A .keras or .onnx file, the stem of one, or a run folder.")],
    format: Annotated[Format, typer.Option(help="json has everything the card says.")] = Format.TEXT,
) -> None:
    """Print a model's card, inputs, outputs, operations, sizes and hashes; loads no framework, runs nothing.

    A file that holds anything but a network for images and its weights is refused, with exit code 2. Exit
    code 1: the files do not belong together.
    """
    from melascope.model.describe import describe

    found = describe(file)
    typer.echo(json.dumps(found, indent=2) if format is Format.JSON else _text(found))
    raise typer.Exit(1 if any(item["belongs_to_card"] is False for item in found["files"]) else 0)


def _text(found: dict[str, Any]) -> str:
    lines = []
    card = found["card"]
    if card is None:
        lines.append("card        none beside it: no threshold, no calibration, no intended use")
    else:
        lines += [
            f"model       {found['identity']}",
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
    for item in found["files"]:
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
