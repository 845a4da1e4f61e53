"""The command as a user meets it: help, version, completion, and errors of one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from melascope import __version__
from melascope.cli.main import app

PANELS = {
    "Start here": ["demo"],
    "Data": ["fetch", "prepare"],
    "Models": ["train", "tune", "calibrate", "hold-out", "info"],
    "Evidence": ["evaluate"],
    "Use": ["predict", "explain", "serve"],
}
VERBS = [verb for verbs in PANELS.values() for verb in verbs]


def help_of(*words: str, columns: int = 80) -> str:
    done = CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0
    return done.stdout


def test_help_has_a_panel_for_each_part_of_a_project():
    shown: dict[str, list[str]] = {}
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


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_is_whole(verb):
    for columns in (80, 120):
        text = help_of(verb, columns=columns)
        assert max(map(len, text.splitlines())) <= columns


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
    commands = get_command(app).commands
    assert {name for name, command in commands.items() if command.hidden} == set(commands) - set(VERBS)


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "missing", "--out", "data"],
        ["train", "missing", "--out", "run", "--weights", "none"],
        ["evaluate", "missing", "missing", "--out", "report"],
        ["investigate", "missing"],
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
