"""Find the ONNX file of a model, or make it in a process of its own, so that no framework enters this one."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from melascope import files
from melascope.errors import ModelError
from melascope.infer import runtime
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.progress import Progress, silent

_CONVERTER = "melascope.learn.convert"  # a name, so that nothing here imports what it needs
_PACKAGES = ("keras", "torch", "onnx", "onnxscript")  # names, for the same reason
_LIMIT_S = 600  # the largest backbones take one minute


def content(stored: ModelFiles, card: Card, progress: Progress = silent) -> bytes:
    """The bytes of a model's ONNX file.

    The file lies beside the model, or in the user's cache where that folder cannot be written. It is converted first
    if it is missing, damaged or made from another `.keras` file.

    Args:
        stored: the model's files.
        card: the model's card.
        progress: called with (what, done, total) before and after a conversion.

    Raises:
        ModelError: if there is no ONNX file that fits, and none can be made.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "melascope"
    cached = cache / f"{card.keras_sha256}.onnx"
    problem = None
    for path in (stored.onnx, cached):
        if path.is_file():
            try:
                return runtime.read(path, card)
            except ModelError as error:
                problem = problem or error
    if problem is not None and not stored.keras.is_file():
        raise problem
    target = stored.onnx if os.access(stored.onnx.parent, os.W_OK) else cached
    what = f"converting {stored.keras.name}, once"
    progress(what, 0, 1)
    to_onnx(stored.keras, target)
    progress(what, 1, 1)
    return runtime.read(target, card)


def to_onnx(keras_path: str | Path, onnx_path: str | Path, limit_s: float = _LIMIT_S) -> None:
    """Convert a `.keras` file in a process of its own.

    No framework enters this process. A file that makes a framework crash, hang or use up its memory ends the other
    process only.

    Args:
        keras_path: a model made by `train`.
        onnx_path: where to write; replaced as a whole or not at all.
        limit_s: seconds that it may take.

    Raises:
        ModelError: if the file is not such a model, or a package for conversion is not installed.
        DataError: if the folder cannot be written to.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"{keras_path}: has no converted .onnx file yet, and converting needs the package {missing[0]}; "
            "pip install 'melascope[train]'"
        )
    with files.replacing(onnx_path) as beside:
        command = [sys.executable, "-m", _CONVERTER, str(keras_path), str(beside)]
        environment = os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
        try:
            done = subprocess.run(  # noqa: S603  # our own module
                command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{keras_path}: takes more than {limit_s:g} s to convert") from error
        if done.returncode:
            reason = _reason(done.returncode, done.stderr).removeprefix(f"{keras_path}: ")
            raise ModelError(f"{keras_path}: {reason}")


def _reason(code: int, output: str) -> str:
    """Why a conversion process ended with this code; its last line of output names an error of its own."""
    if code < 0:
        return f"the conversion process was killed (signal {-code}), probably out of memory"
    return "".join(output.strip().splitlines()[-1:]) or f"the conversion process failed (exit code {code})"
