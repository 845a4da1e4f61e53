"""`melascope info`: what a model is, without running it."""

import json
import shutil
import subprocess
import sys

import pytest

from melascope.files import sha256


def info(*words):
    code = (
        "import sys\nfrom melascope.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'keras', 'torch', 'onnx', 'onnxruntime', 'h5py', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    words = (sys.executable, "-c", code, "info", *map(str, words))
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model.parent, tmp_path / "model") / "tiny.keras"


def test_card_files_and_what_is_in_them(model):
    done = info(model.with_suffix(""), "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["card"] == json.loads(model.with_suffix(".json").read_text())
    assert found["identity"] == f"tiny@{sha256(model)[:12]}"
    keras, onnx = found["files"]
    assert keras == {
        "path": str(model),
        "bytes": model.stat().st_size,
        "sha256": sha256(model),
        "inputs": {"image": "(None, 48, 48, 3)"},
        "outputs": {"probability": ""},
        "operations": {
            "InputLayer": 1,
            "Rescaling": 1,
            "Conv2D": 2,
            "GlobalAveragePooling2D": 1,
            "Dropout": 1,
            "Dense": 1,
            "Activation": 1,
        },
        "belongs_to_card": True,
    }
    assert onnx["outputs"]["logits"] == "float32 (batch, 2)"
    assert onnx["operations"]["Conv"] == 3
    assert onnx["belongs_to_card"] is True


def test_as_text_for_a_person(model):
    done = info(model)
    assert done.returncode == 0
    assert "never replaces" in done.stdout
    assert "yes from 0." in done.stdout
    assert sha256(model) in done.stdout
    assert "2 Conv2D" in done.stdout


def test_files_that_do_not_belong_together_are_told_apart(model):
    card = json.loads(model.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps({**card, "keras_sha256": "0" * 64}))
    done = info(model.with_suffix(""))
    assert done.returncode == 1
    assert done.stdout.count("DOES NOT BELONG TO THE CARD") == 2


def test_without_a_card_the_file_is_still_described(model):
    model.with_suffix(".json").unlink()
    done = info(model.with_suffix(".onnx"))
    assert done.returncode == 0
    assert "none beside it" in done.stdout
    assert "3 Conv" in done.stdout


@pytest.mark.parametrize("suffix", [".keras", ".onnx"])
def test_what_is_no_model_is_one_line(suffix, tmp_path):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"no model")
    for word, why in ((path, "not a"), (tmp_path / "missing", "no such model")):
        done = info(word)
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"melascope: {word}: {why}")


def test_the_former_name_says_the_new_one(model, run_command):
    done = run_command("model", "info", model)
    assert done.returncode == 0
    assert done.stdout == run_command("info", model).stdout != ""
    assert (
        done.stderr
        == "`melascope model info` is now `melascope info`; the old name will go in the next release\n"
    )
