"""The gate: fitted to drawn lesions, it passes others, refuses other images, and its card says so."""

import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers import models
from helpers.datasets import manifest_of
from melascope import manifest
from melascope.cli.main import app
from melascope.errors import ModelError
from melascope.infer.predictor import Predictor
from melascope.learn import fit_gate, gate_examples, training
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.synthetic import MELANOMA, NEVUS, Style, draw
from melascope.synthetic.clutter import KINDS, clutter


def _data(folder, images=144):
    """Drawn lesions of two clinics, every ninth image a close-up that was left out."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(images):
        tint = (1.0, 1.0, 1.0) if i % 2 else (1.0, 0.93, 0.9)
        malignant = i % 3 == 0
        path = folder / "images" / f"{i}.png"
        if close := i % 9 == 8:
            Image.fromarray(clutter("bare skin", i, 120)).save(path)
        else:
            drawing = draw(i, MELANOMA if malignant else NEVUS, Style(120, 100, tint=tint, zoom=1.2))
            Image.fromarray(drawing.pixels).save(path)
        rows.append(
            {
                "path": str(path),
                "source": f"clinic {i % 2}",
                "modality": "clinical: close-up" if close else "dermoscopic",
                "malignant": malignant,
                "melanoma": malignant,
                "split": None if close else ("train", "train", "validation", "test")[i // 2 % 4],
                "excluded": "not dermoscopic: clinical: close-up" if close else "",
            }
        )
    manifest.write(manifest_of(images, **pd.DataFrame(rows)), folder)
    return folder


def _fit(model, data, drawn):
    examples = gate_examples.gather(data, models.SIZE, drawn=drawn)
    return fit_gate.fit(model, Predictor.load(model).gate_features, examples)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A tiny model with a gate, and the data that it was fitted on."""
    folder = tmp_path_factory.mktemp("gated")
    data = _data(folder / "data")
    models.build().save(folder / "tiny.keras")
    models.write_card(folder / "tiny.keras")
    card = _fit(folder / "tiny.keras", data, drawn=40)
    return folder / "tiny.keras", data, card


def test_lesions_pass_and_other_images_are_refused(gated, tmp_path):
    model, data, card = gated
    table = manifest.read(data)
    unseen = manifest.usable(table, "test")["path"].tolist()
    predictor = Predictor.load(model)
    known = [answer.status for answer in predictor.predict(unseen)]
    assert np.mean([status == "ok" for status in known]) >= 0.9
    strange = []
    for kind in ("documents", "screens"):
        for i in range(12):
            Image.fromarray(clutter(kind, 10_000 + i, 150)).save(tmp_path / f"{kind}{i}.png")
            strange.append(str(tmp_path / f"{kind}{i}.png"))
    answers = list(predictor.predict(strange))
    assert np.mean([answer.status == "refused" for answer in answers]) >= 0.75
    refused = next(answer for answer in answers if answer.status == "refused")
    assert refused.label is None
    assert refused.malignant is not None  # the probability is still there
    assert "dermoscopic image of a skin lesion" in "".join(answer.reason or "" for answer in answers)
    assert set(card.gate["refused"]) == {*KINDS, "photographs", "clinical: close-up"}
    assert set(card.gate["false_refusals"]) == {"clinic 0", "clinic 1"}


def test_the_card_describes_what_the_gate_does(gated):
    model, data, card = gated
    validation = manifest.usable(manifest.read(data), "validation")
    predictor = Predictor.load(model)
    reasons = [answer.reason or "" for answer in predictor.predict(validation["path"].tolist())]
    strange = pd.Series(["does not look like" in reason for reason in reasons], index=validation["source"])
    for source, share in card.gate["false_refusals"].items():
        assert strange[source].mean() == pytest.approx(share)
    assert max(card.gate["false_refusals_unseen"].values(), default=0) <= fit_gate.MAX_FALSE_UNSEEN


def test_a_source_only_in_the_test_split_is_not_learned(gated, tmp_path):
    model, data, _ = gated
    ModelFiles(model).copy(ModelFiles(tmp_path / "copy.keras"), "copy")
    table = manifest.read(data)
    elsewhere = (table["source"] == "clinic 1") & (table["split"] == "train")
    manifest.write(table.assign(split=table["split"].mask(elsewhere, "test")), tmp_path)
    shutil.copy(model.with_suffix(".onnx"), tmp_path / "copy.onnx")
    card = _fit(tmp_path / "copy.keras", tmp_path, drawn=12)
    assert set(card.gate["false_refusals"]) == {"clinic 0", "clinic 1"}
    assert card.gate["false_refusals_unseen"] == {}


def test_a_missing_or_foreign_gate_is_an_error(gated, tmp_path):
    model, _, card = gated
    ModelFiles(model).copy(ModelFiles(tmp_path / "copy.keras"), "copy")
    shutil.copy(model.with_suffix(".onnx"), tmp_path / "copy.onnx")
    Predictor.load(tmp_path / "copy")
    assert Card.read(tmp_path / "copy.json").gate == card.gate
    gate = ModelFiles(tmp_path / "copy.keras").gate
    whole = gate.read_bytes()
    for content in (whole[:-1], b"", whole + b"x"):
        gate.write_bytes(content)
        with pytest.raises(ModelError, match="not the gate that the model's card describes"):
            Predictor.load(tmp_path / "copy")
    gate.unlink()
    with pytest.raises(ModelError, match="says that it has a gate"):
        Predictor.load(tmp_path / "copy")


def test_thresholds_are_as_high_as_every_limit_allows():
    """Against all that could be: no threshold can be higher without a limit being broken."""
    rng = np.random.default_rng(0)
    known, unseen = (rng.normal(mean, 1, (n, 3)).astype(np.float32) for mean, n in ((3, 300), (2, 200)))
    unseen[:, 2] = np.inf  # the gate without this source has no examples of that class
    strangers = [rng.normal(-2, 1, (50, 3)), rng.normal(1, 1, (50, 3)), rng.normal(0, 1, (50, 3))]
    limits = [(known, 0.01), (unseen, 0.03)]
    thresholds = fit_gate.fit_thresholds(limits, strangers)

    def kept(tried):
        return all((scores < tried).any(axis=1).mean() <= share for scores, share in limits)

    assert kept(thresholds)
    everything = np.concatenate([known, unseen])
    # An easy class leaves more of what may be refused to a hard one than one threshold for all does.
    common = max(v for v in np.unique(everything[np.isfinite(everything)]) if kept(np.full(3, v)))
    least = [min((v < at).any(axis=1).mean() for v in strangers) for at in (thresholds, np.full(3, common))]
    assert least[0] > least[1]
    for own in range(3):
        higher = everything[everything[:, own] > thresholds[own], own].min() + 1e-4
        assert not kept(np.where(np.arange(3) == own, higher, thresholds))
    # The only picture of a kind is tested by a gate without any.
    lonely = fit_gate.fit_thresholds([(known, 0.01)], [*strangers[:2], np.float32([[3, 3, np.inf]])])
    assert np.isfinite(lonely).all()
    assert 0 < fit_gate.refused(known, lonely) <= 0.01


def test_calibrate_fits_a_model_to_other_data(gated, tmp_path, monkeypatch):
    model, data, _ = gated
    (tmp_path / "strange").mkdir()
    for i in range(9):
        Image.fromarray(clutter("shapes", i, 90)).save(tmp_path / "strange" / f"{i}.png")
    monkeypatch.setattr(gate_examples, "gather", partial(gate_examples.gather, drawn=12))
    result = CliRunner().invoke(
        app,
        ["calibrate", str(model), str(data), "--out", str(tmp_path / "ours"),
         "--refuse", str(tmp_path / "strange")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    card = Card.read(tmp_path / "ours" / "model.json")
    assert card.identity.startswith("ours@")
    assert "strange" in card.gate["refused"]
    assert card.calibrated_on["malignant"]["split"].startswith("validation split of data")
    assert [point.sensitivity for point in card.operating_points["malignant"]] == [0.82, 0.89, 0.95, 0.98]
    validation = manifest.usable(manifest.read(data), "validation")
    truth = validation["malignant"].to_numpy(bool)
    image = validation["path"].tolist()
    for sensitivity in ("0.82", "0.98"):
        predicted = CliRunner().invoke(
            app,
            ["predict", *image, "--model", str(tmp_path / "ours"), "--format", "jsonl",
             "--sensitivity", sensitivity],
        )  # fmt: skip
        rows = [json.loads(line) for line in predicted.stdout.splitlines()]
        caught = np.array([row["malignant"] >= row["threshold"] for row in rows])[truth].mean()
        assert caught >= float(sensitivity)
    wrong = CliRunner().invoke(app, ["predict", image[0], "--model", str(model), "--sensitivity", "0.5"])
    assert isinstance(wrong.exception, ModelError)
    assert "it has 0.95, 0.98" in str(wrong.exception)


def test_a_clinic_is_left_out_with_what_it_has_to_refuse():
    """Close-ups of a clinic that is left out would stand for its camera, and lower the threshold."""
    rng = np.random.default_rng(0)

    def drawn(n, **shifts):
        features = rng.normal(size=(n, 6)).astype(np.float32)
        for name, shift in shifts.items():
            features[:, int(name[1:])] += shift
        return features

    def shown(features):
        return fit_gate.Shown(features, len(features), 1.0)

    seen = {"A": shown(drawn(400)), "B": shown(drawn(400, d0=3))}
    held = {"A": drawn(200), "B": drawn(200, d0=3)}
    drawings = {("shapes", ""): shown(drawn(200, d2=5)), ("bare skin", ""): shown(drawn(200, d2=5, d3=5))}
    close, later = (drawn(n, d0=3, d1=4) for n in (300, 200))
    to_refuse = {**drawings, ("close-up", "B"): shown(close)}
    for source, lesions, kinds in (("A", {"B"}, set(to_refuse)), ("B", {"A"}, set(drawings))):
        left = fit_gate.without_source(source, seen, to_refuse)
        assert [set(part) for part in left] == [lesions, kinds]
    named, unseen, refused = fit_gate.fit_to_features(seen, held, to_refuse)
    unnamed, _, _ = fit_gate.fit_to_features(seen, held, {**drawings, ("close-up", ""): shown(close)})
    assert max(unseen.values()) <= fit_gate.MAX_FALSE_UNSEEN
    assert named.knows(later).mean() < unnamed.knows(later).mean()
    # Cross-validation states for the close-ups what the gate does with others.
    assert refused["close-up"] == pytest.approx(1 - named.knows(later).mean(), abs=0.05)


def test_a_fold_is_left_out_with_its_copies():
    features = np.repeat(np.arange(12, dtype=np.float32), 2).reshape(12, 2)
    shown = fit_gate.Shown(np.concatenate([features, features + 0.5, features + 0.5]), 12, 0.2)
    left = shown.without(2)
    assert left.images()[:, 0].tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert set(left.features[:, 0] // 1) == {0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11}
    assert len(left.features) == 33
    weights = left.weights()
    assert weights.sum() == pytest.approx(1)
    assert weights[:11].sum() == pytest.approx(1 / 1.2)


def test_axes_are_principal_and_more_even_in_length():
    """Against NumPy's weighted covariance and all of its eigenvectors."""
    rng = np.random.default_rng(0)
    mixing = np.linalg.qr(rng.normal(size=(40, 40)))[0] * np.geomspace(30, 0.1, 40)
    features = (rng.normal(size=(500, 40)) @ mixing.T + 3).astype(np.float32)
    weights = rng.uniform(0.5, 2, 500)
    features[:, 7], features[:, 8] = 5, features[:, 9]  # one never changes, one says nothing new
    axes = fit_gate.principal_axes(features, weights / weights.sum())
    covariance = np.cov(features.T, aweights=weights, ddof=0)
    variances = np.sort(np.linalg.eigvalsh(covariance))[-38:]
    along = np.sort(np.diag(axes.T @ covariance @ axes))[-38:]
    assert np.isfinite(axes).all()
    assert along / along[-1] == pytest.approx((variances / variances[-1]) ** 0.3, rel=1e-2)
    assert along.sum() == pytest.approx(variances.sum(), rel=1e-2)
    turned = axes.T @ covariance @ axes
    assert np.abs(turned - np.diag(np.diag(turned))).max() < 1e-3 * along[-1]


@pytest.mark.slow
def test_completion_is_resumed(gated, tmp_path, monkeypatch):
    """Killed during conversion, then while the gate is fitted; what is complete is left alone."""
    _, data, _ = gated
    monkeypatch.setattr(gate_examples, "gather", partial(gate_examples.gather, drawn=12))
    model = ModelFiles(tmp_path / "model.keras")
    models.build().save(model.keras)
    models.write_card(model.keras)
    for step, kept in (("converting", [False, False]), ("features for the gate", [True, False])):

        def kill(what, done, total, step=step):
            if what.startswith(step):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            training.complete([model.keras], data, 0, kill)
        assert [path.is_file() for path in (model.onnx, model.gate)] == kept
        assert not Card.read(model.card).gate
    training.complete([model.keras], data, 0)
    assert Predictor.load(model.keras).card.gate["refused"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    training.complete([model.keras], data, 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
