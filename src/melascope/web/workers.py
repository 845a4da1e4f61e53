"""Worker processes: an interpreter lock for each, and memory that no broken decoder shares with the server.

An image that ends its worker, or keeps it too long, is answered as an error, and a new worker takes the next one.
Images go there and results come back through pipes, never through files.
"""

import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Self

from melascope.errors import ModelError
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.model.card import Card
from melascope.progress import Progress, silent
from melascope.web.analysis import Job, Result, analyse

_LOG = logging.getLogger("melascope.web")
_SPAWN = multiprocessing.get_context("spawn")  # a fork of a process that has threads may hang


class WorkerPool:
    """An `Analyser` in several processes. Use it in a `with` statement, at whose end they are gone.

    Args:
        predictor: the model.
        size: number of processes; as many threads may call it at once, and others wait.
        progress: called with (what, done, total).
        time_limit_s: seconds for a batch of jobs; an image takes two at most on a core of its own.

    Raises:
        ModelError: if a process cannot start.
    """

    def __init__(
        self, predictor: Predictor, size: int, progress: Progress = silent, time_limit_s: float = 60.0
    ) -> None:
        self._card, self._progress = predictor.card, progress
        self._workers = [_Worker(predictor, time_limit_s) for _ in range(size)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._ended = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.__exit__)
            try:
                self._start()
            except (EOFError, OSError) as error:
                raise ModelError("a worker process cannot start; is there enough memory?") from error
            stack.pop_all()
        return self

    def _start(self) -> None:
        with _ctrl_c_ignored():
            for worker in self._workers:
                worker.start()
        for worker in self._workers:
            worker.load()
        for done, worker in enumerate(self._workers):
            self._progress("starting processes", done, len(self._workers))
            worker.wait()
            self._free.put(worker)
        self._progress("starting processes", len(self._workers), len(self._workers))

    def __exit__(self, *error: object) -> None:
        self._ended = True
        for worker in self._workers:
            worker.end()

    def __call__(self, jobs: Sequence[Job]) -> list[Result | Exception]:
        """See `Analyser`; any thread may call it."""
        worker = self._free.get()
        try:
            return self._run(worker, jobs)
        finally:
            self._free.put(worker)

    def _run(self, worker: "_Worker", jobs: Sequence[Job]) -> list[Result | Exception]:
        try:
            return worker.run(jobs)
        except Exception as error:  # it ended, took too long, or memory is too small
            worker.kill()
            if self._ended:  # nobody waits for the results any more
                return [error] * len(jobs)
            if len(jobs) > 1:  # one of them may be to blame, so each gets a try of its own
                return [result for job in jobs for result in self._run(worker, [job])]
            _LOG.error("%s: a worker process crashed and is replaced", type(error).__name__)
            (job,) = jobs
            return [Result(_crashed(self._card.at(job.options.sensitivity), job.upload.name))]


class _Worker:
    """One process, started again when it has ended."""

    def __init__(self, predictor: Predictor, time_limit_s: float) -> None:
        self._predictor, self._time_limit_s = predictor, time_limit_s
        self._ended = False

    def start(self) -> None:
        """Begin; `load` and `wait` must follow."""
        self._pipe, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        self._process = process
        theirs.close()  # or its end would not be noticed
        if self._ended:
            self.kill()

    def load(self) -> None:
        """Send it the model."""
        self._pipe.send(self._predictor)

    def wait(self) -> None:
        """Until it is ready."""
        self._pipe.recv()

    def run(self, jobs: Sequence[Job]) -> list[Result | Exception]:
        """Let it analyse.

        Raises:
            EOFError, OSError: if it ended or took too long.
        """
        if not self._process.is_alive():  # ended while it was idle, which costs no image
            self.start()
            self.load()
            self.wait()
        self._pipe.send(jobs)
        if not self._pipe.poll(self._time_limit_s):
            raise TimeoutError
        results: list[Result | Exception] = self._pipe.recv()
        return results

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        """End it for good."""
        self._ended = True
        if hasattr(self, "_process"):
            self.kill()


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C, which goes to all of a terminal, from their first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: "Connection[Any, Any]") -> None:
    """What a worker does: takes a predictor, then batches of jobs, until the pipe ends."""
    # The server ends it, once the answers in flight are finished, whichever process gets the signal.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the server has ended
        predictor = pipe.recv()
        predictor.at(None)  # opens its session, so that the first image need not wait for it
        pipe.send(None)
        while True:
            pipe.send(analyse(predictor, pipe.recv()))


def _crashed(card: Card, name: str) -> Answer:
    return Answer(
        path=name,
        status="error",
        threshold=card.threshold["malignant"],
        reason="the analysis crashed; the file may be malformed, or the server ran out of memory",
        model=card.identity,
    )
