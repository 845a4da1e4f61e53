"""The ISIC Archive on loopback, real sockets: faithful where it answers, and faulty on demand.

Written from what the archive's public server does; `tests/test_fetch_official.py` shows that the official command
downloads from it.

    with ArchiveServer(make_images(folder, 50)) as server: ...
    python tests/archive_server.py FOLDER --images 200 --port 8000     # until interrupted
"""

import argparse
import base64
import csv
import email.utils
import hashlib
import io
import itertools
import json
import re
import socket
import struct
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import numpy as np
from PIL import Image

LICENSES = ("CC-0", "CC-BY", "CC-BY-NC")
PAGE = 100
BASE = ("isic_id", "attribution", "copyright_license")


# Images


@dataclass
class Held:
    """One image that the server holds."""

    isic_id: str
    created: str
    license: str
    attribution: str
    path: Path
    acquisition: dict[str, Any]
    clinical: dict[str, Any]
    collections: tuple[int, ...] = ()
    suffix: str = ".jpg"

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()

    @property
    def told(self) -> dict[str, Any]:
        return {
            "isic_id": self.isic_id,
            "copyright_license": self.license,
            "attribution": self.attribution,
            "public": True,
            **self.acquisition,
            **self.clinical,
        }


_DIAGNOSES = (
    ("Benign", "Benign melanocytic proliferations", "Nevus"),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma Invasive"),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma in situ"),
    ("Malignant", "Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma"),
    ("Indeterminate", "Indeterminate epidermal proliferations", "Solar or actinic keratosis"),
    ("Benign", "Benign epidermal proliferations", "Seborrheic keratosis"),
    (),
)
_TYPES = ("dermoscopic",) * 7 + ("clinical: close-up", "TBP tile: close-up", "clinical: overview")
_CREDITS = ("Anonymous", "Anonymous", "Klinik für Dermatologie, Zürich", "=Formula clinic", "MILK study team")


def make_images(folder: Path, n: int = 40, seed: int = 0, side: int = 48, kinds: bool = True) -> list[Held]:
    """Draw noise with provenance; the first are of odd kinds: a PNG called .jpg, a PNG, grey, CMYK, turned by EXIF.

    `created` repeats, so that pages end within ties.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    held = []
    for i in range(n):
        name = f"ISIC_{10 * i + 7:07d}"
        suffix = ".png" if kinds and i == 1 else ".jpg"
        path = folder / f"{name}{suffix}"
        pixels = rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
        _save(Image.fromarray(pixels), path, i if kinds else 99)
        acquisition = {"pixels_x": side + 8, "pixels_y": side, "image_type": _TYPES[i % len(_TYPES)]}
        if acquisition["image_type"] == "dermoscopic":
            acquisition["dermoscopic_type"] = ("contact polarized", "contact non-polarized")[i % 2]
        if i % 11 == 5:
            acquisition["image_manipulation"] = "synthetic"
        held.append(
            Held(
                name,
                f"2024-01-05 10:{i // 7 // 60 % 60:02d}:{i // 7 % 60:02d}.123456+00:00",
                LICENSES[i % 3],
                _CREDITS[i % len(_CREDITS)],
                path,
                acquisition,
                _clinical(rng, i),
                (65,) if i % 4 == 0 else (70, 212) if i % 4 == 1 else (),
                suffix,
            )
        )
    return held


def _save(image: Image.Image, path: Path, kind: int) -> None:
    data, options = io.BytesIO(), {}
    if kind == 2:
        image = image.convert("L")
    if kind == 3:
        image = image.convert("CMYK")
    if kind == 4:
        exif = Image.Exif()
        exif[0x0112] = 6
        options["exif"] = exif
    image.save(data, "PNG" if kind in (0, 1) else "JPEG", **options)
    path.write_bytes(data.getvalue())


def _clinical(rng: np.random.Generator, i: int) -> dict[str, Any]:
    told: dict[str, Any] = {"patient_id": f"IP_{i // 3:07d}", "lesion_id": f"IL_{i // 2:07d}"}
    for level, word in enumerate(_DIAGNOSES[i % len(_DIAGNOSES)], start=1):
        told[f"diagnosis_{level}"] = word
    if i % 5:
        told["age_approx"] = int(rng.integers(3, 18)) * 5
    if i % 3:
        told["sex"] = ("male", "female")[int(rng.integers(2))]
    if i % 4 == 1:
        told["mel_thick_mm"] = ("0.5", "1.2", 2.5)[i % 3]  # decimals come as text or as numbers
    if i % 2:
        told["melanocytic"] = bool(rng.integers(2))
    told["anatom_site_1"] = ("Trunk", "Head and neck", "Upper extremity")[i % 3]
    return told


# Queries


def found_by(held: list[Held], query: str, collections: str = "") -> list[Held]:
    """The images of a query, in the archive's order; raises QueryError where it cannot be read."""
    wanted = {int(number) for number in re.findall(r"\d+", collections)}
    chosen = [image for image in held if not wanted or wanted & set(image.collections)]
    if query.strip():
        holds = parsed(query.strip())
        chosen = [image for image in chosen if holds(image.told)]
    return sorted(chosen, key=lambda image: image.created)


_FIELDS = (
    *(
        "public",
        "isic_id",
        "copyright_license",
        "age_approx",
        "sex",
        "image_type",
        "melanocytic",
        "mel_thick_mm",
    ),
    *(f"{name}_{level}" for name in ("diagnosis", "anatom_site") for level in range(1, 6)),
)
_TOKEN = re.compile(r'\s*(?:([()])|(AND|OR)\b|(-?)(\w+):(\[[^]}]*[]}]|\{[^]}]*[]}]|"[^"]+"|[\w*-]+))\s*')
_RANGE = re.compile(r"([\[{])(\S+) TO (\S+)([\]}])")
Test = Callable[[dict[str, Any]], bool]


class QueryError(ValueError):
    """The archive cannot read this query."""


def parsed(query: str) -> Test:
    """What a query asks of one image's fields."""
    tokens, at = [], 0
    while at < len(query):
        if not (token := _TOKEN.match(query, at)):
            raise QueryError(query[at:])
        tokens.append(token.groups())
        at = token.end()
    test = _any(tokens)
    if tokens:
        raise QueryError(tokens)
    return test


def _any(tokens: list[Any]) -> Test:
    tests = [_all(tokens)]
    while tokens and tokens[0][1] == "OR":
        del tokens[0]
        tests.append(_all(tokens))
    return lambda fields: any(test(fields) for test in tests)


def _all(tokens: list[Any]) -> Test:
    tests = [_unit(tokens)]
    while tokens and tokens[0][1] == "AND":
        del tokens[0]
        tests.append(_unit(tokens))
    return lambda fields: all(test(fields) for test in tests)


def _unit(tokens: list[Any]) -> Test:
    bracket, word, minus, name, value = tokens.pop(0) if tokens else (")", "", "", "", "")
    if bracket == "(":
        test = _any(tokens)
        if not tokens or tokens.pop(0)[0] != ")":
            raise QueryError("no closing parenthesis")
        return test
    if bracket or word or name not in _FIELDS:
        raise QueryError(bracket or word or name)
    return lambda fields: (name in fields and _matches(fields[name], value.strip('"'))) != bool(minus)


def _matches(value: Any, wanted: str) -> bool:
    if bounds := _RANGE.fullmatch(wanted):
        at = float(value)
        above = bounds[2] == "*" or (at >= float(bounds[2]) if bounds[1] == "[" else at > float(bounds[2]))
        return above and (
            bounds[3] == "*" or (at <= float(bounds[3]) if bounds[4] == "]" else at < float(bounds[3]))
        )
    return fnmatchcase(str(value).lower() if isinstance(value, bool) else str(value), wanted)


# Pages


def page_of(held: list[Held], limit: int, cursor: dict[str, Any]) -> tuple[list[Held], Any, Any]:
    """One page of images in order, and the cursors of the next and the previous one, or None."""
    offset, backwards, position = cursor["o"], cursor["r"], cursor["p"]
    rows = held[::-1] if backwards else held
    if position is not None:
        rows = [
            image for image in rows if (image.created < position if backwards else image.created > position)
        ]
    page, more = rows[offset : offset + limit], rows[offset + limit : offset + limit + 1]
    moved = position is not None or offset > 0
    ahead = _onward(page, more[0].created, limit, cursor, moved) if more else None
    behind = {"o": 0, "r": True, "p": page[0].created} if page and moved else None
    if backwards:
        page.reverse()
        ahead, behind = (
            {"o": 0, "r": False, "p": page[-1].created} if page else None,
            ahead and {**ahead, "r": True},
        )
    return page, ahead, behind


def _onward(
    page: list[Held], following: str, limit: int, cursor: dict[str, Any], moved: bool
) -> dict[str, Any]:
    for ties, image in enumerate(reversed(page)):
        if image.created != following:
            return {"o": ties, "r": False, "p": image.created}
    if not moved:  # nothing but ties on the first page
        return {"o": limit, "r": False, "p": None}
    return {"o": cursor["o"] + limit, "r": False, "p": cursor["p"]}


def encode(cursor: dict[str, Any]) -> str:
    told = {"o": cursor["o"] or None, "r": 1 if cursor["r"] else None, "p": cursor["p"]}
    kept = {key: value for key, value in told.items() if value is not None}
    return base64.b64encode(urlencode(kept).encode()).decode()


def decode(text: str | None) -> dict[str, Any]:
    """Raises ValueError for what is no cursor."""
    told = parse_qs(base64.b64decode(text).decode(), keep_blank_values=True) if text else {}
    offset = min(max(int(told.get("o", ["0"])[0]), 0), 100)
    return {"o": offset, "r": bool(int(told.get("r", ["0"])[0])), "p": told.get("p", [None])[0]}


# Tables and texts


def metadata_csv(held: list[Held]) -> str:
    fields = sorted({name for image in held for name in {**image.acquisition, **image.clinical}} - _PIXELS)
    out = io.StringIO()
    writer = csv.DictWriter(out, [*BASE, *fields], extrasaction="ignore")
    writer.writeheader()
    for image in sorted(held, key=lambda image: image.isic_id):
        writer.writerow({name: _guarded(value) for name, value in image.told.items()})
    return out.getvalue()


_PIXELS = {"pixels_x", "pixels_y"}


def _guarded(value: Any) -> Any:
    return f"\t{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def attribution_txt(held: list[Held]) -> str:
    counted = Counter(image.attribution for image in held)
    return "\n\n".join(sorted(counted, key=lambda name: (name == "Anonymous", -counted[name], name)))


def license_txt(name: str) -> str:
    return f"The text of {name}.\n"


# Faults


FAULTS = ("429", "503", "reset", "short", "html", "empty", "429 date", "cut", "slow")
ON_ANY = ("429", "503", "reset", "short", "slow", "429 date")  # those that a JSON answer can have too


@dataclass
class Faults:
    """Every so many requests one goes wrong, each time in another way; no address more than three times in a row."""

    every: int = 0
    kinds: tuple[str, ...] = FAULTS
    always: dict[str, str] = field(default_factory=dict)
    """Kind of fault by the end of the path, such as `{"ISIC_0000007.jpg": "404"}`."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._next = itertools.cycle(self.kinds)
        self._asked = 0
        self._in_a_row: Counter[str] = Counter()
        self.made: Counter[str] = Counter()

    def of(self, path: str) -> str | None:
        for end, kind in self.always.items():
            if path.endswith(end):
                return kind
        if not self.every:
            return None
        with self._lock:
            self._asked += 1
            if self._asked % self.every or self._in_a_row[path] == 3:
                del self._in_a_row[path]
                return None
            kind = next(self._next)
            if not path.startswith("/images/") and kind not in ON_ANY:
                kind = "503"
            self._in_a_row[path] += 1
            self.made[kind] += 1
            return kind


# The server


class ArchiveServer(ThreadingHTTPServer):
    """Answers on 127.0.0.1 until the end of the `with` block.

    Attributes to change while it runs: `files` (bytes by path, such as `/challenges/2019/x.csv`), `faults`,
    `repeats` (the first row of a page is the last one of the page before), `counts` (whether pages tell their number),
    `expired` (links to ZIPs are), `ranges` (whether files can be had in parts), `latency` (seconds before each answer).
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, held: list[Held], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.held = held
        self.images = {f"{image.isic_id}{image.suffix}": image for image in held}
        self.files: dict[str, bytes] = {}
        self.faults = Faults()
        self.repeats = False
        self.counts = True
        self.expired = False
        self.ranges = True
        self.latency = 0.0
        self.cut_at: int | None = None
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.tokens: dict[str, tuple[str, str]] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    @property
    def environment(self) -> dict[str, str]:
        """What makes the command speak to this server and nobody else."""
        return {"MELASCOPE_ISIC_API": f"{self.base}api/v2/", "MELASCOPE_ISIC_FILES": self.base}

    def __enter__(self) -> "ArchiveServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that are killed are part of the tests

    def asked(self, part: str) -> int:
        """How many requests had this in their path."""
        return sum(part in path for _, path, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ArchiveServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        if self.server.latency:
            time.sleep(self.server.latency)
        parts = urlsplit(self.path)
        self.asked = {
            key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        path = unquote(parts.path)
        self.fault = self.server.faults.of(path)
        if self.fault == "reset":
            self._reset()
        elif self.fault in ("429", "429 date", "503", "403", "404", "500"):
            wait = {"429": "0", "429 date": email.utils.formatdate(time.time() - 1, usegmt=True)}.get(
                self.fault
            )
            self._send(int(self.fault[:3]), b"busy", "text/plain", {"Retry-After": wait} if wait else {})
        elif path.startswith("/api/v2/"):
            self._api(path.removeprefix("/api/v2/"))
        elif path == "/download":
            self._zip()
        else:
            self._file(path)

    # Answers

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        announced = len(body)
        if self.fault == "html":
            body, kind, announced = b"<!DOCTYPE html><title>Maintenance</title>", "text/html", 41
        if self.fault == "empty":
            body, announced = b"", 0
        if self.fault == "cut":
            body = body[: len(body) // 2]
            announced = len(body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(announced))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault == "short":
            self.wfile.write(body[: len(body) // 2])
            self._hang_up()
        elif self.server.cut_at is not None and len(body) > self.server.cut_at:
            self.wfile.write(body[: self.server.cut_at])
            self._hang_up()
        elif self.fault == "slow":
            for start in range(0, len(body), len(body) // 3 + 1):
                self.wfile.write(body[start : start + len(body) // 3 + 1])
                self.wfile.flush()
                time.sleep(0.02)
        else:
            self.wfile.write(body)

    def _json(self, told: Any, status: int = 200) -> None:
        self._send(status, json.dumps(told).encode(), "application/json; charset=utf-8")

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    # The interface

    def _api(self, path: str) -> None:
        if path in ("images/", "images/search/"):
            self._images()
        elif path == "images/search/size/":
            if (found := self._found()) is not None:
                self._json({"size": sum(image.path.stat().st_size for image in found)})
        elif match := re.fullmatch(r"images/(ISIC_\d+)/", path):
            image = next((image for image in self.server.held if image.isic_id == match[1]), None)
            self._json(self._image(image)) if image else self._json({"detail": "Not Found"}, 404)
        elif re.fullmatch(r"images/ISIC_\d+/similar/", path):
            self._json({"detail": "Unauthorized"}, 401)
        elif path == "collections/":
            self._json(
                {
                    "results": [self._collection(n) for n in self._numbers()],
                    "count": 3,
                    "next": None,
                    "previous": None,
                }
            )
        elif match := re.fullmatch(r"collections/(\d+)/", path):
            known = int(match[1]) in self._numbers()
            self._json(
                self._collection(int(match[1])) if known else {"detail": "Not Found"}, 200 if known else 404
            )
        elif path == "zip-download/url/" and self.command == "POST":
            self._link()
        elif match := re.fullmatch(r"zip-download/license-file/(.+)/", path):
            known = match[1] in LICENSES
            text = license_txt(match[1]) if known else "Not Found"
            self._send(200 if known else 404, text.encode(), "text/plain")
        elif path.startswith("zip-download/"):
            self._of_link(path)
        else:
            self._json({"detail": "Not Found"}, 404)

    def _found(self, asked: dict[str, str] | None = None) -> list[Held] | None:
        asked = self.asked if asked is None else asked
        try:
            return found_by(self.server.held, asked.get("query") or "", str(asked.get("collections") or ""))
        except QueryError:
            self._json({"message": "Could not parse search query."}, 400)
            return None

    def _images(self) -> None:
        try:
            limit = min(max(int(self.asked.get("limit") or 0) or PAGE, 0), PAGE)
            cursor = decode(self.asked.get("cursor"))
        except ValueError:
            self._json(
                {
                    "detail": [
                        {
                            "type": "value_error",
                            "loc": ["query", "cursor"],
                            "msg": "Value error, Invalid cursor.",
                            "ctx": {"error": "Invalid cursor."},
                        }
                    ]
                },
                422,
            )
            return
        found = self._found()
        if found is None:
            return
        page, ahead, behind = page_of(found, limit, cursor)
        if self.server.repeats and cursor["p"] and found.index(page[0]):
            page = [found[found.index(page[0]) - 1], *page]
        count = len(found) if self.server.counts and cursor["p"] is None else None
        self._json(
            {
                "results": [self._image(image) for image in page],
                "count": count,
                "next": self._link_to(ahead),
                "previous": self._link_to(behind),
            }
        )

    def _link_to(self, cursor: dict[str, Any] | None) -> str | None:
        if cursor is None:
            return None
        asked = sorted({**self.asked, "cursor": encode(cursor)}.items())
        return f"{self.server.base.rstrip('/')}{urlsplit(self.path).path}?{urlencode(asked)}"

    def _image(self, image: Held) -> dict[str, Any]:
        url = f"{self.server.base}images/{image.isic_id}{image.suffix}"
        return {
            "public": True,
            "isic_id": image.isic_id,
            "copyright_license": image.license,
            "attribution": image.attribution,
            "files": {
                "full": {"url": url, "size": image.path.stat().st_size},
                "thumbnail_256": {"url": url.replace("/images/", "/thumbnails/"), "size": 100},
            },
            "metadata": {"acquisition": image.acquisition, "clinical": image.clinical},
        }

    def _numbers(self) -> list[int]:
        return sorted({number for image in self.server.held for number in image.collections})

    def _collection(self, number: int) -> dict[str, Any]:
        return {
            "id": number,
            "name": f"Challenge {number}",
            "description": "",
            "public": True,
            "pinned": False,
            "locked": True,
            "doi": None,
            "doi_url": None,
        }

    # ZIPs

    def _link(self) -> None:
        try:
            asked = json.loads(self.body)
            if set(asked) - {"query", "collections"}:
                raise ValueError("extra")
        except ValueError:
            self._json({"detail": [{"type": "extra_forbidden", "loc": ["body"], "msg": "Extra inputs"}]}, 422)
            return
        asked = {key: str(value or "") for key, value in asked.items()}
        if self._found(asked) is not None:
            token = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:20]
            self.server.tokens[token] = asked.get("query", ""), asked.get("collections", "")
            self._json(f"{self.server.base}download?zsid={quote(token)}")

    def _linked(self, name: str) -> list[Held] | None:
        token = self.asked.get(name, "")
        if self.server.expired or token not in self.server.tokens:
            self._json({"detail": "Unauthorized"}, 401)
            return None
        return found_by(self.server.held, *self.server.tokens[token])

    def _of_link(self, path: str) -> None:
        held = self._linked("token")
        if held is None:
            return
        if path == "zip-download/file-listing/":
            listed = [
                {"url": self._image(i)["files"]["full"]["url"], "zipPath": f"{i.isic_id}{i.suffix}"}
                for i in held
            ]
            self._json({"suggestedFilename": "ISIC-images.zip", "files": listed})
        elif path == "zip-download/metadata-file/":
            self._send(200, metadata_csv(held).encode(), "text/csv")
        elif path == "zip-download/attribution-file/":
            self._send(200, attribution_txt(held).encode(), "text/plain")
        else:
            self._json({"detail": "Not Found"}, 404)

    def _zip(self) -> None:
        held = self._linked("zsid")
        if held is None:
            return
        data = zip_of(held)
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Disposition", 'attachment; filename="ISIC-images.zip"')
        self.send_header("Transfer-Encoding", "chunked")  # no length, no ranges
        self.end_headers()
        if self.fault == "short":
            data = data[: len(data) // 2]
        for start in range(0, len(data), 4096):
            chunk = data[start : start + 4096]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if self.fault == "short":
            self._hang_up()
        else:
            self.wfile.write(b"0\r\n\r\n")

    # Files, as S3 gives them

    def _file(self, path: str) -> None:
        body = self.server.files.get(path)
        if match := re.fullmatch(r"/images/(ISIC_\d+)(\.\w+)", path):
            image = self.server.images.get(match[1] + match[2])
            body = image.data if image else None
        if body is None:
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
            return
        tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        headers = {"ETag": tag, **({"Accept-Ranges": "bytes"} if self.server.ranges else {})}
        kind = "image/jpeg" if path.startswith("/images/") else "application/octet-stream"
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.server.ranges else None
        if ranged and self.headers.get("If-Range", tag) == tag:
            start = int(ranged[1])
            if start >= len(body):
                self._send(416, b"", "text/plain", {"Content-Range": f"bytes */{len(body)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._send(206, body[start:], kind, headers)
        else:
            self._send(200, body, kind, headers)


def zip_of(held: list[Held]) -> bytes:
    """What the archive's ZIP service makes of a search."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in _members(held):
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return out.getvalue()


def _members(held: list[Held]) -> Iterator[tuple[str, bytes]]:
    for image in held:
        yield f"{image.isic_id}{image.suffix}", image.path.read_bytes()
    yield "metadata.csv", metadata_csv(held).encode()
    yield "attribution.txt", attribution_txt(held).encode()
    for license_ in sorted({image.license for image in held}):
        yield f"licenses/{license_}.txt", license_txt(license_).encode()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=int, default=0, help="one request in so many goes wrong")
    given = parser.parse_args()
    with ArchiveServer(make_images(given.folder, given.images, side=given.side), given.port) as server:
        server.latency, server.faults = given.latency, Faults(given.faults)
        print(server.base, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
