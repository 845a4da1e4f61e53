"""Every image decoded once: its pixel hash, its size and what duplicates and probes need of its pixels.

Results are kept in chunks beside the data set, so that a killed run resumes and a later run decodes only what is new.
"""

import hashlib
import multiprocessing
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import files, images
from melascope.errors import ImageError, MelascopeError
from melascope.prepare import features
from melascope.progress import Progress, silent

CHUNK = 512
FOLDER = ".scan"
_VERSION = 1  # of what is computed; a new version discards old chunks
_COLUMNS = ("pixel_hash", "width", "height", "n_bytes", "format", "error")

Chunk = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Scan:
    """What was read of n images, aligned with the records."""

    table: pd.DataFrame
    """RangeIndex; pixel_hash (SHA-256 over shape and pixels), width and height in pixels, n_bytes, format
    (JPEG, PNG ...), error (empty, or why the image cannot be read; all else is then empty or 0)."""
    features: dict[str, NDArray[Any]]
    """`features.describe` of each image, stacked: first axis n; zero where there is an error."""


def scan_images(
    records: pd.DataFrame, out: Path, jobs: int | None = None, progress: Progress = silent
) -> Scan:
    """Decode and describe every image.

    Args:
        records: `path`, `n_bytes`, `mark` and `tree` of each image, trees one after the other.
        out: the data set folder; chunks are kept in its folder `.scan`.
        jobs: processes; by default one a core.

    Raises:
        MelascopeError: if a process was killed from outside; what was finished is kept.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    keys: dict[Path, list[str]] = {}
    for rows in _chunks(records):
        keys[folder / f"{_key(rows)}.npz"] = rows["path"].tolist()
    loaded = {path: chunk for path in keys if (chunk := _load(path)) is not None}
    missing = [path for path in keys if path not in loaded]
    done, total = sum(len(keys[path]) for path in loaded), len(records)
    for path in _make(missing, keys, jobs or os.cpu_count() or 1):
        done += len(keys[path])
        progress("reading images", done, total)
    for path in missing:
        chunk = _load(path)
        if chunk is None:
            raise MelascopeError(f"{path}: vanished while it was needed; run the same command again")
        loaded[path] = chunk
    for stale in set(folder.glob("*.npz")) - keys.keys():
        stale.unlink(missing_ok=True)
    return _join([loaded[path] for path in keys])


def _chunks(records: pd.DataFrame) -> Iterator[pd.DataFrame]:
    # A chunk never spans two sources, so that adding a source leaves the others' chunks as they are.
    for _, rows in records.groupby("tree", sort=False):
        for start in range(0, len(rows), CHUNK):
            yield rows.iloc[start : start + CHUNK]


def _key(rows: pd.DataFrame) -> str:
    lines = [f"{_VERSION}"]
    lines += [f"{p}\t{n}\t{m}" for p, n, m in zip(rows["path"], rows["n_bytes"], rows["mark"], strict=True)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _load(path: Path) -> Chunk | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError):
        return None


def _make(missing: list[Path], keys: dict[Path, list[str]], jobs: int) -> Iterator[Path]:
    """Make chunks, in any order; each is there, as a whole, when its path is given."""
    if jobs == 1 or len(missing) < 2:
        for path in missing:
            yield _scan_chunk(path, keys[path])
        return
    # A fresh process each: a fork would inherit locks and threads of the libraries loaded here.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(missing)), mp_context=context) as pool:
        waiting: set[Future[Path]] = {pool.submit(_scan_chunk, path, keys[path]) for path in missing}
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool as error:
            raise MelascopeError(
                "a process that reads images was killed, probably out of memory; "
                "run the same command with --jobs 1 to resume"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _scan_chunk(path: Path, locators: list[str]) -> Path:
    rows = [_scan_image(locator) for locator in locators]
    example = next((described for _, described in rows if described), None)
    example = example or features.describe(np.zeros((1, 1, 3), np.uint8))
    blank = {name: np.zeros_like(value) for name, value in example.items()}
    chunk: Chunk = {name: np.array([row[name] for row, _ in rows]) for name in _COLUMNS}
    for name in blank:
        chunk[f"feature_{name}"] = np.stack([(described or blank)[name] for _, described in rows])
    with files.replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, **chunk)  # type: ignore[arg-type]
    return path


def _scan_image(locator: str) -> tuple[dict[str, object], dict[str, NDArray[Any]] | None]:
    row: dict[str, object] = dict(zip(_COLUMNS, ("", 0, 0, 0, "", ""), strict=True))
    try:
        data = files.read(locator)
        row["n_bytes"] = len(data)
        pixels = images.decode(data, locator)
        described = features.describe(pixels)
    except ImageError as error:
        return {**row, "error": error.reason}, None
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height} {width}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    row |= {"pixel_hash": digest.hexdigest(), "width": width, "height": height}
    return {**row, "format": images.format_of(data)}, described


def _join(chunks: list[Chunk]) -> Scan:
    names = [name for name in chunks[0] if name.startswith("feature_")]
    table = pd.DataFrame({name: np.concatenate([chunk[name] for chunk in chunks]) for name in _COLUMNS})
    stacked = {
        name.removeprefix("feature_"): np.concatenate([chunk.pop(name) for chunk in chunks]) for name in names
    }
    return Scan(table, stacked)
