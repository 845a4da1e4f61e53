"""Making models, from Python."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from melascope.api.data import Dataset
from melascope.api.model import Model
from melascope.api.paths import StrPath, paths
from melascope.errors import DataError
from melascope.prepare.tree import images_of
from melascope.progress import Progress, silent


def train(
    data: Dataset | StrPath,
    out: StrPath,
    *,
    refuse: StrPath | Iterable[StrPath] = (),
    progress: Progress = silent,
    **settings: Any,
) -> Model:
    """Train a model: first a linear head on the frozen backbone, then everything at a low rate.

    Args:
        data: a data set.
        out: the run folder. The same call resumes a training that was interrupted.
        refuse: folders and ZIPs of further images that the model must refuse.
        progress: called with (what, done, total).
        **settings: fields of `melascope.learn.settings.Settings`, such as `backbone`, `size`, `epochs` and `seed`.

    Returns:
        The fine-tuned model. Where its backbone was pretrained, OUT/base is the frozen baseline.

    Raises:
        DataError: for a setting that is not one, data that cannot be learned from, or a folder of another training.
        ModelError: if backbone, size and weights do not fit together, or the training diverges.
    """
    from melascope.learn import training
    from melascope.learn.settings import Settings

    asked = Settings.of(**settings)
    return Model(training.train(Path(data), Path(out), asked, progress, refuse=_kinds(refuse))[-1])


def tune(
    data: Dataset | StrPath,
    out: StrPath,
    *,
    trials: int = 20,
    search: str | Sequence[str] = "all",
    sampler: str = "random",
    ray: str | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Model:
    """Search for settings at random, stop poor trials early, and keep the best model.

    Args:
        data: a data set.
        out: the search folder. The same call resumes a search, and in another process it shares the work.
        trials: in all; a higher number extends a search.
        search: names of the settings to search, see `melascope.learn.search.SPACE`, or `all`.
        sampler: `random`, or `tpe`, which learns from earlier trials (Bergstra et al. 2011).
        ray: address of a Ray cluster to spread the trials over.
        progress: called with (what, done, total).
        **settings: of every trial, as in `train`; `epochs` is the maximum.

    Raises:
        DataError: as in `train`; or if no trial is complete yet.
        ModelError: if backbone, size and weights do not fit together.
    """
    from melascope.learn import search as searches
    from melascope.learn.settings import Settings
    from melascope.report import search as page

    asked = Settings.of(**{"epochs": searches.EPOCHS, **settings})
    names = [search] if isinstance(search, str) else search
    chosen = searches.searchable(asked) if list(names) == ["all"] else tuple(names)
    whole = searches.Search(asked, chosen, trials, sampler)
    result = searches.search(Path(data), Path(out), whole, progress, ray)
    page.write(result, whole, Path(out))
    if not result.models:
        raise DataError(f"{Path(out)}: no trial is complete yet")
    return Model(result.models[-1])


def calibrate(
    model: Model | StrPath,
    data: Dataset | StrPath,
    out: StrPath,
    *,
    refuse: StrPath | Iterable[StrPath] = (),
    progress: Progress = silent,
) -> Model:
    """Fit calibration, operating points and gate of a model to other data; its network stays the same.

    Args:
        model: with its `.keras` file.
        data: a data set; calibration rests on its validation split, the gate on its training split.
        out: the run folder to write.
        refuse: folders and ZIPs of further images that the model must refuse.
        progress: called with (what, done, total).

    Raises:
        DataError: if the validation split holds no malignant or no benign image.
        ModelError: if the model cannot be used.
    """
    from melascope.learn.recalibrate import recalibrate

    return Model(recalibrate(os.fspath(model), Path(data), Path(out), progress, refuse=_kinds(refuse)))


def hold_out(
    data: Dataset | StrPath, out: StrPath, *, progress: Progress = silent, **settings: Any
) -> dict[str, Any]:
    """Train on all sources but one and test on that one, for each source in turn.

    Args:
        data: a data set with at least two sources.
        out: folder for all runs; what is finished in it is kept.
        progress: called with (what, done, total).
        **settings: of every training, as in `train`.

    Returns:
        What `hold-out.json` holds, see `melascope.evaluate.hold_out`.

    Raises:
        DataError: if there is one source only, or one cannot be learned from without another.
    """
    from melascope.evaluate import hold_out
    from melascope.learn.settings import Settings

    return hold_out.run(Path(data), Path(out), Settings.of(**settings), progress)


def _kinds(refuse: StrPath | Iterable[StrPath]) -> dict[str, list[str]]:
    """Images to refuse, by kind: each folder or ZIP is a kind of its own."""
    return {Path(path).stem: images_of([path]) for path in paths(refuse)}
