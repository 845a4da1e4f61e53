"""The manifest: what it refuses to hold, and that a data set can be moved."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from melascope import manifest
from melascope.errors import DataError


def table(n: int = 6, **changes: object) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "image_id": [f"ISIC_{i:07d}" for i in range(n)],
            "path": [f"/data/a.zip::x/{i}.jpg" for i in range(n)],
            "source": "made",
            "malignant": pd.array([True, False, None] * (n // 3), dtype="boolean"),
            "melanoma": pd.array([True, False, None] * (n // 3), dtype="boolean"),
            "group": [f"g{i // 2}" for i in range(n)],
            "split": [manifest.SPLITS[i // 2 % 3] for i in range(n)],
            "excluded": "",
            "age_approx": np.nan,
        }
    )
    return rows.reindex(columns=list(manifest.COLUMNS)).assign(**changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = table()
    manifest.write(written, tmp_path)
    read = manifest.read(tmp_path)
    assert list(read.columns) == list(manifest.COLUMNS)
    assert read["path"].tolist() == written["path"].tolist()
    assert read["malignant"].tolist() == [True, False, pd.NA] * 2
    assert manifest.content_hash(read) == manifest.content_hash(written)


def test_a_data_set_moves_with_its_images(tmp_path: Path) -> None:
    here = tmp_path / "here"
    manifest.write(table(path=[str(here / "raw" / f"{i}.jpg") for i in range(6)]), here / "data")
    shutil.move(here, tmp_path / "there")
    assert manifest.read(tmp_path / "there" / "data")["path"][0] == str(tmp_path / "there" / "raw" / "0.jpg")


def test_a_group_that_spans_splits_is_refused_when_written_and_when_read(tmp_path: Path) -> None:
    leaking = table(group="one")
    with pytest.raises(DataError, match="span"):
        manifest.write(leaking, tmp_path)
    assert not (tmp_path / manifest.NAME).exists()
    arrow = pa.Table.from_pandas(leaking, schema=manifest.SCHEMA, preserve_index=False)
    pq.write_table(arrow, tmp_path / manifest.NAME)  # as another program might
    with pytest.raises(DataError, match="span"):
        manifest.read(tmp_path)


def test_leaks_that_were_allowed_are_read_and_told(tmp_path: Path) -> None:
    manifest.write(table(group="one"), tmp_path, allow_leaks=True)
    assert len(manifest.read(tmp_path)) == 6
    assert manifest.allows_leaks(tmp_path)
    manifest.write(table(), tmp_path)
    assert not manifest.allows_leaks(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"split": "holdout"}, "a split that is not"),
        ({"path": "/data/one.jpg"}, "twice"),
        ({"group": None}, "breaks the schema"),
    ],
)
def test_a_table_that_breaks_the_schema_is_refused(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        manifest.write(table(**change), tmp_path)
    assert not list(tmp_path.iterdir())


def test_excluded_images_may_lie_anywhere(tmp_path: Path) -> None:
    rows = table(group="one", split=["train", *[None] * 5], excluded=["", *["unreadable"] * 5])
    manifest.write(rows, tmp_path)
    assert len(manifest.usable(manifest.read(tmp_path))) == 1


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="melascope prepare"):
        manifest.read(tmp_path)
    (tmp_path / manifest.NAME).write_text("no parquet")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        manifest.read(tmp_path)
    table().drop(columns="license").to_parquet(tmp_path / manifest.NAME)
    with pytest.raises(DataError, match="lacks the columns license"):
        manifest.read(tmp_path)


def test_targets_keep_what_is_missing() -> None:
    values = manifest.targets(table(), ("malignant", "melanoma"))
    assert values.dtype == np.float32
    assert values[:2].tolist() == [[1, 1], [0, 0]]
    assert np.isnan(values[2]).all()


def test_the_hash_follows_what_a_model_learns_from_and_nothing_else() -> None:
    original = manifest.content_hash(table())
    assert manifest.content_hash(table().iloc[::-1]) == original
    assert manifest.content_hash(table(path=list("abcdef"))) == original
    assert manifest.content_hash(table(split="train")) != original
