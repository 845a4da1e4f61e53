"""Challenge files and ZIPs: resumed, never mixed up, and never unpacked if they could do harm."""

import io
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from helpers.fake_isic import ArchiveServer, Faults
from helpers.fetching import archive, make_challenge, melascope
from helpers.isic_images import make_images, zip_of
from melascope.errors import DataError
from melascope.fetch import challenge, zips
from melascope.fetch.client import RefusedError
from melascope.fetch.folder import PART
from melascope.fetch.resumable import ResumableDownload
from melascope.fetch.unpack import UnsafeZipError, members
from melascope.prepare.records import read_records


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("archive"), 30, side=16)


@pytest.fixture
def server(images):
    with ArchiveServer(images) as server:
        yield server


# One large file


BODY = np.random.default_rng(0).bytes(3_000_000)


def download(server, folder, name="big.zip", **options):
    file = ResumableDownload(archive(server).client, folder / f"{name}{PART}", **options)
    file.download([f"{server.base}challenges/{name}"])
    file.move_to(folder / name)
    return (folder / name).read_bytes()


def asked_ranges(server):
    return [headers["Range"] for _, headers in server.requests if "Range" in headers]


def test_a_cut_download_resumes(server, tmp_path):
    server.files["/challenges/big.zip"] = BODY
    server.cut_at = 500_000  # of each answer
    assert download(server, tmp_path) == BODY
    assert asked_ranges(server) == [f"bytes={n}-" for n in range(500_000, 3_000_000, 500_000)]
    assert [path.name for path in tmp_path.iterdir()] == ["big.zip"]


def begun(server, folder):
    """Leave the first part of a file, as a kill does."""
    server.files["/challenges/big.zip"], server.cut_at = BODY, 1_000_000
    server.faults = Faults(first=[None, "404"])
    with pytest.raises(RefusedError):
        download(server, folder)
    assert (folder / f"big.zip{PART}").stat().st_size == 1_000_000
    server.cut_at = None


def test_a_changed_file_starts_over(server, tmp_path):
    begun(server, tmp_path)
    changed = server.files["/challenges/big.zip"] = BODY[::-1]
    assert download(server, tmp_path) == changed
    assert asked_ranges(server)[-1] == "bytes=1000000-"  # asked for the rest, was given the whole


def test_a_shortened_file_starts_over(server, tmp_path):
    begun(server, tmp_path)
    shorter = server.files["/challenges/big.zip"] = BODY[:10]
    assert download(server, tmp_path) == shorter


def test_a_whole_part_is_not_downloaded_again(server, tmp_path):
    server.files["/challenges/big.zip"] = BODY
    part = tmp_path / f"big.zip{PART}"
    ResumableDownload(archive(server).client, part).download([f"{server.base}challenges/big.zip"])
    assert download(server, tmp_path) == BODY
    assert asked_ranges(server) == [f"bytes={len(BODY)}-"]


def test_a_server_without_ranges_gives_the_whole_file_again(server, tmp_path):
    server.ranges, server.files["/challenges/big.zip"] = False, BODY
    server.faults = Faults(first=["short"])
    messages = []
    assert download(server, tmp_path, notify=messages.append) == BODY
    assert len(server.requests) == 2
    assert asked_ranges(server) == []
    assert "this server cannot resume a file" in messages[0]


# Challenges


def test_a_challenge_is_complete_and_goes_into_prepare(server, tmp_path):
    make_challenge(server)
    server.cut_at = 20_000
    result = melascope(server, "challenge", 2016, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "licence of these images: CC-0" in result.stderr
    assert asked_ranges(server)
    for name in challenge.CHALLENGES["2016"].sizes:
        assert (tmp_path / name).read_bytes() == server.files[f"/challenges/2016/{name}"]
    assert len(read_records([tmp_path]).table) == 50
    asked = len(server.requests)
    assert melascope(server, "challenge", 2016, "--out", tmp_path).exit_code == 0
    assert len(server.requests) == asked  # all is there


def test_the_old_address_is_tried_if_the_new_one_fails(server, tmp_path):
    make_challenge(server, "old")
    messages = []
    failed = challenge.fetch(archive(server), challenge.chosen("2016"), tmp_path, notify=messages.append)
    assert failed == []
    assert "from the old address" in messages[0]
    assert (tmp_path / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv").exists()


def test_a_missing_file_is_listed_and_the_others_are_there(server, tmp_path):
    make_challenge(server)
    del server.files["/challenges/2016/ISBI2016_ISIC_Part3_Test_Data.zip"]
    server.files["/challenges/2016/ISBI2016_ISIC_Part3_Training_Data.zip"] = b"<html>moved</html>"
    result = melascope(server, "challenge", 2016, "--out", tmp_path)
    assert result.exit_code == 1
    assert "ISIC_Part3_Test_Data.zip: http" in result.stderr
    assert "refused with status 403" in result.stderr
    assert (
        "ISIC_Part3_Training_Data.zip: ISBI2016_ISIC_Part3_Training_Data.zip: not a whole ZIP file"
        in result.stderr
    )
    assert sorted(path.suffix for path in tmp_path.glob("ISBI*")) == [".csv", ".csv"]


def test_a_dry_run_shows_the_served_sizes(server, tmp_path):
    make_challenge(server)
    result = melascope(server, "challenge", 2016, "--out", tmp_path / "raw", "--dry-run")
    assert result.exit_code == 0
    total = sum(map(len, server.files.values()))
    assert f"4 files, {total / 1000:.3g} kB; " in result.stdout
    assert not (tmp_path / "raw").exists()


def test_licences_of_challenges():
    assert challenge.chosen("2019").license == "CC-BY-NC"
    assert challenge.chosen("2024", ("CC-0", "CC-BY")).license == "CC-BY"
    with pytest.raises(DataError, match="the challenge 2019 is CC-BY-NC"):
        challenge.chosen("2019", ("CC-0", "CC-BY"))
    with pytest.raises(DataError, match="there are 2016, 2017"):
        challenge.chosen("2021")


# ZIPs


def test_a_zip_of_the_archive_is_unpacked_and_goes_into_prepare(server, tmp_path):
    url = server.zip_address("diagnosis_1:Benign")
    result = melascope(server, "zip", url, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "this server cannot resume a file" in result.stderr  # it is streamed
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert {"metadata.csv", "attribution.txt", "licenses"} < {path.name for path in folder.iterdir()}
    assert len(read_records([tmp_path]).table) == sum(
        i.clinical.get("diagnosis_1") == "Benign" for i in server.images
    )
    asked = len(server.requests)
    assert melascope(server, "zip", url, "--out", tmp_path).exit_code == 0
    assert len(server.requests) == asked


def test_a_streamed_zip_that_breaks_off_is_repeated(server, tmp_path):
    url = server.zip_address("diagnosis_1:Benign")
    server.faults = Faults(first=["short", "short"])
    assert zips.fetch(archive(server), [url], tmp_path) == []
    assert server.asked("/download") == 3
    assert not (tmp_path / ".partial").exists()


def test_a_zip_on_this_machine_stays_where_it_is(server, images, tmp_path):
    path = tmp_path / "ISIC-images.zip"
    path.write_bytes(zip_of(images))
    result = melascope(server, "zip", path, "--out", tmp_path / "raw")
    assert result.exit_code == 0
    assert path.exists()
    assert server.requests == []
    for image in images:
        name = image.name
        assert (tmp_path / "raw" / "ISIC-images" / name).read_bytes() == image.data
    ledger = (tmp_path / "raw" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(ledger[0])["address"] == "ISIC-images.zip::ISIC_0000007.jpg"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("download?zsid=abc", "such a link expires after a day; use melascope fetch isic --query"),
        (
            "challenges/2019/ISIC_2019_Training_Input.zip?X-Amz-Signature=1",
            "use melascope fetch challenge 2019",
        ),
        ("bucket/other.zip?X-Amz-Signature=1", "try melascope fetch zip"),
    ],
)
def test_an_expired_link_is_explained(server, tmp_path, path, hint):
    result = melascope(server, "zip", f"{server.base}{path}", "--out", tmp_path)
    assert result.exit_code == 1
    assert hint in result.stderr
    assert "X-Amz" not in result.stderr  # a signature is not for the terminal


def test_two_zips_of_one_name_are_not_mixed(server, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.zip").write_bytes(zip_of([]))
    result = melascope(
        server, "zip", tmp_path / "a" / "x.zip", tmp_path / "b" / "x.zip", "--out", tmp_path / "raw"
    )
    assert "another ZIP has the name x too" in str(result.exception)


def crafted(path, *entries, **changes):
    """A ZIP with members of any name, the last of which is changed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in changes.items():
                setattr(info, key, value)
            packed.writestr(info, data)
    return path


def overlapping(path):
    """Two entries of the directory that share one member's bytes."""
    data = bytearray(
        crafted(path, ("a.bin", np.random.default_rng(1).bytes(5000)), ("b.bin", b"1")).read_bytes()
    )
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 20 : second + 28] = data[first + 20 : first + 28]  # sizes
    data[second + 42 : second + 46] = data[first + 42 : first + 46]  # place
    path.write_bytes(data)
    return path


def encrypted(path):
    data = bytearray(crafted(path, ("a.jpg", b"secret")).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(mark) + at
        data[place : place + 2] = struct.pack("<H", 1)
    path.write_bytes(data)
    return path


UNSAFE = {
    "up": (lambda p: crafted(p, ("ok.jpg", b"1"), ("../evil.jpg", b"1")), "leads out of the folder"),
    "deep": (lambda p: crafted(p, ("a/../../evil.jpg", b"1")), "leads out of the folder"),
    "root": (lambda p: crafted(p, ("/etc/evil", b"1")), "leads out of the folder"),
    "drive": (lambda p: crafted(p, ("C:evil.jpg", b"1")), "leads out of the folder"),
    "backslash": (lambda p: crafted(p, ("..\\evil.jpg", b"1")), "leads out of the folder"),
    "control": (lambda p: crafted(p, ("a\x1b[2J.jpg", b"1")), "is not a file name"),
    "link": (
        lambda p: crafted(p, ("link", b"/etc"), external_attr=(stat.S_IFLNK | 0o777) << 16, create_system=3),
        "is a link or a device",
    ),
    "twice": (lambda p: crafted(p, ("a.jpg", b"1"), ("A.jpg", b"2")), "is there twice"),
    "bomb": (lambda p: crafted(p, ("a.jpg", bytes(20_000_000))), "-fold, as in a ZIP bomb"),
    "overlap": (overlapping, "its files overlap"),
    "encrypted": (encrypted, "is encrypted"),
}


@pytest.mark.parametrize("kind", UNSAFE)
def test_a_harmful_zip_is_refused_before_anything_is_written(server, tmp_path, kind):
    make, reason = UNSAFE[kind]
    path = make(tmp_path / "bad.zip")
    with pytest.raises(UnsafeZipError, match=reason):
        zips.fetch(archive(server), [str(path)], tmp_path / "raw")
    assert [p.name for p in (tmp_path / "raw").rglob("*") if p.name not in (".lock", "ledger.jsonl")] == []
    assert not (tmp_path / "evil.jpg").exists()


def test_more_than_the_disk_holds_is_refused(tmp_path):
    path = crafted(tmp_path / "big.zip", ("a.jpg", b"x" * 5000), ("b.jpg", b"y" * 5000))
    assert len(members(path, free=10_000)) == 2
    with pytest.raises(
        UnsafeZipError, match=r"needs 10 kB; only 9\.99 kB free on this disk; nothing was unpacked"
    ):
        members(path, free=9_990)


def test_a_member_larger_than_stated_is_not_kept(server, tmp_path):
    path = crafted(tmp_path / "liar.zip", ("a.jpg", b"x" * 50_000), ("b.jpg", b"fine"))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 10)
    path.write_bytes(data)
    failed = zips.fetch(archive(server), [str(path)], tmp_path / "raw")
    assert [row.path for row in failed] == ["liar/a.jpg"]
    assert (tmp_path / "raw" / "liar" / "b.jpg").read_bytes() == b"fine"
    assert not (tmp_path / "raw" / "liar" / "a.jpg").exists()


def test_a_damaged_member_is_listed_and_the_rest_is_there(server, tmp_path):
    path = tmp_path / "torn.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.jpg", b"x" * 1000)
        packed.writestr("b.jpg", b"y" * 1000)
    path.write_bytes(path.read_bytes().replace(b"x" * 1000, b"x" * 999 + b"z"))
    result = melascope(server, "zip", path, "--out", tmp_path / "raw")
    assert result.exit_code == 1
    assert "damaged in the ZIP" in result.stderr
    assert (tmp_path / "raw" / "torn" / "b.jpg").exists()


def test_hidden_files_are_left_out(tmp_path):
    path = crafted(tmp_path / "mac.zip", ("a.jpg", b"1"), ("__MACOSX/a.jpg", b"1"), ("b/.DS_Store", b"1"))
    assert [info.filename for info in members(path, 1000)] == ["a.jpg"]


@pytest.mark.slow
def test_a_killed_challenge_resumes(server, tmp_path):
    make_challenge(server)
    big = io.BytesIO()
    with zipfile.ZipFile(big, "w") as packed:
        packed.writestr("ISIC_0000001.jpg", BODY)
    name = "ISBI2016_ISIC_Part3_Training_Data.zip"
    server.files[f"/challenges/2016/{name}"] = big.getvalue()
    server.faults = Faults(always={name: "slow"})
    command = [sys.executable, "-m", "melascope", "fetch", "challenge", "2016", "--out", str(tmp_path)]
    part = tmp_path / ".partial" / f"{name}{PART}"
    environment = {**os.environ, **server.environment}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    until = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 500_000) and time.monotonic() < until:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    server.faults = Faults()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name).read_bytes() == big.getvalue()
    assert len(asked_ranges(server)) == 1
