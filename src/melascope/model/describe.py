"""Describe a model's files without loading them: no framework, no runtime."""

import hashlib
from pathlib import Path
from typing import Any

from melascope import files
from melascope.errors import ModelError
from melascope.model import keras_file, onnx_file
from melascope.model.card import Card
from melascope.model.folder import HINT, ModelFiles


def describe(path: Path) -> dict[str, Any]:
    """Describe a model: its card and its `.keras` and `.onnx` files, as far as they are there.

    Args:
        path: a run folder, a stem, or one of the files; a file that is named is described alone.

    Returns:
        `identity` and `card` (None without one), and `files`: for each `path`, `bytes`, `sha256`, `inputs` and
        `outputs` (name to type and shape), `operations` (name to count) and `belongs_to_card`.

    Raises:
        ModelError: if there is no such model, or a file is refused.
    """
    stored = ModelFiles.find(path)
    both = [stored.keras, stored.onnx]
    present = [item for item in ([path] if path in both else both) if item.is_file()]
    if not present:
        raise ModelError(f"{path}: no such model; {HINT}")
    card = Card.read(stored.card) if stored.card.is_file() else None
    return {
        "identity": card and card.identity,
        "card": card and card.document(),
        "files": [_keras(item, card) if item.suffix == ".keras" else _onnx(item, card) for item in present],
    }


def _keras(path: Path, card: Card | None) -> dict[str, Any]:
    contents = keras_file.inspect(path)
    sha256 = files.sha256(path)
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256,
        "inputs": {name: f"({', '.join(map(str, shape))})" for name, shape in contents.inputs.items()},
        "outputs": dict.fromkeys(contents.outputs, ""),
        "operations": dict(contents.layers),
        "belongs_to_card": card and sha256 == card.keras_sha256,
    }


def _onnx(path: Path, card: Card | None) -> dict[str, Any]:
    data = onnx_file.read(path)
    graph = onnx_file.inspect(data, path)
    return {
        "path": str(path),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "operations": dict(graph.operations),
        "belongs_to_card": card and graph.notes.get(onnx_file.SOURCE) == card.keras_sha256,
    }
