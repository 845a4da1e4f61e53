"""The face: `import melascope as ms` answers as the predictor and the command do, and does what the verbs do."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melascope as ms
from helpers.datasets import make_data
from helpers.fake_isic import ArchiveServer
from helpers.isic_images import make_images
from melascope import api
from melascope.infer.answer import COLUMNS
from melascope.infer.predictor import Predictor
from melascope.model.folder import SHIPPED
from melascope.synthetic import MELANOMA, NEVUS, draw


@pytest.fixture(scope="module")
def model():
    return ms.load()


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    """Two drawn lesions, one of them in a deeper folder, and a broken file."""
    folder = tmp_path_factory.mktemp("lesions")
    (folder / "deep").mkdir()
    Image.fromarray(draw(1, NEVUS).pixels).save(folder / "a.png")
    Image.fromarray(draw(2, MELANOMA).pixels).save(folder / "deep" / "b.png")
    (folder / "deep" / "c.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def evaluated(tiny_model, tmp_path_factory):
    """A tiny model with random weights, a data set of squares, and the report of both."""
    folder = tmp_path_factory.mktemp("evaluated")
    for suffix in (".keras", ".json", ".onnx"):
        shutil.copy(tiny_model.with_suffix(suffix), folder / f"tiny{suffix}")
    data = ms.Dataset(make_data(folder / "data", 160))
    return ms.evaluate(folder / "tiny", data, folder / "report", seed=3)


def rows(answers):
    return [answer.row() for answer in answers]


# The module


def python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, **options
    ).stdout


def test_import_is_light_and_names_are_listed():
    code = "import sys, melascope as ms; print(sorted({'numpy', 'PIL', 'typer'} & set(sys.modules)), 'load' in dir(ms))"
    assert python(code) == "[] True\n"


def test_both_lists_of_names_agree():
    assert api.__all__ == ms.__all__
    assert all(getattr(ms, name) is getattr(api, name) for name in ms.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        ms.nothing  # noqa: B018


def test_functions_stay_functions_when_packages_of_their_names_are_imported():
    code = (
        "import inspect, melascope as ms, melascope.prepare.tree as tree, melascope.evaluate.metrics\n"
        "from melascope.prepare import groups\n"
        "print(tree.__name__, groups.__name__, melascope.evaluate.metrics.__name__)\n"
        "print(*inspect.signature(ms.evaluate).parameters, ms.evaluate.__module__, 'data set' in ms.prepare.__doc__)"
    )
    assert python(code).splitlines() == [
        "melascope.prepare.tree melascope.prepare.groups melascope.evaluate.metrics",
        "model data out split seed prevalence progress melascope.api.report True",
    ]


@pytest.mark.slow
def test_type_checkers_know_it(tmp_path):
    (tmp_path / "use.py").write_text(
        "import melascope as ms\nmodel = ms.load(sensitivity=0.95)\nreveal_type(model.predict('a.jpg'))\n"
        "reveal_type(model.predict(['a.jpg']).table())\nreveal_type(ms.evaluate(model, 'data', 'out').malignant)\n"
        "reveal_type(ms.train(ms.Dataset('data'), 'out', size=64))\nms.lode()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "", "use.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(ms.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    revealed = re.findall(r'Revealed type is "[\w.]*?(\w+)"', done.stdout)
    assert revealed == ["Answer", "DataFrame", "Figures", "Model"]
    assert 'Module has no attribute "lode"' in done.stdout


# Answers


def test_the_same_answer_for_a_path_a_picture_and_an_array(model, lesions, run_command):
    path = lesions / "a.png"
    pixels = np.asarray(Image.open(path))
    (expected,) = Predictor.load(SHIPPED).predict([str(path)])
    assert model.predict(str(path)).row() == model.predict(path).row() == expected.row()
    assert json.loads(run_command("predict", path, "--format", "jsonl").stdout) == expected.row()
    with Image.open(path) as picture:
        assert model.predict(picture).row() == expected.row()
    for array in (pixels, pixels / 255, np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])):
        assert model.predict(array).row() == {**expected.row(), "path": ""}
    np.testing.assert_array_equal(model.predict(pixels).heat, expected.heat)


def test_several_images_give_a_list_in_their_order(model, lesions, tmp_path):
    paths = [str(lesions / name) for name in ("a.png", "deep/b.png", "deep/c.jpg")]
    expected = rows(Predictor.load(SHIPPED).predict(paths))
    assert [row["status"] for row in expected] == ["ok", "ok", "error"]
    for several in (
        lesions,
        str(lesions),
        [lesions],
        paths,
        tuple(map(Path, paths)),
        (path for path in paths),
    ):
        answers = model.predict(several)
        assert isinstance(answers, ms.Answers)
        assert rows(answers) == expected
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(paths[0], "a.png")
    zipped = {**expected[0], "path": f"{tmp_path / 'some.zip'}::a.png"}
    pixels = np.asarray(Image.open(paths[0]))
    mixed = model.predict([tmp_path / "some.zip", pixels, paths[1]])
    assert rows(mixed) == [zipped, {**expected[0], "path": ""}, expected[1]]
    assert rows(model.predict(np.stack([pixels, pixels]))) == 2 * [{**expected[0], "path": ""}]
    assert model.predict([paths[0]]) == [model.predict(paths[0])]
    assert model.predict([]) == []


def test_a_list_of_answers_becomes_a_table(model, lesions):
    answers = model.predict(lesions)
    table = answers.table()
    assert list(table.columns) == list(COLUMNS)
    assert table.to_dict("records")[0]["malignant"] == answers[0].row()["malignant"]
    assert pd.DataFrame(answers)["label"].tolist() == table["label"].tolist()
    assert list(ms.Answers().table().columns) == list(COLUMNS)


def test_answers_come_one_by_one_from_an_endless_stream(model, lesions):
    def endless():
        while True:
            yield lesions / "a.png"

    stream = model.stream(endless())
    assert [next(stream).status for _ in range(3)] == ["ok"] * 3


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (3, "picture: int is not an image; give a path, an image of Pillow, or an array"),
        (None, "picture: NoneType is not an image; give a path, an image of Pillow, or an array"),
        (b"abc", "picture: bytes is not an image; give a path, an image of Pillow, or an array"),
        (
            [np.zeros((9, 9)), 3],
            "pictures[1]: int is not an image; give a path, an image of Pillow, or an array",
        ),
        (
            np.zeros((3, 64, 64)),
            "picture: channels come first in the shape (3, 64, 64); use .transpose(1, 2, 0)",
        ),
        ([np.full((9, 9, 3), np.nan)], "pictures[0]: holds values that are not finite (NaN or infinity)"),
    ],
    ids=repr,
)
def test_what_is_not_an_image_is_refused_in_one_sentence(model, given, reason):
    with pytest.raises(ms.MelascopeError) as refused:
        model.predict(given)
    assert str(refused.value) == reason


def test_a_folder_without_images_is_an_error(model, tmp_path):
    with pytest.raises(ms.DataError, match="holds no images"):
        model.predict(tmp_path)


def test_a_model_is_loaded_at_an_operating_point(tiny_model):
    loaded = ms.load(tiny_model, sensitivity=0.98)
    assert loaded.card.threshold["malignant"] == 0.15
    assert loaded.operating_point.startswith(
        "called malignant from 0.150 on: a sensitivity of 98 % was reached"
    )
    assert repr(loaded) == f"<Model {loaded.card.identity}, called malignant from 0.150 on>"
    assert ms.load(loaded).card.identity == loaded.card.identity  # a model is a path to itself
    with pytest.raises(ms.ModelError, match="has no operating point for a sensitivity of 0"):
        ms.load(tiny_model, sensitivity=0.5)
    with pytest.raises(ms.ModelError, match="no such model"):
        ms.load("missing")


def test_nothing_is_printed_unless_asked_for(model, lesions, capfd):
    calls = []
    model.predict([lesions, lesions])
    assert capfd.readouterr() == ("", "")
    model.predict([lesions, lesions], progress=lambda *call: calls.append(call))
    assert calls == [("predicting", n, 6) for n in range(1, 7)]


# In a notebook


def test_an_answer_shows_itself_with_its_heat_map(model, lesions):
    for given in (lesions / "a.png", np.asarray(Image.open(lesions / "a.png"))):
        answer = model.predict(given)
        page = answer._repr_html_()
        assert page.count("<img ") == page.count("data:image/png;base64,") == 2
        for text in (
            answer.label,
            f"{100 * answer.malignant:.1f}\u00a0%",
            model.operating_point,
            "never replaces",
        ):
            assert text in page


def test_an_answer_without_a_picture_shows_its_reason(model, lesions, tmp_path):
    page = model.predict(lesions / "deep" / "c.jpg")._repr_html_()
    assert "<img" not in page
    assert "not an image" in page
    gone = Path(shutil.copy(lesions / "a.png", tmp_path / "gone.png"))
    answer = model.predict(gone)
    gone.unlink()
    assert "<img" not in answer._repr_html_()


def test_names_cannot_become_markup(model, lesions, tmp_path):
    bad = tmp_path / "<b>bad\x1b.png"
    shutil.copy(lesions / "a.png", bad)
    for page in (model.predict(bad)._repr_html_(), model.predict([bad])._repr_html_()):
        assert "&lt;b&gt;bad?.png" in page
        assert "<b>bad" not in page


def test_a_long_list_is_cut_in_a_notebook(model, lesions):
    page = model.predict([lesions / "deep" / "c.jpg"] * 53)._repr_html_()
    assert page.count("<tr>") == 51
    assert "3 more" in page


def test_an_explanation_is_a_picture(model, lesions, tmp_path):
    path = lesions / "deep" / "b.png"
    explained = model.explain(path, target="melanoma")
    assert explained.answer.row() == model.predict(path).row()
    assert explained._repr_png_().startswith(b"\x89PNG")
    for name, kind in (("out.png", "PNG"), ("deep/out.jpg", "JPEG"), ("out", "PNG")):
        with Image.open(explained.save(tmp_path / name)) as saved:
            assert (saved.format, saved.size) == (kind, explained.image.size)
    of_array = model.explain(np.asarray(Image.open(path)), target="melanoma")
    assert of_array.image.size == explained.image.size
    with pytest.raises(ms.ImageError, match="not an image"):
        model.explain(lesions / "deep" / "c.jpg")
    with pytest.raises(ms.DataError, match="naevus: no such target; there are malignant and melanoma"):
        model.explain(path, target="naevus")


# Data sets, training, reports


def test_a_report_has_figures_with_intervals(evaluated):
    metrics = json.loads((evaluated.folder / "metrics.json").read_text())
    found = metrics["targets"]["malignant"]
    figure = evaluated.malignant.roc_auc
    assert isinstance(figure, ms.Figure)
    assert figure.document() == found["roc_auc"]
    assert evaluated.malignant.n == found["n"] == 40
    assert evaluated.malignant.at_threshold.sensitivity.value == found["at_threshold"]["sensitivity"]["value"]
    assert {"roc_auc", "at_threshold"} <= set(dir(evaluated.melanoma))
    assert evaluated.warnings == metrics["warnings"]
    assert metrics["resampling"]["seed"] == 3
    assert len(evaluated.predictions) == 40
    assert "never replaces" in evaluated.page.read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(ms.Report(evaluated).predictions, evaluated.predictions)
    with pytest.raises(AttributeError, match="malignant has no figure roc_auk; it has n, n_positive"):
        evaluated.malignant.roc_auk  # noqa: B018


def test_a_report_is_checked_by_chapters(evaluated):
    done = evaluated.check("doubt", "card")
    assert list(done) == ["doubt", "card"]
    assert done["doubt"].results == json.loads((evaluated.folder / "doubt.json").read_text())
    assert [page.name for page in done["card"].pages] == ["card.html", "guidelines.html"]
    assert "Measured on 40 images" in evaluated.page.read_text(encoding="utf-8")
    with pytest.raises(ms.DataError, match="lesion masks are needed"):
        evaluated.check("lesion")
    with pytest.raises(
        ms.DataError, match="heat: no such chapter; there are stress, lesion, doubt, cases, card"
    ):
        evaluated.check("heat")


def test_a_model_is_evaluated_at_its_own_operating_point_only(evaluated, tmp_path):
    data = evaluated.evaluation.data
    same = ms.evaluate(ms.load(evaluated.evaluation.model), data, tmp_path / "report", seed=3)
    assert same.malignant.roc_auc == evaluated.malignant.roc_auc
    with pytest.raises(ms.ModelError, match="load it without `sensitivity`"):
        ms.evaluate(ms.load(evaluated.evaluation.model, sensitivity=0.98), data, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_data_set_is_read_where_it_is(evaluated, tmp_path):
    data = ms.Dataset(evaluated.evaluation.data)
    assert len(data.table) == 160
    assert os.fspath(data) == str(evaluated.evaluation.data)
    with pytest.raises(ms.DataError, match="has no whole audit; prepare the data set again"):
        data.audit  # noqa: B018
    with pytest.raises(ms.DataError, match="nowhere"):
        ms.Dataset(tmp_path / "nowhere").table  # noqa: B018


def test_images_become_a_data_set(tmp_path):
    for i in range(60):
        folder = tmp_path / "raw" / ("malignant", "benign", "benign")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"ISIC_{i:07d}.png")
    data = ms.prepare(str(tmp_path / "raw"), tmp_path / "data", jobs=1)
    assert (len(data.table), data.unchanged) == (60, False)
    assert data.audit == ms.Dataset(data).audit
    assert data.page.is_file()
    again = ms.prepare([tmp_path / "raw"], tmp_path / "data", jobs=1)
    assert again.unchanged


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"epoch": 3}, "epoch: no such setting; there are backbone, weights, size, epochs,"),
        ({"size": 8}, "size 8: give 32 to 1024"),
        ({"epochs": -1}, "epochs -1: give at least 0"),
        ({"artefacts": "mean"}, "artefacts mean: give none or drawn"),
    ],
    ids=lambda given: str(given)[:20],
)
def test_a_wrong_setting_is_one_sentence(settings, reason, tmp_path):
    for train in (ms.train, ms.tune, ms.hold_out):
        with pytest.raises(ms.DataError, match=f"^{reason}"):
            train(tmp_path / "data", tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_from_data_to_a_model_that_answers(tmp_path, lesions, pictures, monkeypatch):
    from melascope.learn import gate_examples

    monkeypatch.setattr(gate_examples, "gather", partial(gate_examples.gather, drawn=12))
    data = ms.Dataset(make_data(tmp_path / "data", 160))
    small = {"backbone": "MobileNetV3Small", "weights": "none", "size": 32, "epochs": 2}
    model = ms.train(data, tmp_path / "run", refuse=pictures, **small)
    assert model.files.keras == tmp_path / "run" / "model.keras"
    assert model.card.gate
    assert model.predict(lesions / "a.png").model == model.card.identity
    searched = ms.tune(data, tmp_path / "search", trials=2, search=["rate"], **small)
    assert (tmp_path / "search" / "search.html").is_file()
    assert searched.card.input_size == 32
    ours = ms.calibrate(model, data, tmp_path / "ours")
    assert ours.card.keras_sha256 == model.card.keras_sha256
    assert ours.card.calibrated_on != model.card.calibrated_on


# The archive


def test_images_are_fetched_from_the_archive(tmp_path, monkeypatch):
    notes = []
    with ArchiveServer(make_images(tmp_path / "archive", 12)) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        got = ms.fetch_isic("", tmp_path / "raw", limit=5, notify=notes.append)
    assert len(list(Path(got).glob("ISIC_*.*"))) == 5
    assert got.failed == []
    assert got.counts.groupby("by")["images"].sum()["class"] == 5
    assert got.page.is_file()
    assert any("dermoscopic" in note for note in notes)
