"""The command as a user meets it: help, version, and errors of one line."""

import subprocess
import sys
from pathlib import Path

import pytest

VERBS = ("fetch", "prepare", "train", "evaluate", "investigate", "explain", "predict", "serve", "demo")


def melascope(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from melascope.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )


def test_help_names_every_verb_and_what_the_tool_is_not():
    result = melascope("--help")
    assert result.returncode == 0
    assert all(verb in result.stdout for verb in VERBS)
    assert "never replaces" in result.stdout


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
def test_what_is_missing_is_one_line_that_names_it(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = melascope(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("melascope: missing")
    assert not list(Path().iterdir())  # nothing half-made is left behind


def test_wrong_usage_exits_2():
    assert melascope("predict").returncode == 2
    assert melascope("train", "data", "--out", "run", "--epochs", "many").returncode == 2
    assert melascope("dance").returncode == 2


def test_help_is_light():
    """No verb pays for another one's libraries."""
    code = (
        "import sys; import melascope.cli.main; "
        "print(sorted({'keras', 'torch', 'pandas', 'matplotlib', 'sklearn', 'scipy', 'fastapi'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
