"""The command as a user meets it: help, version, completion, and errors of one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from helpers.commands import verbs, wrong
from melascope import __version__
from melascope.cli.main import app

PANELS = {
    "Start here": ["demo"],
    "Data": ["fetch", "prepare"],
    "Models": ["train", "tune", "calibrate", "hold-out", "info"],
    "Evidence": ["evaluate", "check"],
    "Use": ["predict", "explain", "serve"],
}
VERBS = [verb for verbs in PANELS.values() for verb in verbs]


def help_of(*words, columns=80):
    done = CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0
    return done.stdout


def test_help_has_a_panel_for_each_part_of_a_project():
    shown = {}
    for line in help_of().splitlines():
        if title := re.match(r"╭─ (.+?) ─", line):
            verbs = shown.setdefault(title[1], [])
        elif verb := re.match(r"│ ([a-z-]+) ", line):
            verbs.append(verb[1])
    del shown["Options"]
    assert shown == PANELS
    assert list(shown) == list(PANELS)
    assert "never replaces" in help_of()


def test_both_spellings_of_help_and_version(run_command):
    assert run_command("-h").stdout == run_command("--help").stdout
    assert run_command("-V").stdout == run_command("--version").stdout == f"melascope {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["fetch", "isic"],
        ["fetch", "challenge"],
        ["fetch", "zip"],
        *([verb] for verb in VERBS if verb != "fetch"),
    ],
    ids=" ".join,
)
def test_help_of_a_verb_fits_and_ends_with_examples(words):
    for columns in (80, 120):
        text = help_of(*words, columns=columns)
        assert max(map(len, text.splitlines())) <= columns
        assert not set("{}") & set(text)
        examples = text.partition("Examples:")[2].split("$ ")
        assert len(examples) > 1
        for example in examples[1:]:
            assert wrong(f"$ {example.partition(chr(10))[0].strip()}", verbs()) is None
            assert example.startswith(f"melascope {' '.join(words)}")


def test_paragraphs_of_help_fill_the_line():
    text = help_of("tune", columns=120)
    paragraph = text[text.index("Run the same command") : text.index("╭─ Arguments")].strip()
    assert len(paragraph.splitlines()) == 2  # the docstring breaks it elsewhere


def test_the_shell_completes_verbs():
    environment = os.environ | {
        "_MELASCOPE_COMPLETE": "complete_bash",
        "COMP_WORDS": "melascope pre",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-m", "melascope"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.split()) == ["predict", "prepare"]


def test_former_names_are_hidden():
    hidden = {name for name, command in get_command(app).commands.items() if command.hidden}
    assert hidden == {"stress", "attribution", "doubt", "investigate", "card", "model"}


def test_a_missing_package_is_one_line_that_names_the_extra(tmp_path):
    code = "import sys; sys.modules['pandas'] = None\nimport melascope.__main__"
    words = [sys.executable, "-c", code, "check", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "melascope: this needs the package pandas; pip install 'melascope[data]'\n"


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "missing", "--out", "data"],
        ["train", "missing", "--out", "run", "--weights", "none"],
        ["evaluate", "missing", "missing", "--out", "report"],
        ["check", "missing"],
        ["info", "missing"],
        ["explain", "a.jpg", "--model", "missing", "--out", "out"],
        ["predict", "a.jpg", "--model", "missing"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_missing_is_one_line_that_names_it(words, tmp_path, monkeypatch, run_command):
    monkeypatch.chdir(tmp_path)
    result = run_command(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("melascope: missing")
    assert not list(Path().iterdir())  # nothing half-made is left behind


def test_wrong_usage_exits_2(run_command):
    assert run_command("predict").returncode == 2
    assert run_command("train", "data", "--out", "run", "--epochs", "many").returncode == 2
    assert run_command("dance").returncode == 2


def test_help_is_light():
    """No verb pays for another one's libraries."""
    code = (
        "import sys; import melascope.cli.main; "
        "print(sorted({'keras', 'torch', 'pandas', 'matplotlib', 'sklearn', 'scipy', 'fastapi'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
