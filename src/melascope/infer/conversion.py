"""Starts the conversion of a `.keras` file in a process of its own, so that no framework enters this one."""

import os
import subprocess
import sys
from pathlib import Path

from melascope import files
from melascope.errors import ModelError

_CONVERTER = "melascope.learn.convert"  # a name, so that nothing here imports what it needs
_LIMIT_S = 600  # the largest backbones take one minute


def to_onnx(keras_path: str | Path, onnx_path: str | Path) -> None:
    """Convert a model once, in a process of its own.

    The frameworks that it takes never enter this process, and a file that makes them crash, hang or ask for all
    memory ends theirs.

    Args:
        keras_path: a model made by `train`.
        onnx_path: where to write; replaced as a whole or not at all.

    Raises:
        ModelError: if the file is not such a model, or what converts it is not installed.
        DataError: if the folder cannot be written to.
    """
    with files.replacing(onnx_path) as beside:
        command = [sys.executable, "-m", _CONVERTER, str(keras_path), str(beside)]
        environment = os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
        try:
            done = subprocess.run(  # noqa: S603  # our own module
                command, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{keras_path}: takes more than {_LIMIT_S} s to convert") from error
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] if done.returncode > 0 else []
            reason = "".join(said) or f"what converts it died of it ({done.returncode})"
            raise ModelError(f"{keras_path}: {reason.removeprefix(f'{keras_path}: ')}")
