"""Read a protocol buffer without its schema (encoding: https://protobuf.dev/programming-guides/encoding/).

A message is a row of fields, each a number, a wire type and a value. A message within a message is a value of bytes.
So a reader can skip what it does not need.
"""

from collections.abc import Iterator

# Reading takes time by the field, so a file with millions of small ones could take minutes.
_MAX_FIELDS = 20_000  # of a message; the largest backbones have two thousand nodes and tensors
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: memoryview, limit: int = _MAX_FIELDS) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: each its number, and a whole number or bytes.

    Raises:
        ValueError, IndexError: if the message is malformed, or has more than `limit` fields.
    """
    at, end = 0, len(data)
    while at < end:
        limit -= 1
        if limit < 0:
            raise ValueError("more fields than any network here has")
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > end:
            raise ValueError("cut short")
        yield number, data[at : at + size]
        at += size


def varints(data: memoryview, limit: int) -> list[int]:
    """The first packed whole numbers, at most `limit` of them."""
    values: list[int] = []
    at = 0
    while at < len(data) and len(values) < limit:
        value, at = _varint(data, at)
        values.append(value)
    return values


def as_bytes(value: int | memoryview) -> memoryview:
    """The value of a field as bytes; TypeError if it is a number."""
    if isinstance(value, int):
        raise TypeError("a number where a message should be")
    return value


def as_int(value: int | memoryview) -> int:
    """The value of a field as a number; TypeError if it is bytes."""
    if not isinstance(value, int):
        raise TypeError("a message where a number should be")
    return value


def as_text(value: int | memoryview) -> str:
    """The value of a field as text."""
    return str(as_bytes(value), "utf-8")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {at}")
