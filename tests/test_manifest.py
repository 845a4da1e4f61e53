"""The manifest: what it refuses to hold, and that a data set can be moved."""

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.datasets import manifest_of
from melascope import manifest
from melascope.errors import DataError


def table(**changes):
    """Six images in three groups, one group a split."""
    columns = {
        "path": [f"/data/a.zip::x/{i}.jpg" for i in range(6)],
        "malignant": [True, False, None] * 2,
        "melanoma": [True, False, None] * 2,
        "group": [f"g{i // 2}" for i in range(6)],
        "split": [manifest.SPLITS[i // 2] for i in range(6)],
    }
    return manifest_of(6, **(columns | changes))


def test_what_is_written_is_read(tmp_path):
    written = table()
    manifest.write(written, tmp_path)
    read = manifest.read(tmp_path)
    assert list(read.columns) == list(manifest.COLUMNS)
    assert read["path"].tolist() == written["path"].tolist()
    assert read["malignant"].tolist() == [True, False, pd.NA] * 2
    assert manifest.content_hash(read) == manifest.content_hash(written)


def test_a_data_set_moves_with_its_images(tmp_path):
    here = tmp_path / "here"
    manifest.write(table(path=[str(here / "raw" / f"{i}.jpg") for i in range(6)]), here / "data")
    shutil.move(here, tmp_path / "there")
    assert manifest.read(tmp_path / "there" / "data")["path"][0] == str(tmp_path / "there" / "raw" / "0.jpg")


def test_a_group_in_two_splits_is_refused(tmp_path):
    leaking = table(group="one")
    with pytest.raises(DataError, match="span"):
        manifest.write(leaking, tmp_path)
    assert not (tmp_path / manifest.NAME).exists()
    arrow = pa.Table.from_pandas(leaking, schema=manifest.SCHEMA, preserve_index=False)
    pq.write_table(arrow, tmp_path / manifest.NAME)  # as another program might
    with pytest.raises(DataError, match="span"):
        manifest.read(tmp_path)


def test_leaks_that_were_allowed_are_read_and_known(tmp_path):
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
def test_a_table_that_breaks_the_schema_is_refused(tmp_path, change, reason):
    with pytest.raises(DataError, match=reason):
        manifest.write(table(**change), tmp_path)
    assert not list(tmp_path.iterdir())


def test_excluded_images_may_lie_anywhere(tmp_path):
    rows = table(group="one", split=["train", *[None] * 5], excluded=["", *["unreadable"] * 5])
    manifest.write(rows, tmp_path)
    assert len(manifest.usable(manifest.read(tmp_path))) == 1


def test_bad_files_are_one_line(tmp_path):
    with pytest.raises(DataError, match="melascope prepare"):
        manifest.read(tmp_path)
    (tmp_path / manifest.NAME).write_text("no parquet")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        manifest.read(tmp_path)
    table().drop(columns="license").to_parquet(tmp_path / manifest.NAME)
    with pytest.raises(DataError, match="lacks the columns license"):
        manifest.read(tmp_path)


def test_targets_keep_what_is_missing():
    values = manifest.targets(table(), ("malignant", "melanoma"))
    assert values.dtype == np.float32
    assert values[:2].tolist() == [[1, 1], [0, 0]]
    assert np.isnan(values[2]).all()


def test_the_hash_follows_what_a_model_learns_from_and_nothing_else():
    original = manifest.content_hash(table())
    assert manifest.content_hash(table().iloc[::-1]) == original
    assert manifest.content_hash(table(path=list("abcdef"))) == original
    assert manifest.content_hash(table(split="train")) != original
