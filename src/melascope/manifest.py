"""The table of images that every stage after `prepare` starts from: one row an image.

`manifest.parquet` holds it; the schema, and that no group spans two splits, is checked on every read.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from melascope import files
from melascope.errors import DataError

NAME = "manifest.parquet"
SPLITS = ("train", "validation", "test")

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),  # a locator, see melascope.files
        pa.field("source", pa.string(), nullable=False),  # data set; after a slash the clinic, if known
        pa.field("modality", pa.string()),  # the archive's image_type; missing: not known
        pa.field("diagnosis", pa.string()),
        pa.field("melanoma", pa.bool_()),
        pa.field("malignant", pa.bool_()),
        pa.field("patient_id", pa.string()),
        pa.field("lesion_id", pa.string()),
        pa.field("pixel_hash", pa.string()),  # SHA-256 of shape and decoded pixels
        pa.field("group", pa.string(), nullable=False),  # component of patient, lesion and duplicate
        pa.field("split", pa.string()),  # missing where excluded
        pa.field("excluded", pa.string(), nullable=False),  # empty, or the reason
        pa.field("license", pa.string()),
        pa.field("attribution", pa.string()),
        pa.field("age_approx", pa.float64()),  # years
        pa.field("sex", pa.string()),
        pa.field("site", pa.string()),
        pa.field("skin_type", pa.string()),  # Fitzpatrick I to VI
        pa.field("confirmed_by", pa.string()),
    ]
)
COLUMNS = tuple(SCHEMA.names)
_ALLOW_LEAKS = b"melascope.allow_leaks"


def write(table: pd.DataFrame, folder: str | Path, allow_leaks: bool = False) -> Path:
    """Check a table and write it as `folder/manifest.parquet`.

    Args:
        table: the columns of `SCHEMA`; `path` holds absolute locators, stored relative to `folder`.
        folder: the data set folder.
        allow_leaks: keep splits that share groups; remembered in the file, so that reads accept it.

    Raises:
        DataError: if the table breaks the schema or, unless `allow_leaks`, a group spans splits.
    """
    path = Path(folder) / NAME
    _check(table, path, allow_leaks)
    base = os.path.realpath(folder)
    stored = table.assign(path=[_move(p, lambda q: os.path.relpath(q, base)) for p in table["path"]])
    try:
        arrow = pa.Table.from_pandas(stored[list(COLUMNS)], schema=SCHEMA, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{path}: breaks the schema ({error})") from error
    if allow_leaks:
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _ALLOW_LEAKS: b"1"})
    with files.replacing(path) as beside:
        pq.write_table(arrow, beside)
    return path


def read(folder: str | Path) -> pd.DataFrame:
    """Read and check the manifest of a data set folder; `path` holds absolute locators.

    Returns:
        All rows, excluded ones too; targets have the nullable dtype `boolean`.

    Raises:
        DataError: if there is none, it breaks the schema, or a group spans splits.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise DataError(f"{folder}: no {NAME} here; make one with `melascope prepare SOURCE --out {folder}`")
    try:
        arrow = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    missing = [name for name in COLUMNS if name not in arrow.column_names]
    if missing:
        raise DataError(f"{path}: lacks the columns {', '.join(missing)}; prepare the data set again")
    try:
        cast = arrow.select(list(COLUMNS)).cast(SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: breaks the schema ({error}); prepare the data set again") from error
    table: pd.DataFrame = cast.to_pandas().astype({"melanoma": "boolean", "malignant": "boolean"})
    base = os.path.realpath(folder)
    table["path"] = [_move(p, lambda q: os.path.normpath(os.path.join(base, q))) for p in table["path"]]
    _check(table, path, allows_leaks(folder))
    return table


def data_set(source: "pd.Series[Any]") -> "pd.Series[Any]":
    """The data set of each source: a source is `SET`, or `SET/CLINIC` where the clinic is known."""
    return source.astype(str).str.split("/").str[0]  # `partition` fails on a table without rows


def allows_leaks(folder: str | Path) -> bool:
    """Whether a data set was prepared with `--allow-leaks`: figures from it cannot be trusted."""
    metadata = pq.read_schema(Path(folder) / NAME).metadata or {}
    return _ALLOW_LEAKS in metadata


def usable(table: pd.DataFrame, split: str | None = None) -> pd.DataFrame:
    """The rows that are not excluded, of one split or of all, in the table's order."""
    kept = table[table["excluded"] == ""]
    return kept if split is None else kept[kept["split"] == split]


def targets(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Targets as float32, shape (rows, len(names)): 1 true, 0 false, NaN missing."""
    columns = [table[name].astype("Float32").to_numpy(dtype=np.float32, na_value=np.nan) for name in names]
    return np.stack(columns, axis=1)


def content_hash(table: pd.DataFrame) -> str:
    """SHA-256 of what a model learns from: images, labels, groups and splits, wherever the files lie."""
    columns = ["image_id", "pixel_hash", "diagnosis", "malignant", "melanoma", "group", "split", "excluded"]
    rows = table[columns].astype("string").fillna("").sort_values(columns)
    text = "\n".join("\t".join(row) for row in rows.itertuples(index=False))
    return hashlib.sha256(text.encode()).hexdigest()


def _check(table: pd.DataFrame, path: Path, allow_leaks: bool) -> None:
    def fail(what: str) -> DataError:
        return DataError(f"{path}: {what}; prepare the data set again")

    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise fail(f"lacks the columns {', '.join(missing)}")
    if table["path"].duplicated().any():
        raise fail(f"lists {table.loc[table['path'].duplicated(), 'path'].iloc[0]} twice")
    kept = usable(table)
    if not kept["split"].isin(SPLITS).all():
        raise fail(f"has a split that is not one of {', '.join(SPLITS)}")
    if allow_leaks:
        return
    spans = kept.groupby("group")["split"].nunique()
    if (spans > 1).any():
        leaks = ", ".join(map(str, spans[spans > 1].index[:3]))
        raise fail(f"{(spans > 1).sum()} groups span two splits ({leaks} ...), so a test on it would be void")


def _move(locator: str, change: Callable[[str], str]) -> str:
    path, member = files.split_locator(locator)
    moved = change(path)
    return moved if member is None else f"{moved}{files.MEMBER}{member}"
