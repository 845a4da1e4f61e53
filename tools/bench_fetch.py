"""How long `melascope fetch isic` takes beside the archive's official command, from one server on this machine.

The server is that of the tests. Each response waits for 20 ms, and an image has about 45 kB. Both commands run with
their defaults, in turns, into empty folders. Ours also hashes, decodes, keeps a ledger and writes a summary. The
fastest round of each counts, since other work on the machine only adds time. On a busy machine, compare the CPU time of
the command instead. Prints a table and writes `bench_fetch.json`.

    make bench WHAT=fetch
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record

ROOT = Path(__file__).resolve().parents[1]
PORT = 8000  # the only one on this machine that the official command uses
NOWHERE = "http://127.0.0.1:9"
SERVER = f"http://127.0.0.1:{PORT}/"
OFFICIAL = "import sys; sys.argv[0] = 'isic'; from isic_cli.cli import main; main()"
OURS = "from melascope.cli.main import main; main()"


def seconds(code: str, words: list[str], out: Path) -> tuple[float, float]:
    """Run one command; returns its wall time and CPU time."""
    environment = {**os.environ, "MELASCOPE_ISIC_API": f"{SERVER}api/v2/", "MELASCOPE_ISIC_FILES": SERVER}
    environment |= {
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1",
        "XDG_DATA_HOME": str(out.parent / "home"),
    }
    start, before = time.perf_counter(), _cpu()
    subprocess.run(
        [sys.executable, "-c", code, *words], check=True, capture_output=True, env=environment, input=b"n\n"
    )
    return time.perf_counter() - start, _cpu() - before


def _cpu() -> float:
    """CPU seconds of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds")
    given = parser.parse_args()
    took: dict[str, list[tuple[float, float]]] = {"isic image download": [], "melascope fetch isic": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["--images", given.images, "--side", 256, "--port", PORT, "--latency", given.latency]
        command = [sys.executable, "-m", "helpers.fake_isic", folder / "archive", *words]
        server = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, text=True, cwd=ROOT / "tests"
        )
        try:
            if not server.stdout or not server.stdout.readline().startswith("http"):
                raise SystemExit(f"port {PORT} is taken by something else")
            for turn in range(given.rounds):
                theirs, ours = folder / f"theirs{turn}", folder / f"ours{turn}"
                query = "image_type:*"
                official = ["--dev", "--guest", "--no-version-check", "image", "download", "--search", query]
                took["isic image download"].append(seconds(OFFICIAL, [*official, str(theirs)], theirs))
                took["melascope fetch isic"].append(
                    seconds(OURS, ["fetch", "isic", "--query", query, "--out", str(ours)], ours)
                )
                for out in (theirs, ours):
                    if (there := len(list(out.glob("ISIC_*")))) != given.images:
                        raise SystemExit(f"{out}: {there} images in place of {given.images}")
        finally:
            server.kill()
            server.wait()
    best = {name: min(times)[0] for name, times in took.items()}
    for name, times in took.items():
        rate, cpu = given.images / best[name], 1000 * min(cpu for _, cpu in times) / given.images
        print(
            f"{name:24}{best[name]:7.2f} s  {rate:6.0f} images/s  {cpu:5.2f} ms CPU an image  "
            f"({', '.join(f'{wall:.2f}' for wall, _ in times)})"
        )
    ratio = best["isic image download"] / best["melascope fetch isic"]
    print(f"{ratio:.2f} times as fast")
    figures = {
        "images": given.images,
        "latency_s": given.latency,
        "seconds": {name: [wall for wall, _ in times] for name, times in took.items()},
        "cpu_seconds": {name: [cpu for _, cpu in times] for name, times in took.items()},
        "ratio": ratio,
    }
    record("bench_fetch.json", "isic-cli", "urllib3", **figures)


if __name__ == "__main__":
    main()
