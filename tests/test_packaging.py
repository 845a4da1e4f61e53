"""What is installed: declared dependencies, and a wheel that holds all it needs."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "melascope"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Rooms that import more than a plain install brings as soon as they are imported.
EXTRA_OF_ROOM = {
    "evaluate": "data",
    "fetch": "data",
    "learn": "train",
    "manifest": "data",
    "prepare": "data",
    "report": "data",
    "web": "web",
}


def names(requirements):
    """Distributions that some requirements name, with those of the project's own extras that they name."""
    declared = set()
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement).groups()
        if name == "melascope":
            for extra in extras.split(","):
                declared |= names(PROJECT["optional-dependencies"][extra])
        else:
            declared.add(name.lower().replace("_", "-"))
    return declared


PLAIN = names(PROJECT["dependencies"])
ALL = PLAIN | names(["melascope[train,scale,web]"])


def imports(path):
    """Package outside of the standard library, and whether importing the module imports it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module]
        else:
            continue
        for package in {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"melascope"}:
            yield package, node in tree.body


def undeclared(path, room):
    """The imports of a module for which its room's extra declares nothing."""
    distributions = packages_distributions()
    at_once = PLAIN | names([f"melascope[{EXTRA_OF_ROOM[room]}]"] if room in EXTRA_OF_ROOM else [])
    for package, immediate in imports(path):
        owners = {owner.lower().replace("_", "-") for owner in distributions[package]}
        if not owners & (at_once if immediate else ALL):
            yield package


def test_each_import_is_declared_by_the_extra_of_its_room():
    missing = {}
    for path in SOURCE.rglob("*.py"):
        relative = path.relative_to(SOURCE)
        if packages := sorted(undeclared(path, relative.with_suffix("").parts[0])):
            missing[str(relative)] = packages
    assert missing == {}


def test_an_undeclared_import_is_noticed(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("import numpy, pytest\nimport pandas as pd\n\ndef f():\n    import keras, pluggy\n")
    assert sorted(undeclared(module, "infer")) == ["pandas", "pluggy", "pytest"]
    assert sorted(undeclared(module, "prepare")) == ["pluggy", "pytest"]


@pytest.mark.slow
def test_an_installed_wheel_predicts(tmp_path):
    """The wheel holds the shipped models as ONNX, not as Keras, and predicts from them."""
    from helpers import models

    tree = tmp_path / "tree"
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, tree], check=True)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, tree]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        for data in ("report/guidelines.csv", "report/templates/parts/doubt.html"):
            assert f"melascope/{data}" in wheel.namelist()
        shipped = {Path(name).name for name in wheel.namelist() if name.startswith("melascope/models/")}
        wheel.extractall(tmp_path / "installed")
    stems = ("base_model", "finetuned_model")
    assert shipped == {f"{stem}{end}" for stem in stems for end in (".gate.npz", ".json", ".onnx")}
    models.write_pictures(tmp_path, 1)
    done = subprocess.run(
        [sys.executable, "-m", "melascope", "predict", tmp_path / "00.png"],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "finetuned_model@" in done.stderr
    assert "00.png" in done.stdout
