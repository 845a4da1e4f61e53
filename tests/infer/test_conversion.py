"""Conversion as the predictor starts it: once, in a process of its own, beside the model or in the cache."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers import models
from melascope.errors import ModelError
from melascope.infer import conversion, runtime
from melascope.infer.predictor import Predictor
from melascope.learn import convert
from melascope.model.card import Card


@pytest.mark.parametrize("state", ["missing", "broken", "of another model"])
def test_a_missing_or_wrong_file_is_converted_again(state, copy, pictures, convert_here):
    onnx = copy.with_suffix(".onnx")
    expected = next(Predictor.load(copy).predict([str(pictures / "00.png")]))
    if state == "missing":
        onnx.unlink()
    elif state == "broken":
        onnx.write_bytes(onnx.read_bytes()[:2000])
    else:
        other = models.build()
        other.get_layer("logits").set_weights([np.zeros((16, 2)), np.zeros(2)])
        other.save(copy.parent / "other.keras")
        convert.convert(copy.parent / "other.keras", onnx)
    reported = []
    predictor = Predictor.load(copy, lambda what, done, total: reported.append(what))
    assert reported == ["converting tiny.keras, once"] * 2
    assert next(predictor.predict([str(pictures / "00.png")])).malignant == expected.malignant
    Predictor.load(copy, lambda *_: pytest.fail("converted twice"))


def test_the_cache_stands_in_for_a_folder_without_write_access(copy, tmp_path, monkeypatch, convert_here):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy.with_suffix(".onnx").unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    Predictor.load(copy)
    assert not copy.with_suffix(".onnx").exists()
    assert len(list((tmp_path / "cache" / "melascope").iterdir())) == 1
    Predictor.load(copy, lambda *_: pytest.fail("converted twice"))


def test_two_processes_that_convert_at_once_do_no_harm(tiny_model, tmp_path):
    """The file is one or the other's, and whole."""
    shutil.copy(tiny_model, tmp_path / "twin.keras")
    with ThreadPoolExecutor(2) as both:
        list(both.map(conversion.to_onnx, [tmp_path / "twin.keras"] * 2, [tmp_path / "twin.onnx"] * 2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["twin.keras", "twin.onnx"]
    card = Card.read(tiny_model.with_suffix(".json"))
    assert runtime.read(tmp_path / "twin.onnx", card) == tiny_model.with_suffix(".onnx").read_bytes()


def test_a_conversion_that_takes_too_long_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"slow\.keras: takes more than 0.05 s to convert"):
        conversion.to_onnx(tmp_path / "slow.keras", tmp_path / "no.onnx", limit_s=0.05)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -9 $$", r"was killed \(signal 9\), probably out of memory"),
        ("exit 3", r"failed \(exit code 3\)"),
    ],
)
def test_a_conversion_that_ends_early_is_one_line(script, why, tmp_path, monkeypatch):
    converter = tmp_path / "converter"
    converter.write_text(f"#!/bin/sh\n{script}\n")
    converter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(converter))
    with pytest.raises(ModelError, match=rf"^deadly\.keras: the conversion process {why}$"):
        conversion.to_onnx("deadly.keras", tmp_path / "no.onnx")
    assert list(tmp_path.iterdir()) == [converter]


def test_without_the_extra_the_way_out_is_named(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"needs the package onnx; pip install 'melascope\[train\]'"):
        conversion.to_onnx(tiny_model, tmp_path / "tiny.onnx")
