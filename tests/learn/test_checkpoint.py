"""Checkpoints: a restored training is in the same state."""

import numpy as np

from melascope.learn import checkpoint, network
from melascope.learn.backend import keras


def test_weights_and_optimiser_are_kept_exactly(tmp_path):
    def trainer(seed):
        keras.utils.set_random_seed(seed)
        made = network.truncated_at(network.build("MobileNetV2", 32, None, 0.2), "logits")
        optimizer = keras.optimizers.AdamW(1e-3, use_ema=True)
        made.compile(optimizer, "mse", jit_compile=False)
        optimizer.build(made.trainable_variables)
        return made

    trained, fresh = trainer(0), trainer(1)
    trained.train_on_batch(np.ones((4, 32, 32, 3), np.float32), np.ones((4, 2), np.float32))
    course = checkpoint.Course()
    course.add(0.5, {"epoch": 1, "loss": 0.7})
    checkpoint.save(tmp_path, course, trained)
    assert checkpoint.restore(tmp_path, fresh) == course
    for kept, read in (
        (trained.weights, fresh.weights),
        (trained.optimizer.variables, fresh.optimizer.variables),
    ):
        assert len(kept) == len(read)
        for one, other in zip(kept, read, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


def test_the_best_weights_are_kept(tmp_path):
    net = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    net.compile("sgd", "mse", jit_compile=False)
    course = checkpoint.Course()
    for weight, score in ((1.0, 0.5), (2.0, 0.7), (3.0, 0.7), (4.0, 0.6)):
        net.set_weights([np.float32([[weight]])])
        course.add(score, {})
        checkpoint.save(tmp_path, course, net)
    assert (course.epoch, course.best_epoch) == (4, 2)
    assert [course.stalled(patience) for patience in (1, 2, 3)] == [True, True, False]
    checkpoint.load_best(tmp_path, net)
    assert net.get_weights()[0].item() == 2
    checkpoint.restore(tmp_path, net)
    assert net.get_weights()[0].item() == 4
