"""The predictor: Keras's answers without Keras, in order, and models by any of their names."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import models
from melascope import images
from melascope.errors import ModelError
from melascope.images import load
from melascope.infer import conversion
from melascope.infer.answer import decide
from melascope.infer.predictor import Predictor
from melascope.learn import network
from melascope.learn.backend import keras
from melascope.quality import measure


def test_answers_are_those_of_keras_and_the_card(tiny_model, pictures):
    paths = sorted(map(str, pictures.iterdir()))
    answers = list(Predictor.load(tiny_model).predict(paths))
    net = keras.saving.load_model(tiny_model, compile=False)
    pixels = np.stack([load(path, models.SIZE) for path in paths]).astype(np.float32)
    logits = network.truncated_at(net, "logits").predict(pixels, verbose=0)
    assert np.ptp(logits) > 1
    expected = 1 / (1 + np.exp(-logits / list(models.TEMPERATURE.values())))
    expected[:, 1] = expected.min(axis=1)  # a melanoma is malignant
    np.testing.assert_allclose([(a.malignant, a.melanoma) for a in answers], expected, atol=1e-5)
    assert [a.path for a in answers] == paths
    assert {a.label for a in answers} == {"malignant", "benign"}
    for answer in answers:
        assert (answer.label == "malignant") == (answer.malignant >= models.THRESHOLD["malignant"])
        sure = answer.malignant if answer.label == "malignant" else 1 - answer.malignant
        assert answer.confidence == sure


def test_an_unreadable_file_keeps_its_place(tiny_model, pictures):
    good = sorted(map(str, pictures.iterdir()))
    mixed = [path for i, path in enumerate(good) for path in ([path, f"no{i}.jpg"] if i % 3 == 0 else [path])]
    reported = []
    predictor = Predictor.load(tiny_model)
    answers = list(predictor.predict(mixed, lambda what, done, total: reported.append((done, total))))
    assert [a.path for a in answers] == mixed
    assert [a.status == "error" for a in answers] == [path.startswith("no") for path in mixed]
    assert all((a.heat is None) == (a.status == "error") for a in answers)
    assert reported[-1] == (len(mixed), len(mixed))
    alone = {a.path: a for path in good[:3] for a in predictor.predict([path])}
    for answer in answers[:5]:  # the same as alone
        if answer.path in alone:
            assert answer.malignant == pytest.approx(alone[answer.path].malignant, abs=1e-6)


def test_explain_is_predict_with_the_picture(tiny_model, tmp_path):
    """A large JPEG is answered for at a reduced size, whatever is shown."""
    predictor = Predictor.load(tiny_model)
    path = str(tmp_path / "large.jpg")
    Image.fromarray(models.lesion(3, 1600, 1200)).save(path, quality=95)
    expected = next(predictor.predict([path]))
    whole = images.decode(Path(path).read_bytes(), path)
    for at_least, shape in ((None, (1200, 1600, 3)), (600, (600, 800, 3)), (224, (300, 400, 3))):
        answer, pixels = predictor.explain(path, at_least)
        assert pixels.shape == shape
        assert answer.json() == expected.json()
        np.testing.assert_array_equal(answer.logits, expected.logits)
    np.testing.assert_array_equal(predictor.explain(path)[1], whole)
    data = Path(path).read_bytes()
    answer, pixels = predictor.explain_file(lambda: data, path)
    np.testing.assert_array_equal(answer.logits, predictor.answer_file(lambda: data, path).logits)
    np.testing.assert_array_equal(pixels, whole)
    answer, pixels = predictor.explain("missing.jpg")
    assert (answer.status, pixels) == ("error", None)


def test_a_picture_that_suffices_is_decoded_once(tiny_model, pictures, monkeypatch):
    predictor = Predictor.load(tiny_model)
    decoded = []
    once = images.decode_sized
    monkeypatch.setattr(images, "decode_sized", lambda *args: decoded.append(args) or once(*args))
    predictor.explain(str(pictures / "00.png"))
    assert len(decoded) == 1


def test_quality_has_the_size_of_the_whole_image(tiny_model, tmp_path):
    predictor = Predictor.load(tiny_model)
    upright = Image.fromarray(models.lesion(3, 1600, 1200))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    upright.save(tmp_path / "turned.jpg", exif=exif)
    answer = next(predictor.predict([str(tmp_path / "turned.jpg")]))
    assert (answer.quality.width, answer.quality.height) == (1200, 1600)
    seen = images.decode((tmp_path / "turned.jpg").read_bytes(), "", at_least=models.SIZE)
    assert answer.quality[:3] == measure(seen)[:3]
    assert predictor.answer(seen).quality == measure(seen)
    assert next(predictor.predict(["missing.jpg"])).quality is None
    assert "quality" not in answer.row()


def test_images_are_not_read_far_ahead(tiny_model, pictures):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield str(pictures / "00.png")

    answers = Predictor.load(tiny_model).predict(endless())
    assert next(answers).status == "ok"
    answers.close()
    assert len(taken) < 100


@pytest.mark.parametrize("word", ["tiny.keras", "tiny.onnx", "tiny", "folder", "folder/model"])
def test_a_model_is_named_by_file_stem_or_folder(word, copy, pictures, monkeypatch):
    folder = copy.parent / "folder"
    folder.mkdir()
    for suffix in (".keras", ".json", ".onnx"):
        shutil.copy(copy.with_suffix(suffix), folder / f"model{suffix}")
    monkeypatch.chdir(copy.parent)
    assert next(Predictor.load(word).predict([str(pictures / "00.png")])).status == "ok"


def test_the_converted_file_and_the_card_suffice(copy, pictures, monkeypatch):
    copy.unlink()
    monkeypatch.setattr(conversion, "to_onnx", None)
    assert next(Predictor.load(copy).predict([str(pictures / "00.png")])).status == "ok"


def test_a_target_without_training_is_none(copy, pictures):
    models.write_card(copy, **models.MALIGNANT_ONLY)
    answer = next(Predictor.load(copy).predict([str(pictures / "00.png")]))
    assert answer.melanoma is None
    assert answer.malignant is not None


def test_a_faulty_model_is_one_line(copy, tmp_path, convert_here):
    def refused(match, model=copy):
        with pytest.raises(ModelError, match=match):
            Predictor.load(model)

    refused("nowhere: no such model; give a .keras or .onnx file", tmp_path / "nowhere")
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    refused(r"photo\.jpg: not a model; give a \.keras or \.onnx file", tmp_path / "photo.jpg")
    (tmp_path / "empty").mkdir()
    refused("empty: no such model", tmp_path / "empty")
    (tmp_path / "text.keras").write_text("not a model")
    refused(r"text\.json: missing", tmp_path / "text.keras")
    models.write_card(tmp_path / "text.json")
    refused(r"text\.keras: not a \.keras file", tmp_path / "text.keras")
    models.write_card(copy, input_size=models.SIZE + 1)
    refused("inputs or outputs differ from its card")
    models.write_card(copy, keras_sha256="0" * 64)
    refused("not the model that its card tiny.json describes")
    copy.unlink()
    refused("not made from the model that its card describes; get its .keras file too")
    copy.with_suffix(".onnx").write_bytes(b"nonsense")
    refused("tiny.onnx: not an ONNX model")
    copy.with_suffix(".json").write_text("{}")
    refused("not a model's card")


def test_infinite_weights_give_no_answer(copy, pictures, convert_here):
    net = keras.saving.load_model(copy, compile=False)
    net.get_layer("logits").set_weights([np.full((16, 2), np.inf), np.zeros(2)])
    net.save(copy)
    models.write_card(copy)
    with pytest.raises(ModelError, match=r"tiny"):
        list(Predictor.load(copy).predict([str(pictures / "00.png")]))


def test_a_decision_follows_from_the_shown_digits():
    assert decide(0.31, 0.31, models.SETS) == ("malignant", 0.31, True)
    assert decide(0.2999996, 0.3000004, models.SETS) == ("malignant", 0.2999996, True)  # both shown as 0.3
    assert decide(0.299999, 0.3, models.SETS)[0] == "benign"
    assert decide(0.1, 0.3, models.SETS) == ("benign", 0.9, False)
