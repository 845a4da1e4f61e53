"""Fuzz the readers of untrusted files: mutations of real files, thousands or, on request, millions.

A child process does the work, so that a crash is noticed, named and survived. A case passes if its answer is `ok`,
`refused` or `error` (of a model: accepted or refused), it takes at most two seconds, and the process stays within its
memory. Files that fail are kept in the folder `--keep`.

    .venv/bin/python tools/fuzz.py image --cases 100000
    .venv/bin/python tools/fuzz.py keras --model models/finetuned_model.keras
    .venv/bin/python tools/fuzz.py onnx
"""

import argparse
import io
import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from random_model import make_model

from melascope import synthetic
from melascope.errors import ModelError
from melascope.infer import runtime
from melascope.infer.predictor import Predictor
from melascope.model import keras_file, onnx_file
from melascope.model.card import Card

SECONDS = 2.0  # no case may take longer
MEGABYTES = 1024  # no process may hold more
PATIENCE = 20.0  # a child that prints nothing for so long hangs
BATCH = 5000  # cases of one child
SIZE = 32
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "ISIC-images.zip"
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Change a file in one to four places: bits, bytes, numbers, blocks deleted, doubled or replaced."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not changed:
            break
        # Most changes hit the first or the last kilobyte, where formats describe the rest.
        at = int(rng.integers(len(changed)))
        edge = min(len(changed), 1024)
        at = [at % edge, len(changed) - 1 - at % edge, at][rng.integers(3)]
        size = int(rng.integers(1, 1 + min(len(changed), 400)))
        match rng.integers(7):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at : at + size] = rng.bytes(min(size, 16))
            case 2:
                width = int(rng.choice([1, 2, 4, 8]))
                number = int(rng.choice(NUMBERS)) % 256**width
                order = "little" if rng.random() < 0.5 else "big"
                changed[at : at + width] = number.to_bytes(width, order)
            case 3:
                del changed[at : at + size]
            case 4:
                changed[at:at] = changed[at : at + size]
            case 5:
                start = int(rng.integers(len(other)))
                changed[at : at + size] = other[start : start + size]
            case 6:
                del changed[at:]
    return bytes(changed)


def mutate_inside(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one member of a ZIP and pack it again: its checksum would give any other change away."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(packed, "w") as target:
        names = source.namelist()
        changed = names[rng.integers(len(names))]
        for name in names:
            member = source.read(name)
            target.writestr(name, mutate(member, member, rng) if name == changed else member)
    return packed.getvalue()


def image_seeds() -> list[bytes]:
    """Photographs, real ones where there are some, and a file of each format and mode."""
    picture = Image.fromarray(synthetic.draw(0, synthetic.MELANOMA).pixels).resize((96, 72))
    seeds = []
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"):
        for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP"):
            for options in ({}, {"progressive": True, "exif": _exif()}, {"compression": "tiff_lzw"}):
                data = io.BytesIO()
                try:
                    picture.convert(mode).save(data, kind, **options)
                except (OSError, ValueError, KeyError, SystemError):
                    continue  # not a mode of this format
                seeds.append(data.getvalue())
    if REAL.is_file():
        with zipfile.ZipFile(REAL) as source:
            names = [name for name in source.namelist() if name.endswith(".jpg")]
            seeds += [source.read(name) for name in names[:50]]
    return seeds


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    return exif.tobytes()


def image_case(model: Path, folder: Path) -> Callable[[bytes], str]:
    """The status that `predict` gives a file."""
    predictor, path = Predictor.load(model), folder / "case"

    def answer(data: bytes) -> str:
        path.write_bytes(data)
        (result,) = predictor.predict([str(path)])
        return result.status

    return answer


def keras_case(model: Path, folder: Path) -> Callable[[bytes], str]:
    """What is decided about a `.keras` file before Keras sees it."""
    path = folder / "case.keras"

    def answer(data: bytes) -> str:
        path.write_bytes(data)
        try:
            keras_file.inspect(path)
            keras_file.inspect_weights(path)
        except ModelError:
            return "refused"
        return "accepted"

    return answer


def onnx_case(model: Path, folder: Path) -> Callable[[bytes], str]:
    """What is decided about an `.onnx` file, as if its hash had been changed to match.

    A file that passes the inspection is run on one image.
    """
    size = Card.read(model.with_suffix(".json")).input_size
    pixels = np.zeros((1, size, size, 3), dtype=np.float32)

    def answer(data: bytes) -> str:
        try:
            onnx_file.inspect(data, "case.onnx")
        except ModelError:
            return "refused"
        try:
            session = runtime.session(data)
        except ModelError:
            return "not loaded"
        try:
            session.run(None, {"image": pixels})
        except Exception:  # its exception types are not public
            return "not run"
        return "accepted"

    return answer


CASES: dict[str, Callable[[Path, Path], Callable[[bytes], str]]] = {
    "image": image_case,
    "keras": keras_case,
    "onnx": onnx_case,
}


def seeds_of(kind: str, model: Path) -> list[bytes]:
    """The files that are mutated."""
    return image_seeds() if kind == "image" else [model.with_suffix(f".{kind}").read_bytes()]


def case(seeds: list[bytes], number: int) -> bytes:
    """The file of a case; the same number always gives the same file."""
    rng = np.random.default_rng(number)
    first, second = rng.integers(len(seeds), size=2)
    if zipfile.is_zipfile(io.BytesIO(seeds[first])) and rng.random() < 0.8:
        return mutate_inside(seeds[first], rng)
    return mutate(seeds[first], seeds[second], rng)


def peak_megabytes() -> int:
    """The peak memory of this process. Other ways to ask include the parent's memory at the start."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak[1]) // 1024 if peak else 0


def child(kind: str, model: Path, start: int, stop: int) -> None:
    """Run cases; print each before it runs and how it ended."""
    warnings.simplefilter("ignore")
    report = os.fdopen(os.dup(1), "w")  # what libraries print goes nowhere
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    seeds = seeds_of(kind, model)
    with tempfile.TemporaryDirectory() as folder:
        answer_for = CASES[kind](model, Path(folder))
        for number in range(start, stop):
            data = case(seeds, number)
            print(json.dumps({"case": number}), file=report, flush=True)
            started = time.perf_counter()
            answer = answer_for(data)
            took = time.perf_counter() - started
            outcome = {"answer": answer, "seconds": round(took, 3), "megabytes": peak_megabytes()}
            print(json.dumps(outcome), file=report, flush=True)


def fuzz(kind: str, model: Path, cases: int, start: int, keep: Path) -> dict[str, Any]:
    """Run cases in children; return the outcome, with the cases that failed."""
    seeds = seeds_of(kind, model)
    answers: Counter[str] = Counter()
    broken: list[dict[str, Any]] = []
    slowest, peak, number, end = 0.0, 0, start, start + cases
    while number < end:
        stop = min(end, number + BATCH)
        words = [sys.executable, __file__, kind, "--model", str(model), "--child", str(number), str(stop)]
        for line in listen(words):
            if "case" in line:
                number = line["case"]
                continue
            problem = line.get("died")
            if problem is None:
                answers[line["answer"]] += 1
                slowest, peak = max(slowest, line["seconds"]), max(peak, line["megabytes"])
                if line["seconds"] > SECONDS:
                    problem = f"took {line['seconds']} s"
                elif line["megabytes"] > MEGABYTES:
                    problem = f"held {line['megabytes']} MB"
            if problem is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{kind}-{number}").write_bytes(case(seeds, number))
                broken.append({"case": number, "problem": problem})
        number += 1
    return {
        "kind": kind,
        "cases": answers.total() + sum("died" in item["problem"] for item in broken),
        "answers": dict(answers.most_common()),
        "slowest_s": slowest,
        "peak_mb": peak,
        "broken": broken,
    }


def listen(words: list[str]) -> Any:
    """The lines that a child prints; the last says how it died, if it did or had to be killed."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None  # noqa: S101  # a pipe was asked for
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        rest, wait = b"", PATIENCE + 60  # the first line takes as long as a start does
        while selector.select(wait):
            data = process.stdout.read1(2**16)
            if not data:
                if process.wait():
                    yield {"died": f"died ({process.returncode})"}
                return
            wait = PATIENCE
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)
        process.kill()
        yield {"died": f"died: printed nothing for {PATIENCE} s"}


def main() -> None:
    """Fuzz one kind of file; exit code 1 if a case failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=CASES)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--model", type=Path, help="a model with all its files; without it, one is made")
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="folder for files that fail")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        child(words.kind, words.model, *words.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = words.model or make_model(Path(folder), "MobileNetV2", SIZE)
        outcome = fuzz(words.kind, model, words.cases, words.start, words.keep)
    print(json.dumps(outcome, indent=2))
    sys.exit(1 if outcome["broken"] else 0)


if __name__ == "__main__":
    main()
