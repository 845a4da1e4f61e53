"""ONNX Runtime sessions of converted models, within limits of memory."""

from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from melascope.errors import ModelError, one_line
from melascope.model import onnx_file
from melascope.model.card import Card

# Bytes, of all sessions' tensors; the largest backbones need a fifth of it for an image.
MAX_MEMORY = 2 * 2**30


def read(path: Path, card: Card) -> bytes:
    """Read a converted model and see that it is whole, safe to load, and the card's.

    Raises:
        ModelError: if it is not.
    """
    data = onnx_file.read(path)
    found = onnx_file.inspect(data, path)
    if found.notes.get(onnx_file.SOURCE) != card.keras_sha256:
        raise ModelError(f"{path}: not made from the model that its card describes; get its .keras file too")
    if found.notes.get(onnx_file.CONTENT) != found.sha256:
        raise ModelError(f"{path}: damaged; get it again, or its .keras file too")
    side = card.input_size
    wanted = {onnx_file.INPUT: f"float32 (batch, {side}, {side}, 3)"}
    if found.inputs != wanted or tuple(found.outputs) != onnx_file.OUTPUTS:
        raise ModelError(f"{path}: takes or gives something else than its card says; get its .keras file too")
    return data


def session(content: bytes, threads: int = 0) -> Any:
    """Open a model that was inspected.

    Args:
        content: as `read` gives it: what was looked at is what is loaded.
        threads: that share one image; 0 for one a core.

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
