"""Intervals by resampling groups: patients, lesions and duplicates are drawn as a whole.

Images of one lesion are not independent, so resampling images gives intervals that are too narrow (Field and
Welsh 2007, the cluster bootstrap). Percentile intervals, Efron and Tibshirani (1993).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistics = Callable[[Floats], Mapping[str, Floats]]  # weights to values, both with a row a resample

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 2**22  # weights at a time: 32 MiB, however many images there are
_UNDEFINED = 0.01  # of the resamples may lack a class before an interval would be over the lucky ones


class Interval(NamedTuple):
    """A 95 % interval, or None and None with the reason why there is none."""

    low: float | None
    high: float | None
    reason: str | None = None


def weights(
    group: NDArray[np.intp], resamples: int = RESAMPLES, seed: int = 0, chunk: int = _CHUNK
) -> Iterator[Floats]:
    """Draw as many groups as there are, with replacement, again and again.

    Args:
        group: number of the group of each image, 0 to number of groups - 1, shape (images,).
        resamples: how often.
        seed: same seed, same draws, whatever the chunk.
        chunk: most weights to hold at a time.

    Yields:
        How often each image is drawn, shape (some resamples, images).
    """
    rng = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    rows = max(1, chunk // len(group))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups)
        yield counts[:, group].astype(np.float64)


def draws(
    statistics: Statistics,
    group: NDArray[np.intp],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Measure every resample.

    Args:
        statistics: what to measure.
        group: as in `weights`.
        resamples: how often.
        seed: of the draws.

    Returns:
        The named values of all resamples.
    """
    parts = [statistics(chunk) for chunk in weights(group, resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(values: Floats) -> Interval:
    """The percentile interval of a statistic's values over resamples, shape (resamples,).

    None where more than one resample in a hundred leaves it undefined, since an interval over the others
    would look better than it is, and where all agree, since that shows too little data, not certainty.

    Of the mean of six images in three groups:

    >>> images, group = np.array([0.0, 0.0, 0.4, 0.6, 1.0, 1.0]), np.array([0, 0, 1, 1, 2, 2])
    >>> found = draws(lambda drawn: {"mean": drawn @ images / drawn.sum(axis=1)}, group)
    >>> interval(found["mean"])
    Interval(low=0.0, high=1.0, reason=None)
    >>> interval(np.ones(2000)).reason
    'every resample gives the same value: too few groups for an interval'
    """
    defined = values[~np.isnan(values)]
    undefined = len(values) - len(defined)
    if undefined > _UNDEFINED * len(values):
        return Interval(None, None, f"not defined in {undefined:,} of {len(values):,} resamples")
    low, high = (float(q) for q in np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    if np.ptp(defined) < 1e-12:
        return Interval(None, None, "every resample gives the same value: too few groups for an interval")
    return Interval(low, high)


def exact(value: float, groups: int) -> Interval:
    """Clopper and Pearson's interval (1934) of a share of exactly 0 or 1, over so many independent groups.

    Of 30 lesions that were all caught, another 30 may still miss some:

    >>> low, high, _ = exact(1, 30)
    >>> round(low, 3), high
    (0.884, 1.0)
    """
    far = ((1 - LEVEL) / 2) ** (1 / groups)
    return Interval(far, 1.0) if value == 1 else Interval(0.0, 1 - far)


def band(values: Floats) -> tuple[Floats, Floats]:
    """Pointwise percentile band of a curve's values over resamples, shape (resamples, points)."""
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
