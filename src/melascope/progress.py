"""How a long stage reports its progress, without knowing where the reports go."""

from collections.abc import Callable
from typing import Protocol

Notify = Callable[[str], None]
"""Called with a sentence for the user."""


class Progress(Protocol):
    """Called while a stage runs."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of `what` are done; `what` is a few words for a person."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: the default of every stage."""


def quiet(_: str) -> None:
    """The default `Notify`: says nothing."""
