"""How a long stage reports its progress, without knowing where the reports go."""

from typing import Protocol


class Progress(Protocol):
    """Called while a stage runs."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of `what` are done; `what` is a few words for a person."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: the default of every stage."""
