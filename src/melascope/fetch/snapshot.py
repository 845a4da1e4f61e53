"""The archive's table of all its public images, searched here in place of the archive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from melascope.errors import one_line
from melascope.fetch.isic_api import Entry, checked_id
from melascope.fetch.query import FLAGS, NUMBERS, Group, Query, Term, UnsuitedError

_BASE = ("isic_id", "attribution", "copyright_license")
_PUBLIC = "public"  # is no column: every row is


def search(path: str | Path, query: Query) -> Iterator[list[Entry]]:
    """The images that a query finds, in the table's order, in lists of at most a row group each.

    Args:
        path: the Parquet file.
        query: from `melascope.fetch.query.parse`.

    Raises:
        UnsuitedError: if it asks for a field that the table lacks or holds in an unknown form, or the file is not the
            archive's table.
    """
    try:
        table = pq.ParquetFile(path)
        names = table.schema_arrow.names
        if missing := [name for name in _BASE if name not in names]:
            raise UnsuitedError(f"the snapshot has no {', '.join(missing)}")
        if lacking := _fields(query) - {*names, _PUBLIC}:
            raise UnsuitedError(f"the snapshot has no {', '.join(sorted(lacking))}")
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            yield [_entry(row) for row in rows.filter(_holds(rows, query)).to_pylist()]
    except (pa.ArrowException, ValueError) as error:
        raise UnsuitedError(f"the snapshot cannot be read ({one_line(error)})") from error


def taken_at(path: str | Path) -> str | None:
    """When the snapshot was taken, as it says itself."""
    metadata = pq.read_schema(path).metadata or {}
    stamp = metadata.get(b"snapshot_timestamp")
    return stamp.decode() if stamp else None


def _fields(query: Query) -> set[str]:
    if isinstance(query, Term):
        return {query.field}
    return set().union(*map(_fields, query.parts))


def _holds(rows: pa.Table, query: Query) -> Any:
    if isinstance(query, Group):
        found = _holds(rows, query.parts[0])
        for part in query.parts[1:]:
            found = (pc.and_ if query.how == "all" else pc.or_)(found, _holds(rows, part))
        return found
    if query.field == _PUBLIC:
        true = query.how == "present" or query.value is True
        return pa.array([true != query.negated] * rows.num_rows, pa.bool_())
    found = pc.fill_null(_test(_column(rows, query.field), query), fill_value=False)
    return pc.invert(found) if query.negated else found


def _column(rows: pa.Table, field: str) -> Any:
    """A column in the form its field has: numbers may be written as text, and a blank is nothing."""
    column = rows.column(field)
    wanted = pa.float64() if field in NUMBERS else pa.bool_() if field in FLAGS else pa.string()
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pc.if_else(pc.equal(column, ""), None, column)
        return column.cast(wanted)
    except pa.ArrowException as error:
        raise UnsuitedError(f"the snapshot holds {field} as {column.type}") from error


def _test(column: Any, term: Term) -> Any:
    if term.how == "present":
        return pc.is_valid(column)
    if term.how == "starts":
        return pc.starts_with(column, term.value)
    if term.how == "ends":
        return pc.ends_with(column, term.value)
    if term.how == "equals":
        return pc.equal(column, term.value)
    found = pc.is_valid(column)
    for bound, closed, with_it, without_it in zip(
        term.bounds, term.closed, (pc.greater_equal, pc.less_equal), (pc.greater, pc.less), strict=True
    ):
        if bound is not None:
            found = pc.and_(found, (with_it if closed else without_it)(column, bound))
    return found


def _entry(row: dict[str, Any]) -> Entry:
    told = {name: value for name, value in row.items() if value not in (None, "") and name not in _BASE}
    return Entry(checked_id(row["isic_id"]), row["copyright_license"] or "", row["attribution"] or "", told)
