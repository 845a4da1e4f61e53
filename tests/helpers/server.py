"""A server of its own process."""

import os
import subprocess
import sys
from contextlib import contextmanager

from melascope.model.folder import SHIPPED


@contextmanager
def serving(*words, model=SHIPPED, **environment):
    """A server on a free port, in a process group of its own."""
    command = [
        sys.executable,
        "-m",
        "melascope",
        "serve",
        "--model",
        str(model),
        "--port",
        "0",
        *map(str, words),
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | environment, process_group=0, **pipes) as process:
        try:
            address = process.stdout.readline()
            assert address.startswith("http://"), process.stderr.read()
            yield process, int(address.rpartition(":")[2])
        finally:
            process.kill()
