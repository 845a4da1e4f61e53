"""The notebooks: what is committed is whole and shows no photograph, and all of them run."""

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
STORY = (
    "data_audit",
    "fine_tune_process",
    "gradcam_process",
    "initial_model",
    "metrics_evaluation",
    "weak_decision_investigation",
)
FIRST = "load_predict_look"  # always on drawn lesions
MAX_BYTES = 2**20  # of a notebook
PLACE = re.compile(r"(?<![\w.])/(?:work|home|root|tmp|Users|usr|opt|mnt|srv)/|[A-Z]:\\\\")  # of some machine


def outputs(path):
    """Cell and output, of all code cells."""
    cells = nbformat.read(path, as_version=4).cells
    return [(cell, output) for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(output):
    return output.get("text", "") + "".join(output.get("data", {}).get("text/markdown", ""))


def pictures(path):
    """Cell and picture, of all that are shown."""
    for cell, output in outputs(path):
        kinds = {kind for kind in output.get("data", {}) if kind.startswith("image/")}
        assert kinds <= {"image/png"}, "drawings are PNG; photographs are not shown"
        for kind in kinds:
            yield cell, Image.open(io.BytesIO(base64.b64decode(output["data"][kind]))).convert("RGB")


def paper(picture):
    """Share of a picture that is plain white."""
    return (np.asarray(picture) == 255).all(axis=2).mean()


def committed(name):
    return NOTEBOOKS / name / f"{name}.ipynb"


def test_the_readme_leads_through_all_of_them():
    assert sorted(path.parent.name for path in NOTEBOOKS.glob("*/*.py")) == sorted([FIRST, *STORY])
    readme = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    for name in (FIRST, *STORY):
        assert f"({name}/{name}.ipynb)" in readme


@pytest.mark.parametrize("name", [FIRST, *STORY])
def test_source_and_notebook_are_in_step(name):
    source, notebook = (jupytext.read(committed(name).with_suffix(end)) for end in (".py", ".ipynb"))
    cells = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (source, notebook)]
    assert cells[0] == cells[1], f"{name}: run `make notebooks`, or it shows what its source does not say"


@pytest.mark.parametrize("name", STORY)
def test_what_is_committed_was_run_whole_on_real_images(name):
    assert committed(name).stat().st_size < MAX_BYTES
    notebook = nbformat.read(committed(name), as_version=4)
    nbformat.validate(notebook)
    ran = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1)), "run from top to bottom, once"
    shown = outputs(committed(name))
    assert all(output.output_type == "display_data" for _, output in shown), "no errors, warnings or prints"
    text = "\n".join(text_of(output) for _, output in shown)
    assert "This run is on real images" in text
    assert "never replaces" in text
    assert not PLACE.search(committed(name).read_text(encoding="utf-8")), "names a folder of some machine"
    assert "nan" not in re.findall(r"\w+", text)


def test_the_first_one_gives_what_it_shows(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "notebooks.py", FIRST, "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    again, shown = (
        [output["data"] for _, output in outputs(folder / FIRST / f"{FIRST}.ipynb")]
        for folder in (tmp_path, NOTEBOOKS)
    )
    texts = [
        [re.sub(r"base64,[^']+", "", data.get("text/html", "")) for data in run] for run in (again, shown)
    ]
    assert texts[0] == texts[1]
    assert "never replaces" in "".join(texts[0])
    assert "The image is too dark" in "".join(texts[0])
    assert any("image/png" in data for data in shown)


@pytest.mark.parametrize("name", STORY)
def test_pictures_are_drawings(name):
    shown = list(pictures(committed(name)))
    assert shown
    for cell, picture in shown:
        if "synthetic" not in cell.metadata.get("tags", []):
            assert paper(picture) > 0.2, "a figure has paper around it; only drawn lesions may fill a picture"


def test_a_photograph_would_be_noticed():
    """The measure can fail: skin is not white."""
    from melascope.synthetic import NEVUS, draw

    assert paper(Image.fromarray(draw(0, NEVUS).pixels)) < 0.01


def test_a_wrong_name_or_folder_is_one_line(tmp_path):
    for words in (["no_such_process"], ["--data", str(tmp_path / "nowhere")]):
        done = subprocess.run(
            [sys.executable, ROOT / "tools" / "notebooks.py", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert words[-1] in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_all_run_on_drawn_lesions(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tools" / "notebooks.py",
            "--work",
            tmp_path / "work",
            "--out",
            tmp_path / "out",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in STORY:
        path = tmp_path / "out" / name / f"{name}.ipynb"
        text = "\n".join(text_of(output) for _, output in outputs(path))
        assert "This run is on drawn lesions" in text
        assert str(tmp_path) not in text
        assert list(pictures(path))
