"""Predictions for more images than one machine can take, on every machine of a Ray cluster."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from melascope import cluster
from melascope.infer.answer import Answer
from melascope.infer.predictor import Predictor
from melascope.progress import Progress, silent

_BATCH = 256  # images that a worker takes at once


def predict(
    predictor: Predictor, locators: Sequence[str], address: str, progress: Progress = silent
) -> Iterator[Answer]:
    """Answer as `Predictor.predict` does, in the same order, with Ray Data.

    The model travels to the workers. Every machine must find the images under the same path.

    Args:
        predictor: the model.
        locators: names of images.
        address: of the cluster, see `melascope.cluster.connected`.
        progress: called with (what, done, total).

    Raises:
        MelascopeError: if no cluster answers there.
    """
    with cluster.connected(address) as ray:
        from ray import data

        context = data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False  # they would run into ours, and so would its log
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # JSON carries names that are not UTF-8.
        images = [{"image": json.dumps(str(Path(locator).absolute()))} for locator in locators]
        answers = data.from_items(images, override_num_blocks=-(-len(images) // _BATCH)).map_batches(
            _Worker,
            fn_constructor_args=(predictor,),
            batch_size=_BATCH,
            num_cpus=1,
            compute=data.ActorPoolStrategy(min_size=1, max_size=max(1, cluster.count(ray, "CPU"))),
        )
        for done, (locator, row) in enumerate(zip(locators, answers.iter_rows(), strict=True), start=1):
            yield replace(Answer(**json.loads(row["answer"])), path=locator)
            progress("predicting", done, len(locators))


class _Worker:
    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        names = [json.loads(name) for name in batch["image"]]
        return {"answer": [answer.json() for answer in self._predictor.predict(names, cores=1)]}
