"""`melascope predict`: JSON lines that others build on, exit codes, and a light start."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers import models
from melascope.cli.main import app
from melascope.errors import DataError

FIELDS = [
    "path", "status", "label", "confidence", "malignant", "melanoma", "threshold", "weak", "reason", "model",
]  # fmt: skip


def predict(*words, model, form="jsonl"):
    return CliRunner().invoke(app, ["predict", *map(str, words), "--model", str(model), "--format", form])


def rows(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def oddities(tmp_path_factory):
    """What lies about in folders of images."""
    folder = tmp_path_factory.mktemp("oddities")
    picture = Image.fromarray(models.lesion(3))
    picture.save(folder / "good.jpg", quality=95)
    data = (folder / "good.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("not an image, and not named like one")
    picture.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    picture.convert("P").save(folder / "palette.png")
    picture.convert("L").save(folder / "grey.png")
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "sixteen.png")
    huge = bytearray((folder / "palette.png").read_bytes())
    huge[16:24] = (30_000).to_bytes(4, "big") * 2  # the header of a PNG claims a size before anything else
    (folder / "huge.png").write_bytes(bytes(huge))
    Image.new("RGB", (40, 40), "white").save(folder / "small.png")
    Image.new("RGB", (300, 300), (200, 160, 140)).save(folder / "uniform.png")
    return folder


EXPECTED = {
    "cmyk.jpg": "ok", "empty.jpg": "error", "good.jpg": "ok", "grey.png": "ok", "half.jpg": "error",
    "huge.png": "error", "palette.png": "ok", "sixteen.png": "ok", "small.png": "refused",
    "text.jpg": "error", "uniform.png": "refused",
}  # fmt: skip


def test_json_lines_are_a_contract(tiny_model, pictures, oddities):
    result = predict(pictures, oddities, oddities / "notes.txt", "missing.jpg", model=tiny_model)
    assert result.exit_code == 1
    found = rows(result)
    walked = [*sorted(pictures.iterdir()), *(oddities / name for name in EXPECTED)]
    assert [row["path"] for row in found] == [*map(str, walked), str(oddities / "notes.txt"), "missing.jpg"]
    statuses = {Path(row["path"]).name: row["status"] for row in found[len(list(pictures.iterdir())) :]}
    assert statuses == {**EXPECTED, "notes.txt": "error", "missing.jpg": "error"}
    for row in found:
        assert list(row) == FIELDS
        assert row["threshold"] == 0.3
        assert str(row["model"]).startswith("tiny@")
        assert len(str(row["model"])) == len("tiny@") + 12
        judged, read = row["status"] == "ok", row["status"] != "error"
        assert row["label"] in (("malignant", "benign") if judged else (None,))
        assert isinstance(row["weak"], bool if judged else type(None))
        for name, there in (("confidence", judged), ("malignant", read), ("melanoma", read)):
            assert isinstance(row[name], float if there else type(None))
            assert not there or 0 <= row[name] <= 1
        assert isinstance(row["reason"], type(None) if judged else str)
        if judged:
            assert (row["label"] == "malignant") == (row["malignant"] >= row["threshold"])
            sure = row["malignant"] if row["label"] == "malignant" else 1 - row["malignant"]
            assert row["confidence"] == pytest.approx(sure, abs=2e-6)
            assert row["weak"] == (models.SETS.low <= row["malignant"] <= models.SETS.high)
    assert "never replaces" in result.stderr
    assert predict(pictures, model=tiny_model).exit_code == 0


def test_an_image_gets_the_same_answer_however_it_is_stored(tiny_model, oddities):
    """CMYK and quantisation move colours a little; a mode read wrongly moves them a lot."""
    found = {Path(row["path"]).name: row["malignant"] for row in rows(predict(oddities, model=tiny_model))}
    for name in ("cmyk.jpg", "palette.png"):
        assert found[name] == pytest.approx(found["good.jpg"], abs=0.05)
    assert found["sixteen.png"] == pytest.approx(found["grey.png"], abs=1e-4)


def test_csv_has_the_same_rows(tiny_model, oddities):
    lines = list(csv.DictReader(io.StringIO(predict(oddities, model=tiny_model, form="csv").stdout)))
    assert list(lines[0]) == FIELDS
    for line, row in zip(lines, rows(predict(oddities, model=tiny_model)), strict=True):
        assert line == {name: "" if value is None else str(value) for name, value in row.items()}


def test_the_table_says_it_in_a_line_and_why_under_it(tiny_model, oddities):
    result = predict(oddities / "good.jpg", oddities / "small.png", model=tiny_model, form="table")
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["answer", "confidence", "malignant", "melanoma", "image"]
    assert [line.split()[-1] for line in lines if "png" in line or "jpg" in line] == [
        str(oddities / "good.jpg"),
        str(oddities / "small.png"),
    ]
    assert lines[-1].strip().startswith("The image is too small (40 x 40 pixels")


def test_names_of_files_cannot_move_the_terminal(tiny_model):
    result = predict("a\x1b[2Jb.jpg", model=tiny_model, form="table")
    assert "\x1b" not in result.stdout
    assert "a?[2Jb.jpg" in result.stdout


def test_zips_and_links_are_walked_under_the_name_the_user_gave(tiny_model, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("real/deep").mkdir(parents=True)
    for name in ("real/deep/1.png", "real/2.png"):
        Path(name).write_bytes((pictures / "00.png").read_bytes())
    with zipfile.ZipFile("real/some.zip", "w") as archive:
        for name in ("b/2.png", "a/1.png", "a/mask.txt"):
            archive.write(pictures / "00.png", name)
    Path("elsewhere").mkdir()
    Path("elsewhere/link").symlink_to(Path("real").resolve())
    result = predict("elsewhere/link", "real/some.zip", model=tiny_model)
    assert result.exit_code == 0
    zipped = ["::a/1.png", "::b/2.png"]
    assert [row["path"] for row in rows(result)] == [
        "elsewhere/link/2.png",
        "elsewhere/link/deep/1.png",
        *(f"elsewhere/link/some.zip{name}" for name in zipped),
        *(f"real/some.zip{name}" for name in zipped),
    ]


def test_a_folder_without_images_ends_before_anything_is_said(tiny_model, pictures, tmp_path):
    result = predict(pictures, tmp_path, model=tiny_model)
    assert isinstance(result.exception, DataError)  # which `main` makes one line and exit code 2
    assert str(result.exception) == f"{tmp_path}: holds no images"
    assert result.stdout == ""


def test_a_name_that_is_not_utf8_leaves_as_it_came(tiny_model, pictures, tmp_path, run_command):
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9.png")
    Path(name).write_bytes((pictures / "00.png").read_bytes())
    as_json = run_command("predict", name, "--model", tiny_model, "--format", "jsonl", text=False)
    assert as_json.returncode == 0
    assert json.loads(as_json.stdout)["path"] == name
    as_csv = run_command("predict", name, "--model", tiny_model, "--format", "csv", text=False)
    assert os.fsencode(name) in as_csv.stdout


def test_lines_come_while_the_next_images_are_still_to_be_had(tiny_model, pictures, tmp_path):
    """Answers are not held back until the end: the reader leaves after the first, and all stop."""
    words = [str(pictures / "00.png")] * 400
    command = [
        sys.executable,
        "-m",
        "melascope",
        "predict",
        *words,
        "--model",
        str(tiny_model),
        "--format",
        "jsonl",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert json.loads(running.stdout.readline())["status"] == "ok"
        running.stdout.close()
        errors = running.stderr.read()
        assert running.wait(60) != 0
    assert "Traceback" not in errors


def test_prediction_is_light(tiny_model, pictures):
    code = (
        "import sys\nfrom melascope.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'keras', 'torch', 'pandas', 'matplotlib', 'sklearn', 'scipy', 'onnx', 'pyarrow', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    words = [sys.executable, "-c", code, "predict", str(pictures / "00.png"), "--model", str(tiny_model)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_on_a_ray_cluster_the_lines_are_the_same(tiny_model, pictures, tmp_path, monkeypatch, run_command):
    monkeypatch.chdir(pictures.parent)  # workers run elsewhere: a relative path must do
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    words = ["predict", pictures.name, str(tmp_path / "broken.jpg"), "missing.jpg", *[pictures.name] * 7]
    words += ["--model", str(tiny_model), "--format", "jsonl"]
    alone, spread = run_command(*words), run_command(*words, "--ray", "local")
    assert (alone.returncode, spread.returncode) == (1, 1), spread.stderr
    assert len(alone.stdout.splitlines()) == 8 * 40 + 2  # more than one worker takes at once
    assert spread.stdout == alone.stdout


def test_no_cluster_is_one_line(tiny_model, pictures, run_command):
    done = run_command("predict", pictures, "--model", tiny_model, "--ray", "127.0.0.1:1", timeout=100)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("melascope: no Ray cluster answers at 127.0.0.1:1")
