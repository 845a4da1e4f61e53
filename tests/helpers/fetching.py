"""Fetches from the archive server of the tests, and what is in the folder afterwards."""

import csv
import hashlib
import io
import zipfile

from typer.testing import CliRunner

from melascope.cli.main import app
from melascope.fetch import challenge, isic
from melascope.fetch.client import Client
from melascope.fetch.isic_api import Addresses, Archive
from melascope.fetch.listing import Selection

DERMOSCOPIC = "image_type:dermoscopic"


def archive(server, jobs=8):
    base = server.base
    return Archive(Client(jobs, first_wait=0.01), Addresses(f"{base}api/v2/", base, f"{base}old/"))


def fetch(server, out, query=DERMOSCOPIC, **options):
    words = {name: options.pop(name) for name in ("collections", "limit", "licenses") if name in options}
    return isic.fetch(archive(server), Selection(query, **words), out, jobs=8, **options)


def melascope(server, *words):
    return CliRunner().invoke(app, ["fetch", *map(str, words)], env=server.environment)


def contents(folder):
    """Hash of every file of a folder, hidden ones too, but for the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(folder):
    with open(folder / "metadata.csv", encoding="utf-8", newline="") as file:
        return {row["isic_id"]: row for row in csv.DictReader(file)}


def names(images):
    return {image.name for image in images}


def pictures(folder):
    return {path.name for path in folder.glob("ISIC_*")}


def make_challenge(server, where="challenges"):
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
