"""Processes that judge images: an interpreter lock for each, and memory that no broken decoder shares with the server.

An image that ends its process, or keeps it for too long, is answered as an error, and a new process takes the next one.
Images go there and answers come back through pipes, never through files.
"""

import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from melascope.errors import ModelError
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.learn.card import Card
from melascope.web.errors import Fault, place
from melascope.web.judge import Finding, Judge, Wish
from melascope.web.upload import Upload

_LOG = logging.getLogger("melascope.web")
_PATIENCE_S = 120.0  # an image takes two seconds at most on a core of its own
_SPAWN = multiprocessing.get_context("spawn")  # a copy of a process that has threads may hang


class Crew:
    """Judges as `Judge` does, in processes. Use it in a `with` statement, at whose end they are gone.

    Args:
        predictor: the model.
        size: processes; as many threads may ask at once, and others wait.

    Raises:
        ModelError: if a process cannot start.
    """

    def __init__(self, predictor: Predictor, size: int) -> None:
        self._card = predictor.card
        self._workers = [_Worker(predictor) for _ in range(size)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()

    def __enter__(self) -> Self:
        try:
            with _uninterrupted():
                for worker in self._workers:
                    worker.start()
            for worker in self._workers:
                worker.settle()
                self._free.put(worker)
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
        for worker in self._workers:
            worker.end()

    def __call__(self, sensitivity: float | None, upload: Upload, wish: Wish) -> Finding:
        """Judge one file; any thread may ask.

        Raises:
            ModelError: if the model cannot be run.
            Fault: for a mistake of ours.
        """
        worker = self._free.get()
        try:
            told = worker.ask(sensitivity, upload, wish)
        except (EOFError, OSError) as error:
            worker.kill()
            _LOG.error("%s: a process that judged broke off and is replaced", type(error).__name__)
            return Finding(_broken_off(self._card.at(sensitivity), upload.name))
        finally:
            self._free.put(worker)
        if isinstance(told, Finding):
            return told
        raise told


class _Worker:
    """One process, started anew when it is gone."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._over = False

    def start(self) -> None:
        """Begin; `settle` must follow."""
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # or its end would not be noticed
        if self._over:
            self.kill()

    def settle(self) -> None:
        """Give it the model and wait until it is ready."""
        self._pipe.send(self._predictor)
        self._pipe.recv()

    def ask(self, *question: Any) -> Any:
        """Let it judge: a `Finding`, or what to raise.

        Raises:
            EOFError, OSError: if it broke off or took too long.
        """
        if not self._process.is_alive():  # ended while it had nothing to do, which costs no image
            self.start()
            self.settle()
        self._pipe.send(question)
        if not self._pipe.poll(_PATIENCE_S):
            raise TimeoutError
        return self._pipe.recv()

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
            pipe.send(_told(judge, *pipe.recv()))


def _told(judge: Judge, sensitivity: float | None, upload: Upload, wish: Wish) -> Finding | Exception:
    try:
        return judge(sensitivity, upload, wish)
    except ModelError as error:
        return error
    except Exception as error:
        return Fault(place(error))


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
