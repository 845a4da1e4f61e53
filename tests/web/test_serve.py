"""`melascope serve` as a process: its address, its end, what it refuses to start with, and how it bears load."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import models
from helpers.dicom_files import saved
from helpers.server import serving
from melascope.model.folder import SHIPPED

TOOLS = Path(__file__).resolve().parents[2] / "tools"
TOKEN = "a-token-of-this-test"  # noqa: S105
BODY = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="Jane-Doe.png"\r\n\r\n'
    + saved(models.lesion(0), "PNG")
    + b"\r\n--x--\r\n"
)


def refused(*words, **environment):
    """The message of a command that does not start."""
    command = [sys.executable, "-m", "melascope", "serve", *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | environment, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_answers_in_flight_are_finished(ending):
    with serving() as (process, port), socket.create_connection(("127.0.0.1", port)) as asking:
        head = f"POST /v1/predictions HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {len(BODY)}\r\n"
        asking.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + BODY[:500])
        time.sleep(0.5)
        os.killpg(process.pid, ending)  # to its helpers too, as a terminal and systemd do
        time.sleep(0.5)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port))
        asking.sendall(BODY[500:])
        answer = http.client.HTTPResponse(asking)
        answer.begin()
        assert answer.status == 200
        assert json.load(answer)["predictions"][0]["path"] == "Jane-Doe.png"
        output, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert output == ""
        assert "Jane" not in errors
        assert errors.endswith("Ctrl-C ends it\n")  # what it said at the start


def test_workers_end_with_a_killed_server():
    with serving("--jobs", 2) as (process, _):
        process.kill()
        _, errors = process.communicate(timeout=20)  # comes back when the last of them is gone
        assert "Traceback" not in errors


def test_endless_heads_are_cut_off():
    with serving() as (_, port), socket.create_connection(("127.0.0.1", port)) as asking:
        asking.settimeout(10)
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        with pytest.raises(OSError):  # noqa: PT011, PT012  # reset or broken pipe, as it comes
            for _ in range(100):
                asking.sendall(b"a" * 10_000)
                time.sleep(0.01)


def test_other_addresses_need_a_token():
    assert "must bear a token" in refused("--host", "0.0.0.0")  # noqa: S104
    assert "16 ASCII characters" in refused(MELASCOPE_TOKEN="short")  # noqa: S106
    assert refused("--token-file", "missing").startswith("melascope: missing: cannot be read as a token")
    with serving("--host", "0.0.0.0", MELASCOPE_TOKEN=TOKEN) as (_, port):  # noqa: S104
        for token, status in ((TOKEN, 200), ("another", 401)):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/v1/model", headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == status


def test_an_address_in_use_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused("--port", port).startswith(f"melascope: 127.0.0.1:{port}: cannot listen there")


def test_a_missing_extra_is_named():
    code = "import sys; sys.modules['uvicorn'] = None\nimport melascope.__main__"
    done = subprocess.run([sys.executable, "-c", code, "serve"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "melascope: this needs the package uvicorn; pip install 'melascope[web]'\n"


@pytest.mark.slow
def test_all_requests_are_answered_under_load(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import load

    measured = load.measure(SHIPPED, clients=32, seconds=8)
    assert set(measured["codes"]) <= {"200", "503"}
    assert measured["ratio"] > 0.5  # far below what it is on a machine that has nothing else to do
    assert measured["half_p99_s"] < 5


@pytest.mark.slow
def test_fuzzed_requests_never_break_it(tmp_path):
    with serving(MELASCOPE_TOKEN=TOKEN) as (process, port):
        command = [
            Path(sys.executable).with_name("schemathesis"), "run", f"http://127.0.0.1:{port}/openapi.json",
            "--header", f"Authorization: Bearer {TOKEN}", "--max-examples", "100", "--seed", "0",
            "--phases", "examples,coverage,fuzzing", "--checks", "all", "--request-timeout", "20",
            "--suppress-health-check", "all", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[1].endswith("Ctrl-C ends it\n")
