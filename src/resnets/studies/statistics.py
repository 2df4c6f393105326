"""Means, standard deviations, t intervals and differences of few seeds. No library but Python's own.

Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3-4: the t distribution with a whole number of degrees of freedom in
closed form.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds the true one with the stated confidence; unbounded where one value shows no spread."""

    mean: float
    low: float
    high: float
    num: int
    """Values (or pairs) that it rests on."""
    paired: bool = True


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample (n - 1); None of a single value."""
    return statistics.stdev(values) if len(values) > 1 else None


def within(t: float, freedom: int) -> float:
    """Probability that a t variable of `freedom` degrees is between -t and t."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    if freedom % 2:
        term, total = cosine, 0.0
        for k in range(1, (freedom - 1) // 2 + 1):
            total += term
            term *= cosine * cosine * 2 * k / (2 * k + 1)
        return (angle + sine * total) * 2 / math.pi
    term, total = 1.0, 0.0
    for k in range(1, freedom // 2 + 1):
        total += term
        term *= cosine * cosine * (2 * k - 1) / (2 * k)
    return sine * total


def t_quantile(confidence: float, freedom: int) -> float:
    """The t between whose negative and itself a t variable is with probability `confidence` (two-sided)."""
    assert 0 < confidence < 1
    assert freedom >= 1
    low, high = 0.0, 1.0
    while within(high, freedom) < confidence:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if within(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mean_interval(values: Sequence[float], confidence: float = 0.95, *, exact: bool = False) -> Interval:
    """The mean of `values` with its t interval; of `exact` values, which have no randomness, an interval of no width."""
    mean, spread = statistics.fmean(values), deviation(values)
    if exact:
        return Interval(mean, mean, mean, len(values))
    if spread is None:
        return Interval(mean, -math.inf, math.inf, 1)
    half = t_quantile(confidence, len(values) - 1) * spread / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


def difference(a: Mapping[int, float], b: Mapping[int, float], confidence: float = 0.95, *, exact: bool = False) -> Interval:
    """a - b, both by seed: paired where at least two seeds are in both, else Welch's, its degrees of freedom rounded down."""
    common = sorted(a.keys() & b.keys())
    if len(common) > 1 or exact or (len(a) == 1 and len(b) == 1):
        return mean_interval([a[seed] - b[seed] for seed in common], confidence, exact=exact)
    mean = statistics.fmean(a.values()) - statistics.fmean(b.values())
    if len(a) < 2 or len(b) < 2:
        return Interval(mean, -math.inf, math.inf, len(common), paired=False)
    parts = [statistics.variance(values.values()) / len(values) for values in (a, b)]
    weight = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    freedom = max(1, math.floor(sum(parts) ** 2 / weight)) if weight else 1
    half = t_quantile(confidence, freedom) * math.sqrt(sum(parts))
    return Interval(mean, mean - half, mean + half, min(len(a), len(b)), paired=False)
