"""Throughput of the server under load beside that of the bare predictor, in one run, and the time of an answer.

The bare predictor analyses files from memory on every core. The server gets the same files from clients of this
process. They share the cores with it; their processor time is shown. Prints a table and writes `bench-load.json`.

    make load
"""

import argparse
import asyncio
import io
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import record

from melascope import synthetic
from melascope.images import CORES
from melascope.infer.predictor import Predictor
from melascope.model.folder import SHIPPED

CLIENTS, SECONDS = 32, 60.0
SIZE = (600, 450)  # pixels, as HAM10000 has
_BOUNDARY = "load"


def pictures(count: int = 16) -> list[bytes]:
    """Drawn lesions as JPEG files."""
    made = []
    for seed in range(count):
        file = io.BytesIO()
        pixels = synthetic.draw(seed, (synthetic.NEVUS, synthetic.MELANOMA)[seed % 2]).pixels
        Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
        made.append(file.getvalue())
    return made


def bare(predictor: Predictor, files: list[bytes], seconds: float) -> tuple[float, float]:
    """The predictor alone, each core taking its own: images a second, and processor seconds an image."""
    end, used = time.perf_counter() + seconds, time.process_time()

    def work(start: int) -> int:
        done = 0
        for data in itertools.islice(itertools.cycle(files), start, None):
            if time.perf_counter() > end:
                return done
            predictor.answer_file(lambda data=data: data, "")
            done += 1
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        done = sum(pool.map(work, range(CORES)))
    return done / (time.perf_counter() - started), (time.process_time() - used) / done


@contextmanager
def serving(model: Path) -> Iterator[tuple[int, int]]:
    """A server of its own process; gives its port and the process's id."""
    command = [sys.executable, "-m", "melascope", "serve", "--port", "0"]
    with subprocess.Popen([*command, "--model", str(model)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101
            yield int(process.stdout.readline().rpartition(":")[2]), process.pid
        finally:
            process.terminate()


def request(data: bytes, port: int) -> bytes:
    """A whole request with one file, built once so that sending costs next to nothing."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return (
        f"POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n\r\n"
    ).encode() + body


@dataclass
class Tally:
    """Answers of all clients."""

    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Of each answer."""


class Client(asyncio.Protocol):
    """One connection that sends one request after another."""

    def __init__(self, requests: Iterator[bytes], tally: Tally, end: float, pause: float) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self._requests, self._tally, self._end, self._pause = requests, tally, end, pause
        self._got = b""
        self._due = time.perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; clients with a pause begin at different times."""
        self._transport: Any = transport
        if self._pause:
            self._due += self._pause * np.random.default_rng(id(self)).random()
        self._later()

    def _later(self) -> None:
        # Paced by the clock, not by answers: a late answer does not make the load lighter.
        asyncio.get_running_loop().call_later(max(0.0, self._due - time.perf_counter()), self._ask)

    def _ask(self) -> None:
        if time.perf_counter() > self._end:
            self._transport.close()
            return
        self._asked = max(self._due, time.perf_counter()) if not self._pause else self._due
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Collect an answer, whose head has its length."""
        self._got += data
        head, complete, body = self._got.partition(b"\r\n\r\n")
        if not complete:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._tally.codes[head[9:12].decode()] += 1
        self._tally.seconds.append(time.perf_counter() - self._asked)
        self._got = b""
        self._due = self._due + self._pause if self._pause else time.perf_counter()
        self._later() if self._pause else self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Resolve `closed`; a connection lost too early is an error."""
        if time.perf_counter() < self._end:
            self._tally.codes["connection lost"] += 1
        self.closed.set_result(None)


async def ask(
    port: int, files: list[bytes], clients: int, seconds: float, rate: float | None = None
) -> Tally:
    """Send requests for some time.

    Args:
        port: of the server on this machine.
        files: to send in turn.
        clients: connections.
        seconds: how long.
        rate: requests a second of all clients; None for as fast as answers come.
    """
    tally, requests = Tally(), itertools.cycle([request(data, port) for data in files])
    end, loop = time.perf_counter() + seconds, asyncio.get_running_loop()
    pause = clients / rate if rate else 0.0
    made = [
        await loop.create_connection(lambda: Client(requests, tally, end, pause), "127.0.0.1", port)
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.closed for _, client in made))
    return tally


def measure(model: Path, clients: int, seconds: float) -> dict[str, Any]:
    """Throughput of both and latency at half load; the predictor alone is measured before and after."""
    predictor, files = Predictor.load(model), pictures()
    bare(predictor, files, 1)
    with serving(model) as (port, server):
        asyncio.run(ask(port, files, clients, 1))
        alone = [bare(predictor, files, seconds / 4)]
        before, started = (time.process_time(), _processor(server)), time.perf_counter()
        full = asyncio.run(ask(port, files, clients, seconds))
        took = time.perf_counter() - started
        asking, serving_them = time.process_time() - before[0], _processor(server) - before[1]
        alone.append(bare(predictor, files, seconds / 4))
        served = full.codes["200"] / took
        half = asyncio.run(ask(port, files, clients, seconds / 2, served / 2))
    return {
        "clients": clients,
        "seconds": seconds,
        "cores": CORES,
        "bare_images_per_s": [speed for speed, _ in alone],
        "served_images_per_s": served,
        "ratio": served / (sum(speed for speed, _ in alone) / 2),
        "bare_processor_ms": 500 * sum(cost for _, cost in alone),
        "served_processor_ms": 1000 * serving_them / full.codes["200"],
        "clients_processor_ms": 1000 * asking / full.codes["200"],
        "codes": dict(full.codes + half.codes),
        **{
            f"{name}_{label}_s": float(np.quantile(tally.seconds, share))
            for name, tally in (("full", full), ("half", half))
            for label, share in (("median", 0.5), ("p99", 0.99))
        },
    }


def _processor(pid: int) -> float:
    """Seconds that a process and those it started have used of all processors; other load hardly changes them."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(_processor, _children(pid)))


def _children(pid: int) -> list[int]:
    """Processes that a process started; each thread has its own list."""
    return [
        int(word)
        for file in Path(f"/proc/{pid}/task").glob("*/children")
        for word in file.read_text().split()
    ]


def main() -> None:
    """Measure and print; exit code 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--out", type=Path, default=Path("bench-load.json"))
    options = parser.parse_args()
    result = measure(options.model, options.clients, options.seconds)
    record(str(options.out), "onnxruntime", "uvicorn", "fastapi", **result)
    alone = " and ".join(f"{value:.0f}" for value in result["bare_images_per_s"])
    print(
        f"bare predictor   {alone} images/s, before and after\n"
        f"served           {result['served_images_per_s']:.0f} images/s to {result['clients']} clients\n"
        f"ratio            {result['ratio']:.2f}   (aim: at least 0.85)\n"
        f"processor time   {result['bare_processor_ms']:.2f} ms an image alone, "
        f"{result['served_processor_ms']:.2f} ms served, and {result['clients_processor_ms']:.2f} ms of the clients\n"
        f"answers          {result['codes']}   (aim: only 200 and 503)\n"
        f"full load        median {1000 * result['full_median_s']:.0f} ms, "
        f"99 % within {1000 * result['full_p99_s']:.0f} ms\n"
        f"half load        median {1000 * result['half_median_s']:.0f} ms, "
        f"99 % within {1000 * result['half_p99_s']:.0f} ms   (aim: below 1000)"
    )
    fine = result["ratio"] >= 0.85 and set(result["codes"]) <= {"200", "503"} and result["half_p99_s"] < 1
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
