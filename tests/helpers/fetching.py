"""Fetches from the archive server of the tests, and what is in the folder afterwards."""

import csv
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from helpers.fake_isic import ArchiveServer
from helpers.isic_images import StoredImage
from melascope.cli.main import app
from melascope.fetch import challenge, isic
from melascope.fetch.client import Client
from melascope.fetch.isic_api import Addresses, Archive
from melascope.fetch.ledger import Row
from melascope.fetch.listing import Selection

DERMOSCOPIC = "image_type:dermoscopic"


def archive(server: ArchiveServer, jobs: int = 8) -> Archive:
    base = server.base
    return Archive(Client(jobs, first_wait=0.01), Addresses(f"{base}api/v2/", base, f"{base}old/"))


def fetch(server: ArchiveServer, out: Path, query: str = DERMOSCOPIC, **options: Any) -> list[Row]:
    words = {name: options.pop(name) for name in ("collections", "limit", "licenses") if name in options}
    return isic.fetch(archive(server), Selection(query, **words), out, jobs=8, **options)


def melascope(server: ArchiveServer, *words: object) -> Result:
    return CliRunner().invoke(app, ["fetch", *map(str, words)], env=server.environment)


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file of a folder, hidden ones too, but for the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "metadata.csv", encoding="utf-8", newline="") as file:
        return {row["isic_id"]: row for row in csv.DictReader(file)}


def names(images: list[StoredImage]) -> set[str]:
    return {image.name for image in images}


def pictures(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("ISIC_*")}


def make_challenge(server: ArchiveServer, where: str = "challenges") -> None:
    for name in challenge.CHALLENGES["2016"].sizes:
        if name.endswith(".csv"):
            rows = "".join(
                f"{i.isic_id},{('benign', 'malignant')[n % 2]}\n" for n, i in enumerate(server.images[5:])
            )
            body = rows.encode()
        else:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as members:
                for image in server.images[5:]:
                    members.writestr(f"ISBI2016/{image.isic_id}.jpg", image.data)
            body = packed.getvalue()
        server.files[f"/{where}/2016/{name}"] = body
