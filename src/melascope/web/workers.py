"""Processes that judge images: an interpreter lock for each, and memory that no broken decoder shares with the server.

An image that ends its process, or keeps it for too long, is answered as an error, and a new process takes the next one.
Images go there and answers come back through pipes, never through files.
"""

import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from melascope.errors import ModelError
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.model.card import Card
from melascope.progress import Progress, silent
from melascope.web.analysis import Finding, Judge, Question

_LOG = logging.getLogger("melascope.web")
_PATIENCE_S = 60.0  # an image takes two seconds at most on a core of its own
_SPAWN = multiprocessing.get_context("spawn")  # a copy of a process that has threads may hang


class Crew:
    """Judges as `Judge` does, in processes. Use it in a `with` statement, at whose end they are gone.

    Args:
        predictor: the model.
        size: processes; as many threads may ask at once, and others wait.
        progress: called with (what, done, total).

    Raises:
        ModelError: if a process cannot start.
    """

    def __init__(self, predictor: Predictor, size: int, progress: Progress = silent) -> None:
        self._progress = progress
        self._card = predictor.card
        self._workers = [_Worker(predictor) for _ in range(size)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._over = False

    def __enter__(self) -> Self:
        try:
            with _uninterrupted():
                for worker in self._workers:
                    worker.start()
            for worker in self._workers:
                worker.teach()
            for done, worker in enumerate(self._workers):
                self._progress("starting processes", done, len(self._workers))
                worker.wait()
                self._free.put(worker)
            self._progress("starting processes", len(self._workers), len(self._workers))
        except (EOFError, OSError) as error:
            self._end()
            raise ModelError("a process that judges images cannot start; is memory too small?") from error
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._over = True
        for worker in self._workers:
            worker.end()

    def __call__(self, questions: Sequence[Question]) -> list[Finding | Exception]:
        """See `Judging`; any thread may ask."""
        worker = self._free.get()
        try:
            return self._ask(worker, questions)
        finally:
            self._free.put(worker)

    def _ask(self, worker: "_Worker", questions: Sequence[Question]) -> list[Finding | Exception]:
        try:
            return worker.ask(questions)
        except Exception as error:  # it ended, took too long, or memory is too small
            worker.kill()
            if self._over:  # nobody hears of it
                return [error] * len(questions)
            if len(questions) > 1:  # not all are to blame
                return [told for question in questions for told in self._ask(worker, [question])]
            _LOG.error("%s: a process that judged broke off and is replaced", type(error).__name__)
            (question,) = questions
            return [Finding(_broken_off(self._card.at(question.sensitivity), question.upload.name))]


class _Worker:
    """One process, started anew when it is gone."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._over = False

    def start(self) -> None:
        """Begin; `teach` and `wait` must follow."""
        self._pipe, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        self._process = process
        theirs.close()  # or its end would not be noticed
        if self._over:
            self.kill()

    def teach(self) -> None:
        """Give it the model, once it can take it."""
        self._pipe.send(self._predictor)

    def wait(self) -> None:
        """Until it is ready."""
        self._pipe.recv()

    def ask(self, questions: Sequence[Question]) -> list[Finding | Exception]:
        """Let it judge.

        Raises:
            EOFError, OSError: if it broke off or took too long.
        """
        if not self._process.is_alive():  # ended while it had nothing to do, which costs no image
            self.start()
            self.teach()
            self.wait()
        self._pipe.send(questions)
        if not self._pipe.poll(_PATIENCE_S):
            raise TimeoutError
        told: list[Finding | Exception] = self._pipe.recv()
        return told

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        """End it for good."""
        self._over = True
        if hasattr(self, "_process"):
            self.kill()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started meanwhile hear nothing of Ctrl-C, which goes to all of a terminal, from their first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: "Connection[Any, Any]") -> None:
    # The server ends this, once the answers in flight are finished, whoever else was told to end.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the server is gone
        judge = Judge(pipe.recv())
        pipe.send(None)
        while True:
            pipe.send(judge(pipe.recv()))


def _broken_off(card: Card, name: str) -> Answer:
    return Answer(
        path=name,
        status="error",
        label=None,
        confidence=None,
        malignant=None,
        melanoma=None,
        threshold=card.threshold["malignant"],
        weak=None,
        reason="judging it broke off; memory was too small, or the file is made to do that",
        model=card.identity,
    )
