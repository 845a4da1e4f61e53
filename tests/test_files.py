"""Locators and whole files: read from a folder or a ZIP alike, write all or nothing."""

import zipfile

import pytest

from melascope import files
from melascope.errors import DataError, ImageError


def make_zip(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_file_and_a_member_of_a_zip_read_alike(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"pixels")
    archive = make_zip(tmp_path / "B.ZIP", **{"sub/Läsion.jpg": b"pixels"})
    assert files.read(str(tmp_path / "a.jpg")) == b"pixels"
    assert files.read(f"{archive}::sub/Läsion.jpg") == b"pixels"


@pytest.mark.parametrize(
    ("locator", "parts"),
    [
        ("/data/a.jpg", ("/data/a.jpg", None)),
        ("/data/a.zip::b/c.jpg", ("/data/a.zip", "b/c.jpg")),
        ("/data/a.zip::b::c.jpg", ("/data/a.zip", "b::c.jpg")),
        ("/odd::folder/c.jpg", ("/odd::folder/c.jpg", None)),
        ("/odd::folder/a.zip::c.jpg", ("/odd::folder/a.zip", "c.jpg")),
    ],
)
def test_only_a_zip_has_members(locator, parts):
    assert files.split_locator(locator) == parts


def test_a_replaced_archive_is_noticed(tmp_path):
    archive = make_zip(tmp_path / "a.zip", x=b"old")
    assert files.read(f"{archive}::x") == b"old"
    make_zip(archive, x=b"newer")
    assert files.read(f"{archive}::x") == b"newer"


def test_an_unreadable_file_is_one_error_that_names_it(tmp_path):
    archive = make_zip(tmp_path / "a.zip", x=b"123")
    (tmp_path / "text.zip").write_text("no archive")
    broken = bytearray(archive.read_bytes())
    broken[30:34] = b"????"  # inside the member's own header and data
    (tmp_path / "broken.zip").write_bytes(broken)
    names = ["missing.jpg", "a.zip::none", "text.zip::x", "missing.zip::x", "broken.zip::x", "a\0b.jpg", "."]
    for name in names:
        with pytest.raises(ImageError) as caught:
            files.read(str(tmp_path / name) if name != "a\0b.jpg" else name)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="not a readable ZIP"):
        files.open_zip(tmp_path / "text.zip")


def test_a_truncated_archive_is_an_error(tmp_path):
    archive = make_zip(tmp_path / "a.zip", x=b"1" * 1000, y=b"2" * 1000)
    archive.write_bytes(archive.read_bytes()[:1200])
    with pytest.raises(DataError, match=r"a\.zip: not a readable ZIP"):
        files.open_zip(archive)


def test_a_bomb_is_refused_by_size(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.jpg", bytes(2**21))
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        files.read(f"{path}::x.jpg", limit=2**20)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "result.json"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.replacing(path) as beside:  # noqa: PT012
        beside.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o044 == 0o044


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        files.write_text(tmp_path / "file" / "result.json", "x")
