"""Progress on standard error: a bar for a person at a terminal, a line a stage in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from melascope.progress import Progress

_PATIENCE_S = 2.0  # a stage that takes less needs no progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """The callback of a bar on standard error, for as long as the block runs."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    # Imported here, since most verbs end before they need a bar.
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield progress


def _lines() -> Progress:
    last: dict[str, float] = {}

    def progress(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last.setdefault(what, now) > _PATIENCE_S and (done == total or now - last[what] > 15):
            last[what] = now
            sys.stderr.write(f"{what}: {done} of {total}\n")

    return progress
