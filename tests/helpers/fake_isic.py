"""The ISIC Archive on this machine, over real sockets; faulty on demand.

Written from the source of the archive's public server; `tests/fetch/test_official.py` shows that the official command
downloads from it.

    with ArchiveServer(make_images(folder, 50)) as server: ...
    cd tests; python -m helpers.fake_isic FOLDER --images 200 --port 8000     # until interrupted
"""

import argparse
import email.utils
import functools
import hashlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from helpers.isic_images import LICENSES, license_txt, make_images, zip_of
from helpers.isic_search import Cursor, QueryError, page_of, search

PAGE_SIZE = 100
FAULTS = ("429", "503", "reset", "short", "html", "empty", "429 date", "cut", "slow")
JSON_FAULTS = ("429", "503", "reset", "short", "slow", "429 date")  # those that a JSON response can have


@dataclass
class Faults:
    """One request in every few fails, in turn in each way; no address more than three times in a row."""

    every: int = 0
    kinds: tuple[str, ...] = FAULTS
    first: list[str | None] = field(default_factory=list)
    """Kinds of the first requests."""
    always: dict[str, str] = field(default_factory=dict)
    """Kind of fault by the end of the path, such as `{"ISIC_0000007.jpg": "404"}`."""

    def __post_init__(self):
        self._lock = threading.Lock()
        self._next = itertools.cycle(self.kinds)
        self._requests = 0
        self._in_a_row = Counter()
        self.made = Counter()

    def of(self, path):
        if self.first:
            return self.first.pop(0)
        for end, kind in self.always.items():
            if path.endswith(end):
                return kind
        if not self.every:
            return None
        with self._lock:
            self._requests += 1
            if self._requests % self.every or self._in_a_row[path] == 3:
                del self._in_a_row[path]
                return None
            kind = next(self._next)
            if not path.startswith("/images/") and kind not in JSON_FAULTS:
                kind = "503"
            self._in_a_row[path] += 1
            self.made[kind] += 1
            return kind


class ArchiveServer(ThreadingHTTPServer):
    """Serves on 127.0.0.1 until the end of the `with` block.

    Attributes that may change while it runs:
        files: bytes by path, such as `/challenges/2019/x.csv`.
        faults: see there.
        repeats: whether a page begins with the last row of the page before.
        count: added to the number of images on the first page; None leaves the number out.
        ranges: whether files can be had in parts.
        latency: seconds before each response.
        cut_at: bytes after which each response breaks off.
        busy: values of `Retry-After`, each for one response with status 429.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, images, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.images = images
        self.search = functools.cache(functools.partial(search, images))  # a page costs the server no search
        self.paths = {f"/images/{image.name}": image for image in images}
        self.files = {}
        self.faults = Faults()
        self.repeats = False
        self.count = 0
        self.ranges = True
        self.latency = 0.0
        self.cut_at = None
        self.busy = []
        self.requests = []
        """Path and headers of each."""
        self.zips = {}

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"

    @property
    def environment(self):
        """Makes the command use this server only."""
        return {"MELASCOPE_ISIC_API": f"{self.base}api/v2/", "MELASCOPE_ISIC_FILES": self.base}

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # clients that are killed are part of the tests

    def zip_address(self, query):
        """Address of the ZIP of a search, as the archive's website gives it."""
        token = hashlib.sha256(query.encode()).hexdigest()[:20]
        self.zips[token] = zip_of(self.search(query))
        return f"{self.base}download?zsid={token}"

    def asked(self, part):
        """How many requests had this in their path."""
        return sum(part in path for path, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ArchiveServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        if self.server.latency:
            time.sleep(self.server.latency)
        parts = urlsplit(self.path)
        self.words = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        self.fault = self.server.faults.of(path)
        if self.server.busy:
            self._send(429, b"busy", "text/plain", {"Retry-After": self.server.busy.pop()})
        elif self.fault == "reset":
            self._reset()
        elif self.fault in ("429", "429 date", "503", "404"):
            past = email.utils.formatdate(time.time() - 1, usegmt=True)
            wait = {"429": "0", "429 date": past}.get(self.fault)
            self._send(int(self.fault[:3]), b"busy", "text/plain", {"Retry-After": wait} if wait else {})
        elif path.startswith("/api/v2/"):
            self._api(path.removeprefix("/api/v2/"))
        elif path == "/download":
            self._zip()
        else:
            self._file(path)

    # Responses

    def _send(self, status, body, kind, headers=None):
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

    def _json(self, content, status=200):
        self._send(status, json.dumps(content).encode(), "application/json; charset=utf-8")

    def _hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    # The API

    def _api(self, path):
        kind, _, name = path.strip("/").rpartition("/")
        collections = {number for image in self.server.images for number in image.collections}
        if path.startswith("images/search/"):
            try:
                images = self.server.search(self.words.get("query", ""), self.words.get("collections", ""))
            except QueryError:
                self._json({"message": "Could not parse search query."}, 400)
            else:
                self._json(
                    {"size": sum(i.path.stat().st_size for i in images)}
                    if name == "size"
                    else self._page(images)
                )
        elif kind == "images" and (image := next((i for i in self.server.images if i.isic_id == name), None)):
            self._json(self._entry(image))
        elif kind == "collections" and name.isdigit() and int(name) in collections:
            self._json({"id": int(name), "name": f"Challenge {name}", "public": True})
        elif kind == "zip-download/license-file" and name in LICENSES:
            self._send(200, license_txt(name).encode(), "text/plain")
        else:
            self._json({"detail": "Not Found"}, 404)

    def _page(self, images):
        cursor = Cursor.decoded(self.words.get("cursor"))
        page, following = page_of(images, min(int(self.words.get("limit") or PAGE_SIZE), PAGE_SIZE), cursor)
        if self.server.repeats and cursor.after and images.index(page[0]):
            page = [images[images.index(page[0]) - 1], *page]
        address = f"{self.server.base.rstrip('/')}{urlsplit(self.path).path}"
        words = {**self.words, "cursor": following.encoded()} if following else {}
        more = self.server.count
        return {
            "results": [self._entry(image) for image in page],
            "count": len(images) + more if more is not None and cursor.after is None else None,
            "next": f"{address}?{urlencode(sorted(words.items()))}" if following else None,
            "previous": None,
        }

    def _entry(self, image):
        url = f"{self.server.base}images/{image.name}"
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

    # Files

    def _zip(self):
        data = self.server.zips.get(self.words.get("zsid", ""))
        if data is None:
            self._json({"detail": "Unauthorized"}, 401)
            return
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

    def _file(self, path):
        """A file, as S3 serves it."""
        image = self.server.paths.get(path)
        body = image.data if image else self.server.files.get(path)
        if body is None:
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
            return
        tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        headers = {"ETag": tag, **({"Accept-Ranges": "bytes"} if self.server.ranges else {})}
        kind = "image/jpeg" if path.startswith("/images/") else "application/octet-stream"
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.server.ranges else None
        if not ranged or self.headers.get("If-Range", tag) != tag:
            self._send(200, body, kind, headers)
        elif (start := int(ranged[1])) >= len(body):
            self._send(416, b"", "text/plain", {"Content-Range": f"bytes */{len(body)}"})
        else:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._send(206, body[start:], kind, headers)


def main():
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
