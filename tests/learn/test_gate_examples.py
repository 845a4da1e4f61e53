"""What a gate is trained on: drawn kinds, and what a data set has to refuse."""

import numpy as np

from helpers.datasets import make_data
from melascope import manifest
from melascope.learn import gate_examples
from melascope.synthetic.clutter import KINDS, clutter


def test_the_seed_alone_decides_what_is_drawn():
    for kind in KINDS:
        pictures = [clutter(kind, seed, 96) for seed in (1, 2)]
        assert (clutter(kind, 1, 96) == pictures[0]).all()
        assert (pictures[0] != pictures[1]).any()
        assert pictures[0].shape == (96, 96, 3)
    assert len({clutter(kind, 3, 64).tobytes() for kind in KINDS}) == len(KINDS)


def test_data_with_nothing_to_refuse(tmp_path):
    data = make_data(tmp_path / "data", 24)
    kinds = gate_examples.images_to_refuse(manifest.read(data), {}, 32, np.random.default_rng(0), drawn=3)
    assert {pixels.shape for pixels in kinds.values()} == {(3, 32, 32, 3)}
    assert {kind for kind, _ in kinds} == {*KINDS, "photographs"}
