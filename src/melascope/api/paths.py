"""Paths, as callers give them."""

import os
from collections.abc import Iterable
from typing import TypeAlias, TypeGuard, cast

StrPath: TypeAlias = str | os.PathLike[str]


def is_path(given: object) -> TypeGuard[StrPath]:
    """Whether a path is given."""
    return isinstance(given, str | os.PathLike)


def paths(given: StrPath | Iterable[StrPath]) -> list[str]:
    """One path or several, as strings."""
    return [os.fspath(path) for path in ([given] if is_path(given) else cast(Iterable[StrPath], given))]
