"""Training: what it learns, what it writes, and that a killed run ends as an unbroken one would."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from helpers.datasets import make_data
from melascope import manifest
from melascope.errors import DataError, ModelError
from melascope.learn import artefacts, backbones, checkpoint, head, loss, network, training
from melascope.learn.augment import augment
from melascope.learn.backend import keras
from melascope.learn.batches import TrainBatches
from melascope.learn.settings import Artefacts, Settings
from melascope.model.card import Card

SMALL = Settings(backbone="MobileNetV2", weights=None, size=32, epochs=2, batch=8)


def probabilities(path: Path, images: np.ndarray) -> np.ndarray:
    return keras.saving.load_model(path, compile=False).predict(images, verbose=0)


def test_a_trained_model_tells_red_from_grey_and_loads_the_same_in_a_fresh_process(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    training.train(data, run, SMALL)
    card = Card.read(run / "model.json")
    assert card.input_size == 32
    assert set(card.threshold) == {"malignant", "melanoma"}
    assert card.data["hash"] == manifest.content_hash(manifest.read(data))
    with (run / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    images = np.random.default_rng(1).integers(0, 255, (4, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys, numpy as np, keras\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, run / "model.keras", tmp_path / "images.npy", tmp_path / "out.npy"],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), probabilities(run / "model.keras", images), atol=1e-6
    )


def test_finished_run_is_left_alone_and_other_settings_are_refused(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    settings = Settings(**{**vars(SMALL), "epochs": 1})
    training.train(data, run, settings)
    before = (run / "model.keras").stat().st_mtime_ns
    training.train(data, run, settings)
    assert (run / "model.keras").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="other settings"):
        training.train(data, run, SMALL)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
def test_a_broken_off_run_goes_on_where_it_was(tmp_path):
    """Equal up to rounding: Adam's first steps magnify the last bit, so later losses are compared, not weights."""
    data = make_data(tmp_path / "data")
    settings = Settings(**{**vars(SMALL), "epochs": 3, "patience": 9, "rate": 2e-4})

    def die(what: str, done: int, total: int) -> None:
        if what.startswith("training") and done == 5:
            raise Killed

    with pytest.raises(Killed):
        training.train(data, tmp_path / "killed", settings, die)
    assert not (tmp_path / "killed" / "model.json").is_file()
    histories = {}
    for name in ("whole", "killed"):
        training.train(data, tmp_path / name, settings)
        assert not (tmp_path / name / ".checkpoint").exists()
        histories[name] = pd.read_csv(tmp_path / name / "history.csv")
    assert histories["killed"]["epoch"].tolist() == [1, 2, 3]
    assert histories["killed"]["loss"][0] == histories["whole"]["loss"][0]
    np.testing.assert_allclose(histories["killed"]["loss"], histories["whole"]["loss"], rtol=0.03)


def test_a_checkpoint_keeps_weights_and_optimiser_exactly(tmp_path):
    def trainer(seed):
        keras.utils.set_random_seed(seed)
        made = network.truncated_at(network.build("MobileNetV2", 32, None, 0.2), "logits")
        optimizer = keras.optimizers.AdamW(1e-3, use_ema=True)
        made.compile(optimizer, "mse", jit_compile=False)
        optimizer.build(made.trainable_variables)
        return made

    trained, fresh = trainer(0), trainer(1)
    trained.train_on_batch(np.ones((4, 32, 32, 3), np.float32), np.ones((4, 2), np.float32))
    checkpoint.save(
        tmp_path, checkpoint.Course(epoch=1, best_epoch=1, best_score=0.5), trained, improved=True
    )
    assert checkpoint.restore(tmp_path, fresh) == checkpoint.Course(epoch=1, best_epoch=1, best_score=0.5)
    for kept, read in (
        (trained.weights, fresh.weights),
        (trained.optimizer.variables, fresh.optimizer.variables),
    ):
        assert len(kept) == len(read)
        for one, other in zip(kept, read, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


def test_averaged_weights_are_the_running_mean_of_the_steps_and_leave_as_they_came():
    keras.utils.set_random_seed(0)
    trainer = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    trainer.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse", jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)
    weight, mean = trainer.get_weights()[0].item(), None
    for _ in range(4):
        trainer.train_on_batch(np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32))
        weight -= 0.1 * 2 * weight  # the gradient of the square
        mean = weight if mean is None else 0.5 * mean + 0.5 * weight
    with checkpoint.averaged(trainer):
        assert trainer.get_weights()[0].item() == pytest.approx(mean, rel=1e-5)
    assert trainer.get_weights()[0].item() == pytest.approx(weight, rel=1e-5)


@pytest.mark.slow
def test_only_the_upper_layers_are_fine_tuned_where_that_is_asked_for(tmp_path):
    data = make_data(tmp_path / "data")
    settings = Settings(**{**vars(SMALL), "epochs": 1, "unfrozen": 0.5})
    training.train(data, tmp_path / "run", settings)
    keras.utils.set_random_seed(settings.seed)
    start = network.build("MobileNetV2", 32, None, settings.dropout)
    trained = network.load(tmp_path / "run" / "model.keras")
    changed = [
        any(
            (a != b).any()
            for a, b in zip(start.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True)
        )
        for layer in network.backbone_layers(trained)
    ]
    half = round(0.5 * len(changed))
    assert not any(changed[:half])
    assert sum(changed[half:]) > 20


@pytest.mark.slow
def test_a_killed_process_leaves_no_half_model_and_goes_on(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom melascope.learn import training\n"
        "settings = training.Settings('MobileNetV2', None, 32, epochs=20, patience=20)\n"
        "training.train(Path(sys.argv[1]), Path(sys.argv[2]), settings)\n"
    )
    command = [sys.executable, str(script), str(data), str(run)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 100
    while not (run / "history.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "model.json").is_file()
    subprocess.run(command, check=True)
    assert len((run / "history.csv").read_text().splitlines()) == 21
    assert Card.read(run / "model.json").training["epochs_run"] == 20


def test_a_target_that_is_not_known_is_not_learned_and_not_claimed(tmp_path):
    data, run = make_data(tmp_path / "data", unknown_melanoma=True), tmp_path / "run"
    training.train(data, run, Settings(**{**vars(SMALL), "epochs": 1}))
    document = json.loads((run / "model.json").read_text())
    assert list(document["operating_points"]) == list(document["outputs"]) == ["malignant"]


def test_one_class_only_is_a_clear_error(tmp_path):
    data = make_data(tmp_path / "data")
    table = manifest.read(data)
    manifest.write(table.assign(malignant=False, melanoma=False).astype({"malignant": "boolean"}), data)
    with pytest.raises(DataError, match="malignant and benign"):
        training.train(data, tmp_path / "run", SMALL)


def test_from_given_weights_the_base_is_logistic_regression_on_frozen_features(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    keras.utils.set_random_seed(3)
    weights = tmp_path / "backbone.weights.h5"
    inputs = keras.Input((32, 32, 3))
    backbones.make("MobileNetV2", inputs).save_weights(weights)
    training.train(data, run, Settings(**{**vars(SMALL), "weights": str(weights), "epochs": 0}))
    assert not (run / "model.keras").exists()
    base = keras.saving.load_model(run / "base.keras", compile=False)
    pixels = np.random.default_rng(1).integers(0, 255, (5, 32, 32, 3)).astype(np.float32)
    features = network.truncated_at(base, "pool").predict(pixels, verbose=0)
    kernel, bias = base.get_layer("logits").get_weights()
    np.testing.assert_allclose(base.predict(pixels, verbose=0), expit(features @ kernel + bias), atol=1e-5)


def test_head_folds_the_scaling_of_features_into_its_weights():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 5)) * [1, 10, 0.1, 3, 2] + [5, -3, 0, 1, 2]).astype(np.float32)
    y = (x[:, 1] / 10 + rng.normal(size=400) > 0).astype(np.float32)[:, None]
    y[::7] = np.nan
    kernel, bias = head.fit(x, y, x, y, np.array([True]))
    known = ~np.isnan(y[:, 0])
    z = (x - x[known].mean(0)) / x[known].std(0)
    expected = LogisticRegression(C=1.0).fit(z[known], y[known, 0]).decision_function(z)
    assert np.corrcoef(expected, (x @ kernel + bias)[:, 0])[0, 1] > 0.98


def test_missing_labels_cost_nothing_and_weights_do_not_move_the_prevalence():
    targets = np.array([[1, 0], [0, np.nan], [0, 0], [0, 1]], dtype=np.float32)
    weights = loss.target_weights(targets, np.full(4, -1))
    np.testing.assert_allclose(weights[:, 0], [4 / 2, 4 / 6, 4 / 6, 4 / 6])
    no_family = np.zeros((4, 1), dtype=np.float32)
    cost = loss.BalancedCrossEntropy(targets, weights)
    goals = loss.loss_targets(targets, weights, no_family)
    logits = np.zeros((4, 3), dtype=np.float32)
    wild = logits.copy()
    wild[1, 1] = 50
    assert float(cost(goals, logits)) == pytest.approx(float(cost(goals, wild)))
    # The constant logit that costs least is the log-odds of the data, here of one in four.
    grid = np.linspace(-3, 3, 601, dtype=np.float32)
    costs = [float(cost(goals, np.tile(np.float32([z, 0, 0]), (4, 1)))) for z in grid]
    assert expit(grid[int(np.argmin(costs))]) == pytest.approx(0.25, abs=0.01)


def test_a_rare_diagnosis_weighs_more_within_its_class():
    """100 nevi, 400 keratoses: the few nevi get 28 % of what "not melanoma" weighs, not a fifth."""
    families = np.repeat([3, 4, 0], [100, 400, 100])
    truth = np.repeat(np.float32([0, 0, 1]), [100, 400, 100])[:, None].repeat(2, axis=1)
    weights = loss.target_weights(truth, families)[:, 1]
    assert weights[truth[:, 1] == 0].sum() == pytest.approx(weights[truth[:, 1] == 1].sum())
    assert weights[0] / weights[100] == pytest.approx(4 ** (1 / 3))  # the cube root of 400 / 100
    assert weights[:100].sum() / weights[:500].sum() == pytest.approx(1 / (1 + 4 ** (2 / 3)))
    one_hot = loss.family_weights(np.append(families, -1), 9)
    assert (one_hot[-1] == 0).all()
    assert one_hot[:-1].sum() == pytest.approx(600)
    assert one_hot[0, 3] / one_hot[100, 4] == pytest.approx(2)  # of the diagnosis itself, the square root


def test_the_diagnosis_is_learned_beside_the_targets():
    """Cross-entropy by hand: one benign image without weights but for its family."""
    cost = loss.BalancedCrossEntropy(np.float32([[0, 0], [1, 1]]), np.ones((2, 2), np.float32))
    goals = loss.loss_targets(np.float32([[0, 0]]), np.zeros((1, 2), np.float32), np.float32([[0, 2, 0]]))
    logits = np.float32([[9, -9, 1, 2, 3]])
    expected = -2 * loss.FAMILY_SHARE * (2 - np.log(np.exp([1, 2, 3]).sum()))
    assert float(cost(goals, logits)) == pytest.approx(expected, rel=1e-5)


def test_augmentation_is_decided_by_the_seed_and_leaves_no_black_corner_but_a_lens_s(monkeypatch):
    pixels = np.full((64, 64, 3), 180, dtype=np.uint8)
    pixels[20:40, 25:35] = (140, 110, 100)
    for seed in range(200):
        once = augment(pixels, np.random.default_rng(seed))
        again = augment(pixels, np.random.default_rng(seed))
        assert (once == again).all()
        assert once.shape == pixels.shape
    monkeypatch.setattr(artefacts, "_CHANCE", 0)
    for seed in range(200):  # nothing but skin and lesion comes in from the edges
        assert augment(pixels, np.random.default_rng(seed)).min() > 30


def test_each_artefact_lies_on_a_tenth_of_the_images():
    """On flat skin: lines and bubbles differ from place to place, the rim of a lens is dark in all four corners."""
    skin = np.full((64, 64, 3), 180, dtype=np.uint8)
    on_skin = [artefacts.on_skin(skin, np.random.default_rng(seed)) for seed in range(400)]
    in_camera = [artefacts.in_camera(skin, np.random.default_rng(seed)) for seed in range(400)]
    # four kinds on the skin: 1 - 0.9 ** 4 = 0.34 of the images have at least one
    assert np.mean([(image != skin).any() for image in on_skin]) == pytest.approx(0.34, abs=0.07)
    corners = [image[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 90 for image in in_camera]
    assert np.mean(corners) == pytest.approx(0.1, abs=0.05)
    assert all((artefacts.in_camera(skin, np.random.default_rng(s), 0.0) == skin).all() for s in range(20))
    assert all((artefacts.on_skin(skin, np.random.default_rng(s), 10.0) != skin).any() for s in range(20))


def test_strength_scales_every_change_but_turns_and_flips():
    """At no strength only rotation by a right angle and flips are left: the image's histogram hardly changes."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)

    def change(strength):
        changed = [augment(pixels, np.random.default_rng(seed), strength).astype(float) for seed in range(50)]
        return np.mean(
            [np.abs(np.sort(c.ravel()) - np.sort(pixels.ravel().astype(float))).mean() for c in changed]
        )

    assert change(0.0) < change(1.0) < change(2.0)
    colours = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))
    grey = augment(colours, np.random.default_rng(0), 0.0)
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1  # no colour cast without strength


def test_an_epoch_sees_every_image_once_and_the_next_one_in_another_order():
    pixels = np.zeros((16, 8, 8, 3), dtype=np.uint8)
    targets = np.arange(16, dtype=np.float32)[:, None]
    rows = np.arange(16)
    epochs = [TrainBatches(pixels, rows, targets, batch=4, seed=0, epoch=e) for e in (1, 2, 1)]
    seen = [np.concatenate([epoch[i][1][:, 0] for i in range(len(epoch))]) for epoch in epochs]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(16))
    assert list(seen[0]) != list(seen[1])
    assert list(seen[0]) == list(seen[2])


def test_members_differ():
    asked = Settings(members=4, seed=7)
    members = [asked.member(number) for number in range(asked.members)]
    assert [member.seed for member in members] == [7, 8, 9, 10]
    assert [member.artefacts for member in members] == ["none", "drawn", "none", "drawn"]
    assert {member.members for member in members} == {1}
    plain = Settings(members=2, artefacts=Artefacts.none)
    assert [plain.member(number).artefacts for number in range(2)] == ["none", "none"]


@pytest.mark.slow
def test_the_mean_of_two_members_is_that_of_their_weights(tmp_path):
    data = make_data(tmp_path / "data")
    with pytest.raises(ModelError, match="pretrained"):
        training.train(data, tmp_path / "no", Settings(**{**vars(SMALL), "members": 2}))
    weights = tmp_path / "some.weights.h5"
    backbones.make("MobileNetV2", keras.Input((32, 32, 3))).save_weights(weights)
    asked = Settings(**{**vars(SMALL), "epochs": 1, "weights": str(weights), "rate": 1e-3, "members": 2})
    made = training.train(data, tmp_path / "run", asked)
    assert made == [tmp_path / "run" / "base.keras", tmp_path / "run" / "model.keras"]
    parts = [
        network.load(tmp_path / "run" / f"member-{number}" / "model.keras").get_weights() for number in (0, 1)
    ]
    assert any((one != other).any() for one, other in zip(*parts, strict=True))
    for kept, one, other in zip(network.load(made[1]).get_weights(), *parts, strict=True):
        np.testing.assert_allclose(kept, (one + other) / 2, rtol=1e-6, atol=1e-7)
    card = Card.read(tmp_path / "run" / "model.json")
    assert card.training["settings"]["members"] == 2
    assert card.training["member-0"]["epochs_run"] == card.training["member-1"]["epochs_run"] == 1
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert training.train(data, tmp_path / "run", asked) == made  # finished: nothing is done again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


@pytest.mark.parametrize("backbone", ["EfficientNetB0", "EfficientNetV2B0", "MobileNetV2"])
def test_pixels_go_in_as_0_to_255_and_scaling_is_inside(backbone):
    """Trap B15: a network that wants 0..255 and is fed 0..1 says the same of every image, silently."""
    keras.utils.set_random_seed(0)
    net = network.build(backbone, 32, None, 0.0)
    assert all(not isinstance(layer, keras.Model) for layer in net.layers)  # one flat graph
    scaled = [layer for layer in net.layers if isinstance(layer, keras.layers.Rescaling)]
    assert scaled
    # What leaves the network's own scaling is within what such weights were trained on.
    last = keras.Model(net.input, scaled[-1].output)
    white = np.asarray(last(np.full((1, 32, 32, 3), 255, dtype=np.float32)))
    assert 0.9 < abs(white).max() < 3


def test_unknown_backbones_and_weights_that_do_not_fit_are_one_line(tmp_path):
    for name in ("EfficientNetB99", "Model", "VGG16", "os"):
        with pytest.raises(ModelError, match="choose from"):
            network.build(name, 64, None, 0.0)
    with pytest.raises(ModelError, match="no such weights file"):
        network.build("MobileNetV2", 64, str(tmp_path / "none.h5"), 0.0)
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(b"not weights")
    with pytest.raises(ModelError, match="do not fit"):
        network.build("MobileNetV2", 64, str(broken), 0.0)


def test_given_imagenet_weights_see_a_picture_alike_through_either_door(shared_data):
    """Our graph with the weights in ../shared equals keras.applications' own."""
    weights = shared_data.parent / "weights" / "mobilenetv2_imagenet_notop_folded.weights.h5"
    own = network.truncated_at(network.build("MobileNetV2", 96, str(weights), 0.2), "pool")
    plain = keras.applications.MobileNetV2(
        include_top=False, weights=None, pooling="avg", input_shape=(96, 96, 3)
    )
    plain.load_weights(weights)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3)).astype(np.float32)
    expected = plain.predict(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()), verbose=0)
    np.testing.assert_allclose(own.predict(pixels, verbose=0), expected, atol=1e-4)
