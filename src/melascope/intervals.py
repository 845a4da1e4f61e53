"""Figures with intervals, by resampling groups: patients, lesions and duplicates are drawn as a whole.

Images of one lesion are not independent, so resampling images gives intervals that are too narrow (Field and
Welsh 2007, the cluster bootstrap). Percentile intervals, Efron and Tibshirani (1993).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from melascope.arrays import Float64

Statistics = Callable[[Float64], Mapping[str, Float64]]  # weights to values, both with a row a resample

RESAMPLES = 2000
LEVEL = 0.95
_MAX_WEIGHTS = 2**22  # weights at a time: 32 MiB, however many images there are
_MAX_UNDEFINED = 0.01  # of the resamples may lack a class before an interval would be over the lucky ones


class Interval(NamedTuple):
    """A 95 % interval, or None and None with the reason why there is none."""

    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Figure:
    r"""A measured value with its 95 % interval.

    >>> figure = Figure(0.9231, 0.9108, 0.9344, n=1982)
    >>> print(figure)
    0.923 (0.911 to 0.934)
    >>> f"{figure:.2f}", f"{figure:.1%}"
    ('0.92 (0.91 to 0.93)', '92.3\xa0% (91.1 to 93.4)')
    >>> print(Figure(1.0, reason="too few groups"), Figure(None, reason="no melanoma"), sep="; ")
    1.000 (no interval); not defined
    """

    value: float | None
    """None where it is not defined."""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    """Images that it is over."""
    n_positive: int | None = None
    """Positive images among them, where both classes count."""
    reason: str | None = None
    """Why the value or the interval is missing."""
    interval: str | None = None
    """The method of the interval, where it is not percentiles over resampled groups."""
    by_chance: float | None = None
    """The mean value of a perfect model on such images, for a figure that chance alone moves off its best value."""

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Self:
        """The figure that a document of `document`'s form holds; keys that are not fields are passed over."""
        held = document or {"value": None}
        return cls(**{field.name: held.get(field.name) for field in fields(cls)})

    def document(self) -> dict[str, Any]:
        """What JSON files hold: `value`, `low` and `high` always, the other fields where they are known."""
        always = {"value": self.value, "low": self.low, "high": self.high}
        return always | {k: v for k, v in vars(self).items() if v is not None and k not in always}

    def texts(self, spec: str = ".3f") -> tuple[str, str]:
        r"""Value and interval as text, by a float's format; where there is no value, the second is empty.

        >>> Figure(0.9231, 0.9108, 0.9344).texts(".1%")
        ('92.3\xa0%', '91.1 to 93.4')
        """
        if self.value is None:
            return "not defined", ""
        value = _formatted(self.value, spec)
        if self.low is None or self.high is None:
            return value, "no interval"
        low, high = (_formatted(end, spec).removesuffix("\u00a0%") for end in (self.low, self.high))
        return value, f"{low} to {high}"

    def __format__(self, spec: str) -> str:
        """Format value and interval by a float's format; a percent sign stands once, after the value."""
        value, interval = self.texts(spec or ".3f")
        return f"{value} ({interval})" if interval else value

    def __str__(self) -> str:
        return format(self, "")


def _formatted(value: float, spec: str) -> str:
    text = format(value, spec)
    text = text if text.strip("-0.%") else text.removeprefix("-")  # no zero is negative
    return text.replace("%", "\u00a0%")  # a space that ends no line


def weights(
    group: NDArray[np.intp], resamples: int = RESAMPLES, seed: int = 0, chunk: int = _MAX_WEIGHTS
) -> Iterator[Float64]:
    """Draw as many groups as there are, with replacement, in each resample.

    Args:
        group: number of the group of each image, 0 to number of groups - 1, shape (images,).
        resamples: how often.
        seed: the same seed gives the same draws, at any chunk.
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
) -> dict[str, Float64]:
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


def interval(values: Float64) -> Interval:
    """The percentile interval of a statistic's values over resamples, shape (resamples,).

    None where more than one resample in a hundred leaves it undefined, since an interval over the others
    would look better than it is, and where all agree, since that shows too little data, not certainty.

    Of the mean of six images in three groups:

    >>> images, group = np.array([0.0, 0.0, 0.4, 0.6, 1.0, 1.0]), np.array([0, 0, 1, 1, 2, 2])
    >>> means = draws(lambda drawn: {"mean": drawn @ images / drawn.sum(axis=1)}, group)
    >>> interval(means["mean"])
    Interval(low=0.0, high=1.0, reason=None)
    >>> interval(np.ones(2000)).reason
    'every resample gives the same value: too few groups for an interval'
    """
    defined = values[~np.isnan(values)]
    undefined = len(values) - len(defined)
    if undefined > _MAX_UNDEFINED * len(values):
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


def band(values: Float64) -> tuple[Float64, Float64]:
    """Pointwise percentile band of a curve's values over resamples, shape (resamples, points)."""
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
