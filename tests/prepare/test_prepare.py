"""`prepare` from end to end, on small made data and, where they are, on the real images."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melascope import files, images, manifest
from melascope.errors import DataError
from melascope.prepare import scan as scanning
from melascope.prepare.pipeline import prepare
from melascope.prepare.records import read_records
from melascope.prepare.splits import Options

SIDE = 96


def picture(seed):
    """A smooth random image, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def draw(path, seed, image=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or picture(seed)).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


@pytest.fixture
def folder(tmp_path):
    """Class folders with splits: 60 images, one third malignant, and one leak from train to test."""
    root = tmp_path / "skin"
    for i in range(60):
        split, kind = ("train", "train", "val", "test")[i % 4], ("malignant", "benign", "benign")[i % 3]
        draw(root / split / kind / f"ISIC_{i:07d}.jpg", i)
    leak = next((root / "train/malignant").iterdir())
    shutil.copy(leak, root / "test/malignant" / leak.name)
    return root


def run(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "melascope", "prepare", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def spans_none(used):
    return len(used.groupby(["group", "split"])) == used["group"].nunique()


def excluded(summary):
    rows = summary.table[summary.table["excluded"] != ""]
    return {Path(path).name: why for path, why in zip(rows["path"], rows["excluded"], strict=True)}


def test_a_data_set_is_made(folder, tmp_path):
    summary = prepare([folder], tmp_path / "data", jobs=1)
    table = manifest.read(tmp_path / "data")
    pd.testing.assert_frame_equal(
        table.astype("string"), summary.table.astype("string"), check_column_type=False
    )
    assert len(manifest.usable(table)) == 61
    assert set(table["split"]) == set(manifest.SPLITS)
    assert table["group"].nunique() == 60
    for path, pixel_hash in zip(table["path"], table["pixel_hash"], strict=True):
        assert images.decode(files.read(path), path).shape == (SIDE, SIDE, 3)
        assert len(pixel_hash) == 64
    audit = json.loads((tmp_path / "data/audit.json").read_text())
    assert audit["inputs"]["trees"] == [{"path": str(folder), "images": 61, "masks_passed_over": 0}]


def test_a_zip_gives_what_its_folder_gives(folder, tmp_path):
    archive = tmp_path / "skin.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*.jpg"):
            file.write(path, path.relative_to(tmp_path))
    columns = ["image_id", "malignant", "pixel_hash", "group", "split", "excluded"]
    one = prepare([folder], tmp_path / "a", jobs=1).table[columns]
    two = prepare([archive], tmp_path / "b", jobs=1).table[columns]
    pd.testing.assert_frame_equal(one, two)


def test_kept_splits_that_leak_are_an_error_unless_allowed(folder, tmp_path):
    with pytest.raises(DataError, match="1 of 16 test images are affected"):
        prepare([folder], tmp_path / "data", Options(keep_splits=True), jobs=1)
    assert not (tmp_path / "data" / manifest.NAME).exists()
    summary = prepare([folder], tmp_path / "data", Options(keep_splits=True, allow_leaks=True), jobs=1)
    assert summary.table["split"].value_counts().to_dict() == {"train": 30, "test": 16, "validation": 15}
    assert manifest.allows_leaks(tmp_path / "data")


def test_bad_images_are_excluded_with_their_reasons_and_stop_nothing(folder, tmp_path):
    bad = folder / "train/benign"
    whole = draw(tmp_path / "whole.jpg", 100).read_bytes()
    (bad / "zero.jpg").write_bytes(b"")
    (bad / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (bad / "text.jpg").write_text("this is not a photograph")
    huge = Image.new("1", (30_000, 30_000))
    huge.save(bad / "huge.png")
    draw(bad / "cmyk.jpg", 0, picture(101).convert("CMYK"))
    draw(bad / "palette.png", 0, picture(102).convert("P"))
    deep = np.random.default_rng(103).integers(0, 2**16, (SIDE, SIDE), dtype=np.uint16)
    draw(bad / "deep.png", 0, Image.fromarray(deep))
    exif = Image.Exif()
    exif[0x0112] = 8
    picture(104).crop((0, 0, SIDE, 50)).save(bad / "turned.jpg", exif=exif)
    summary = prepare([folder], tmp_path / "data", jobs=1)
    assert excluded(summary) == {
        "zero.jpg": "unreadable: empty file (0 bytes)",
        "half.jpg": excluded(summary)["half.jpg"],
        "text.jpg": "unreadable: not an image, or not in a known format",
        "huge.png": "unreadable: far more pixels than are accepted",
    }
    assert excluded(summary)["half.jpg"].startswith("unreadable: damaged image")
    assert len(manifest.usable(summary.table)) == 65


def test_two_different_images_with_one_id_are_both_excluded(folder, tmp_path):
    draw(folder / "val/benign/ISIC_0000001.jpg", 1000)  # another one lies in train/benign
    summary = prepare([folder], tmp_path / "data", jobs=1)
    rows = summary.table[summary.table["image_id"] == "ISIC_0000001"]
    assert rows["excluded"].tolist() == ["two different images with one id"] * 2
    assert len(set(rows["group"])) == 1


def test_half_a_zip_and_a_damaged_member(folder, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.jpg")):
            file.write(path, path.relative_to(folder))
    data = bytearray(archive.read_bytes())
    (tmp_path / "half.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"half\.zip: not a readable ZIP"):
        prepare([tmp_path / "half.zip"], tmp_path / "data")
    data[2000:2010] = b"0123456789"  # inside the first image
    archive.write_bytes(data)
    summary = prepare([archive], tmp_path / "data", jobs=1)
    assert summary.table["excluded"].str.contains("unreadable: cannot be read .Bad CRC").sum() == 1


@pytest.mark.parametrize(
    ("keep", "reason"),
    [
        ("benign", "no positive image: none of 20"),
        ("malignant", "one class only: none of 20 usable ones is known to be benign"),
        ("unheard", "20 images, none with a label"),
        ("actinic keratosis", "no positive image"),
    ],
)
def test_a_data_set_of_one_class_is_refused(tmp_path, keep, reason):
    for i in range(20):
        draw(tmp_path / "one" / keep / f"{i}.jpg", i)
    with pytest.raises(DataError, match=reason):
        prepare([tmp_path / "one"], tmp_path / "data", jobs=1)
    assert not (tmp_path / "data" / manifest.NAME).exists()


def test_no_usable_image_is_one_line(tmp_path):
    (tmp_path / "a/benign").mkdir(parents=True)
    (tmp_path / "a/benign/x.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"no usable image among 1 \(unreadable 1\)"):
        prepare([tmp_path / "a"], tmp_path / "data", jobs=1)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.7, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_shares_that_make_no_sense(folder, tmp_path, fractions):
    with pytest.raises(DataError, match="three that sum to 1"):
        prepare([folder], tmp_path / "data", Options(fractions=fractions))


def test_order_of_sources_and_processes_change_nothing(folder, tmp_path):
    for i in range(30):
        draw(tmp_path / "other" / ("mel" if i % 2 else "nv") / f"{i}.png", 500 + i)
    one = prepare([folder, tmp_path / "other"], tmp_path / "a", jobs=1)
    two = prepare([tmp_path / "other", folder], tmp_path / "b", jobs=2)
    pd.testing.assert_frame_equal(one.table, two.table)


def test_a_second_run_does_nothing_until_something_changes(folder, tmp_path):
    out = tmp_path / "data"
    assert not prepare([folder], out, jobs=1).unchanged
    before = (out / manifest.NAME).stat().st_mtime_ns
    again = prepare([folder], out, jobs=1)
    assert again.unchanged
    assert len(again.table) == 61
    assert (out / manifest.NAME).stat().st_mtime_ns == before
    assert not prepare([folder], out, Options(seed=1), jobs=1).unchanged
    draw(folder / "train/benign/ISIC_0000900.jpg", 900)
    assert len(prepare([folder], out, jobs=1).table) == 62
    (out / manifest.NAME).write_bytes(b"damaged")
    assert not prepare([folder], out, jobs=1).unchanged
    (out / "audit.json").unlink()
    assert not prepare([folder], out, jobs=1).unchanged
    assert prepare([folder], out, jobs=1).unchanged


def test_unchanged_chunks_are_not_decoded_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "CHUNK", 10)
    records = read_records([folder]).table
    whole = scanning.scan_images(records, tmp_path, jobs=1)
    chunks = sorted((tmp_path / scanning.FOLDER).glob("*.npz"))
    assert len(chunks) == 7
    chunks[0].write_bytes(chunks[0].read_bytes()[:100])  # as after a crash of the machine
    (tmp_path / scanning.FOLDER / "stale.npz").write_bytes(b"")
    decoded = []
    decode = images.decode
    monkeypatch.setattr(images, "decode", lambda data, name: decoded.append(name) or decode(data, name))
    again = scanning.scan_images(records, tmp_path, jobs=1)
    assert len(decoded) in {1, 10}  # the damaged chunk, and nothing else
    pd.testing.assert_frame_equal(again.table, whole.table)
    for name, values in whole.features.items():
        assert np.array_equal(again.features[name], values)
    assert sorted((tmp_path / scanning.FOLDER).glob("*.npz")) == chunks


def test_a_killed_run_resumes(folder, tmp_path, monkeypatch):
    out = tmp_path / "data"
    slowly = (
        "import time; from melascope.prepare import features, scan\n"
        "from melascope.prepare.pipeline import prepare\n"
        "scan.CHUNK = 20; describe = features.describe\n"
        "features.describe = lambda pixels: time.sleep(0.02) or describe(pixels)\n"
        f"prepare([{str(folder)!r}], {str(out)!r}, jobs=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", slowly], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(out.glob(".scan/[!.]*.npz")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob(".scan/[!.]*.npz")}
    assert 1 <= len(kept) < 4
    assert not (out / manifest.NAME).exists()
    monkeypatch.setattr(scanning, "CHUNK", 20)
    prepare([folder], out, jobs=1)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert len(list((out / ".scan").glob("*.npz"))) == 4  # and no half-written one
    assert len(manifest.read(out)) == 61


# The command


def test_the_command_names_unreadable_images(folder, tmp_path):
    done = run(folder, "--out", tmp_path / "data")
    assert (done.returncode, done.stderr) == (0, "")
    assert "61" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "data/audit.html")
    assert (tmp_path / "data/audit.html").is_file()
    (folder / "val/benign/zero.jpg").write_bytes(b"")
    done = run(folder, "--out", tmp_path / "data")
    assert done.returncode == 1
    assert "zero.jpg: unreadable: empty file" in done.stderr
    again = run(folder, "--out", tmp_path / "data")
    assert again.returncode == 1
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    "words", [["--fractions", "a,b,c"], ["--fractions", "0.9,0.9,0.9"], ["--keep-splits"]]
)
def test_the_command_fails_in_one_line(folder, tmp_path, words):
    done = run(folder, "--out", tmp_path / "data", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_data_that_comes_without_a_test_split_has_a_page_too(folder, tmp_path):
    shutil.rmtree(folder / "test")
    done = run(folder, "--out", tmp_path / "data")
    assert (done.returncode, done.stderr) == (0, "")


def test_out_that_is_a_file_is_one_line(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run(folder, "--out", tmp_path / "file")
    assert done.returncode == 2
    assert done.stderr.startswith(f"melascope: {tmp_path / 'file'}: cannot be a folder")


# Real data


@pytest.mark.slow
def test_the_data_set_this_project_starts_from(shared_data, tmp_path):
    source, out = shared_data / "neural_network_data.zip", tmp_path / "data"
    code = (  # in a process of its own, whose memory is its own
        "import sys\nfrom pathlib import Path\nfrom melascope.prepare.pipeline import prepare\n"
        "if __name__ == '__main__':\n    prepare([Path(sys.argv[1])], Path(sys.argv[2]))\n"
        "    print(*(line for line in open('/proc/self/status') if 'VmHWM' in line))\n"
    )
    (tmp_path / "first.py").write_text(code)
    start = time.monotonic()
    words = [sys.executable, str(tmp_path / "first.py"), str(source), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    first = time.monotonic() - start
    assert int(done.stdout.split()[1]) < 2 * 2**20  # kB
    table = manifest.read(out)
    assert len(table) == 11_758
    given = read_records([source]).table["given_split"]
    elsewhere = set(table["image_id"][given != "test"])
    assert table["image_id"][given == "test"].isin(elsewhere).sum() == 579
    used = manifest.usable(table)
    assert spans_none(used)
    with pytest.raises(DataError, match="of 1890 test images are affected"):
        prepare([source], out, Options(keep_splits=True))
    prepare([source], out)
    start = time.monotonic()
    assert prepare([source], out).unchanged
    assert time.monotonic() - start < first / 10


@pytest.mark.slow
def test_three_sources_at_once(shared_data, tmp_path):
    names = (
        "ISIC2018_Task3_Training_Input.zip",
        "HAM10000_metadata.csv",
        "ISIC-2017_Training_Data.zip",
        "ISIC-2017_Training_Part3_GroundTruth.csv",
        "ISIC-2017_Validation_Data.zip",
        "ISIC-2017_Validation_Part3_GroundTruth.csv",
        "ISIC-images.zip",
    )
    table = prepare([shared_data / name for name in names], tmp_path / "data").table
    assert manifest.data_set(table["source"]).value_counts().to_dict() == {
        "HAM10000": 5984,
        "ISIC Archive": 5485,
        "ISIC 2017": 2150,
    }
    assert table["excluded"].value_counts().to_dict() == {
        "": 13_211,
        "not dermoscopic: clinical: close-up": 400,
        "altered image": 8,
    }
    used = manifest.usable(table)
    assert spans_none(used)
    shares = used["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.005)
    # One picture under two ids, in the training and in the validation images of ISIC 2017.
    group = table.set_index("image_id")["group"]
    assert group["ISIC_0012970"] == group["ISIC_0012127"]


def test_results_are_as_readable_as_the_umask_says(folder, tmp_path):
    mask = os.umask(0)
    os.umask(mask)
    prepare([folder], tmp_path / "data", jobs=1)
    assert (tmp_path / "data" / manifest.NAME).stat().st_mode & 0o777 == 0o666 & ~mask
    assert os.umask(mask) == mask
