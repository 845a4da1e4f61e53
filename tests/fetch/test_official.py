"""Beside the archive's own command: it downloads from the server of the tests, and its folders are completed."""

import csv
import os
import subprocess
import sys

import pytest
from filelock import FileLock

from helpers.fake_isic import ArchiveServer, Faults
from helpers.fetching import contents, fetch, names, pictures, rows
from helpers.isic_images import make_images
from helpers.isic_search import search

pytest.importorskip("isic_cli", reason="needs the official command; pip install isic-cli")

PORT = 8000  # the only one that the official command speaks to on this machine
QUERY = "image_type:dermoscopic AND -sex:male"
NOWHERE = "http://127.0.0.1:9"  # where everything but loopback is sent


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("archive"), 260, side=16)


@pytest.fixture
def server(images, tmp_path_factory):
    # Test processes share the machine, and so the port.
    with FileLock(tmp_path_factory.getbasetemp().parent / "fake_isic.lock"):
        try:
            server = ArchiveServer(images, PORT)
        except OSError:
            pytest.skip(f"port {PORT} is taken by something else, and the official command knows no other")
        with server:
            yield server


def official(out, *words):
    """Run the official command; its error reporter is declined, and could reach nobody."""
    code = "import sys; sys.argv[0] = 'isic'; from isic_cli.cli import main; main()"
    switches = ("--dev", "--guest", "--no-version-check", "image", "download")
    home = out.parent / "home"
    environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home)}
    environment |= {
        "HTTPS_PROXY": NOWHERE,
        "https_proxy": NOWHERE,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, "-c", code, *switches, *words, str(out)],
        capture_output=True,
        text=True,
        input="n\n",
        env=environment,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_the_official_command_downloads_from_the_server(server, images, tmp_path):
    done = official(tmp_path / "theirs", "--search", QUERY)
    assert done.returncode == 0, done.stderr
    wanted = search(images, QUERY)
    assert len(wanted) > 100  # more than a page
    assert pictures(tmp_path / "theirs") == names(wanted)
    fetch(server, tmp_path / "ours", QUERY)
    theirs, ours = rows(tmp_path / "theirs"), rows(tmp_path / "ours")
    unguarded = {name: {k: v.removeprefix("\t") for k, v in row.items()} for name, row in ours.items()}
    assert theirs == unguarded
    with open(tmp_path / "theirs" / "metadata.csv", newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == list(next(iter(ours.values())))
    for name in ("attribution.txt", "licenses/CC-0.txt", "licenses/CC-BY.txt", "licenses/CC-BY-NC.txt"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


@pytest.mark.slow
def test_a_folder_of_the_official_command_is_completed(server, images, tmp_path):
    official(tmp_path / "theirs", "--search", QUERY)
    fetch(server, tmp_path / "ours", QUERY)
    lost, cut, other = sorted(pictures(tmp_path / "theirs"))[5:8]
    (tmp_path / "theirs" / lost).unlink()
    (tmp_path / "theirs" / cut).write_bytes(b"half")
    (tmp_path / "theirs" / other).write_bytes(bytes((tmp_path / "theirs" / other).stat().st_size))
    asked = server.asked("/images/ISIC")
    assert fetch(server, tmp_path / "theirs", QUERY) == []
    assert server.asked("/images/ISIC") == asked + 3
    assert contents(tmp_path / "theirs") == contents(tmp_path / "ours")


@pytest.mark.slow
def test_failures_that_the_official_command_hides_are_listed(server, tmp_path):
    wanted = sorted(names(search(server.images, QUERY)))
    lost, page, empty = wanted[10:13]
    server.faults = Faults(always={lost: "404", page: "html", empty: "empty"})
    done = official(tmp_path / "theirs", "--search", QUERY)
    assert done.returncode == 0
    assert f"Successfully downloaded {len(wanted)} images" in done.stdout
    assert not (tmp_path / "theirs" / lost).exists()
    assert (tmp_path / "theirs" / page).read_bytes().startswith(b"<!DOCTYPE html>")
    assert (tmp_path / "theirs" / empty).stat().st_size == 0

    ours = subprocess.run(
        [
            sys.executable,
            "-m",
            "melascope",
            "fetch",
            "isic",
            "--query",
            QUERY,
            "--out",
            str(tmp_path / "ours"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, **server.environment},
        check=False,
        timeout=120,
    )
    assert ours.returncode == 1
    for name in (lost, page, empty):
        assert f"{name}: " in ours.stderr
        assert not (tmp_path / "ours" / name).exists()
    assert "3 files could not be downloaded" in ours.stderr
    assert pictures(tmp_path / "ours") == set(wanted) - {lost, page, empty}
