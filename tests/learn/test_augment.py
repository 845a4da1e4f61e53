"""Augmentation and artefacts: decided by the seed, scaled by the strength, free of new shortcuts."""

import numpy as np
import pytest

from melascope.learn import artefacts
from melascope.learn.augment import augment


def test_the_seed_decides_and_no_corner_is_black():
    pixels = np.full((64, 64, 3), 180, dtype=np.uint8)
    pixels[20:40, 25:35] = (140, 110, 100)
    for seed in range(200):
        once = augment(pixels, np.random.default_rng(seed))
        again = augment(pixels, np.random.default_rng(seed))
        assert (once == again).all()
        assert once.shape == pixels.shape
    for seed in range(200):  # nothing but skin and lesion comes in from the edges
        assert augment(pixels, np.random.default_rng(seed), artefacts=False).min() > 30


def test_each_artefact_lies_on_a_tenth():
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


def test_strength_scales_all_but_turns_and_flips():
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
