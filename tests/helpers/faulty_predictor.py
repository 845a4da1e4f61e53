"""A predictor that goes wrong where the name of an image says so, and goes to other processes as it is."""

import os
import signal
import sys
import time
from dataclasses import replace

from melascope.errors import ModelError
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor

DEADLY, SLOW, FAULTY, UNRUNNABLE, WATCHED = (
    "deadly.png",
    "slow.png",
    "faulty.png",
    "unrunnable.png",
    "watched.png",
)


class Peculiar(Predictor):
    """Use `load`, as of any."""

    def answer_file(self, read, name: str) -> Answer:
        if name == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == SLOW:
            time.sleep(60)
        if name == FAULTY:
            raise RuntimeError("Jane Doe's lesion")
        if name == UNRUNNABLE:
            raise ModelError("tiny@0: cannot be run")
        answer = super().answer_file(read, name)
        if name != WATCHED:
            return answer
        # What this process opened since the last time it was asked this.
        if not hasattr(self, "opened"):
            self.opened: list[str] = []
            sys.addaudithook(self._listen)
        told = repr(self.opened)
        self.opened.clear()
        return replace(answer, reason=told)

    def _listen(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.mkdir", "tempfile.mkstemp", "subprocess.Popen"):
            self.opened.append(f"{event} {arguments[0]}")


def stillborn(pipe: object) -> None:
    """What a process does that ends at once."""
