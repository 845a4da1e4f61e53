"""How a long stage tells how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called while a stage runs."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` are done of `what`, a few words for a person."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody: the default of every stage."""
