"""What documentation says is true: examples give what they show, and the command has what it is said to have."""

import ast
import doctest
import importlib
import inspect
import re
import runpy
import shutil
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import melascope as ms
from helpers.commands import verbs, wrong
from melascope.learn.settings import Settings
from melascope.synthetic import write_archive

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *ROOT.glob("models/*.md"),
    *ROOT.glob("notebooks/*.md"),
]
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")


def command_lines(page):
    """Each line of code, and each piece of code in a sentence, that is or may be one for a shell."""
    page = re.sub(r"\\\n *", "", page)  # lines that go on
    for _, language, block in _FENCED.findall(page):
        if language in {"console", "text", "bash", ""}:
            yield from block.splitlines()
    prose = _FENCED.sub("", page)
    yield from _INDENTED.findall(prose)
    yield from _INLINE.findall(prose)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_verbs_and_options_that_a_page_names_are_there(page):
    known = verbs()
    said = {line: wrong(line, known) for line in command_lines(page.read_text(encoding="utf-8"))}
    assert {line: what for line, what in said.items() if what} == {}


def test_a_command_that_is_not_there_would_be_noticed():
    known = verbs()
    assert wrong("$ melascope predict a.jpg --model runs/first", known) is None
    assert wrong("$ KERAS_BACKEND=tensorflow melascope train data/ --out run   # --all well", known) is None
    assert wrong("melascope model info FILE", known) is None
    assert wrong("ray start --head --port 6379", known) is None
    assert wrong("$ melascope predict a.jpg --modell runs/first", known) == "predict has no --modell"
    assert wrong("$ melascope dance --out runs/first", known) == "no verb dance"
    assert wrong("train --refuse-all", known) == "train has no --refuse-all"
    assert wrong("--refuse-all", known) == "no verb has --refuse-all"
    page = "Take `predict --modell`.\n\n```console\n$ melascope train \\\n      --al\n```\n\n    melascope sing\n"
    assert sorted(filter(None, (wrong(line, known) for line in command_lines(page)))) == [
        "no verb sing", "predict has no --modell", "train has no --al",
    ]  # fmt: skip


def test_files_and_tests_that_contributing_names_are_there():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(_INLINE.findall(_FENCED.sub("", page)))
    files = {name for name in named if re.fullmatch(r"(src|tests|tools|docs)/[\w./-]+", name)}
    tests = {name for name in named if re.fullmatch(r"test_\w+", name)}
    defined = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert files
    assert {name for name in files if not (ROOT / name).exists()} == set()
    assert {name for name in tests if f"def {name}(" not in defined} == set()


def test_the_design_shows_the_floors_that_lint_checks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    section = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").partition("## Floors")[2]
    assert _FENCED.search(section)[3].splitlines() == contract["layers"]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "```pycon" in page.read_text(encoding="utf-8")],
    ids=lambda path: path.stem,
)
def test_examples_on_pages_give_what_they_show(page):
    blocks = _FENCED.findall(page.read_text(encoding="utf-8"))
    session = "\n".join(block for _, language, block in blocks if language == "pycon")
    example = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
    result = doctest.DocTestRunner().run(example)
    assert result.attempted
    assert not result.failed


@pytest.mark.slow
def test_the_backbone_of_the_guide_learns_and_answers(tmp_path, monkeypatch, capsys):
    from helpers import models
    from helpers.datasets import make_data

    guide = (ROOT / "docs" / "guides" / "backbone.md").read_text(encoding="utf-8")
    code = next(block for _, language, block in _FENCED.findall(guide) if language == "python")
    make_data(tmp_path / "data")
    models.write_pictures(tmp_path, 1)
    (tmp_path / "00.png").rename(tmp_path / "new.png")
    (tmp_path / "tiny_net.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("tiny_net.py")
    assert capsys.readouterr().out.strip()
    assert {"model.keras", "model.onnx", "model.gate.npz"} <= {path.name for path in Path("run").iterdir()}


def python_of(page):
    """The Python on a page that uses the face, block by block."""
    blocks = _FENCED.findall((ROOT / page).read_text(encoding="utf-8"))
    return [block for _, language, block in blocks if language == "python" and "melascope.learn" not in block]


FACED = ["README.md", "docs/guides/first-model.md", "docs/guides/from-python.md"]


@pytest.mark.parametrize("page", FACED)
def test_python_on_pages_calls_what_there_is(page):
    calls = [
        node
        for block in python_of(page)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    of_face = [call for call in calls if isinstance(call.func.value, ast.Name) and call.func.value.id == "ms"]
    assert of_face
    for call in of_face:
        given = {item.arg: None for item in call.keywords}
        bound = inspect.signature(getattr(ms, call.func.attr)).bind(*call.args, **given)
        assert set(bound.arguments.get("settings", {})) <= {field.name for field in fields(Settings)}


def test_the_python_of_the_readme_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for block in python_of("README.md"):
        exec(block, {})  # noqa: S102
    assert capsys.readouterr().out.startswith("malignant 0.96")


@pytest.mark.slow
def test_the_python_of_the_guides_runs(tmp_path, monkeypatch, capsys):
    """As it stands, but with fewer images, one epoch and a small network."""
    truth = write_archive(tmp_path / "raw", 200)
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    monkeypatch.chdir(tmp_path)
    (first,) = python_of("docs/guides/first-model.md")
    names = {}
    exec(first.replace("epochs=18", "epochs=1"), names)  # noqa: S102
    assert re.match(r"[01]\.\d{3} \(", capsys.readouterr().out)  # a figure with its interval
    explain, whole = python_of("docs/guides/from-python.md")
    exec(explain, names)  # noqa: S102
    assert Path("lesion-explained.png").stat().st_size > 10_000
    small = whole.replace('["raw/", "clinic.zip"]', repr(truth.sources)).replace('data/"', 'more/"')
    small = small.replace('"EfficientNetB0"', '"MobileNetV3Small", weights=None, size=64, epochs=1')
    small = small.replace("runs/first", "runs/second").replace("report/", "second/")
    exec(small, names)  # noqa: S102
    assert Path("second/doubt.html").is_file()
