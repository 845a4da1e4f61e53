"""ONNX Runtime sessions of converted models, within limits of memory."""

from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from melascope.errors import ModelError, one_line
from melascope.model import onnx_file
from melascope.model.card import Card

MAX_MEMORY = (
    2 * 2**30
)  # bytes for the tensors of all sessions; the largest backbones need a fifth for an image


def read(path: Path, card: Card) -> bytes:
    """Read a converted model and check that it is whole, safe to load, and described by this card.

    Raises:
        ModelError: if it is not.
    """
    data = onnx_file.read(path)
    graph = onnx_file.inspect(data, path)
    if graph.notes.get(onnx_file.SOURCE) != card.keras_sha256:
        raise ModelError(f"{path}: not made from the model that its card describes; get its .keras file too")
    if graph.notes.get(onnx_file.CONTENT) != graph.sha256:
        raise ModelError(f"{path}: damaged; get it again, or its .keras file too")
    side = card.input_size
    inputs = {onnx_file.INPUT: f"float32 (batch, {side}, {side}, 3)"}
    if graph.inputs != inputs or tuple(graph.outputs) != onnx_file.OUTPUTS:
        raise ModelError(f"{path}: inputs or outputs differ from its card; get its .keras file too")
    return data


def session(content: bytes, threads: int = 0) -> Any:
    """Open a model that was inspected.

    Args:
        content: from `read`: the bytes that were inspected are those that are loaded.
        threads: that share the work on one image; 0 for one a core.

    Raises:
        ModelError: if ONNX Runtime cannot load it.
    """
    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors reach us as exceptions
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exception types are not public
        raise ModelError(f"not a model ONNX Runtime can load ({one_line(error)})") from error


@cache
def _limit_memory() -> None:
    """Share one bounded pool of memory among all sessions, once a process."""
    kind = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(kind, onnxruntime.OrtArenaCfg(MAX_MEMORY, -1, -1, -1))
