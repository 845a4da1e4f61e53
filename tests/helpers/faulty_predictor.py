"""Predictors that fail on purpose, in other processes too."""

import os
import signal
import sys
import time
from dataclasses import replace

from melascope.errors import ModelError
from melascope.infer.predictor import Predictor

DEADLY, SLOW, FAULTY, UNRUNNABLE, WATCHED = (
    "deadly.png",
    "slow.png",
    "faulty.png",
    "unrunnable.png",
    "watched.png",
)


class FaultyPredictor(Predictor):
    """Fails as the name of an image says. Use `load`."""

    def answer_file(self, read, name):
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
        # What this process has opened since the last such image.
        if not hasattr(self, "opened"):
            self.opened = []
            sys.addaudithook(self._listen)
        opened = repr(self.opened)
        self.opened.clear()
        return replace(answer, reason=opened)

    def _listen(self, event, arguments):
        if event in ("open", "os.mkdir", "tempfile.mkstemp", "subprocess.Popen"):
            self.opened.append(f"{event} {arguments[0]}")


class Stillborn(Predictor):
    """Ends each process that it is sent to. Use `load`."""

    def __reduce__(self):
        return os._exit, (1,)
