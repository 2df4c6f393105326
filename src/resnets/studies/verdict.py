"""From measurements to an answer: which comparisons hold beyond the seeds' spread, and whether the claim does.

A comparison holds where its 95 % interval is wholly on the claimed side. The claim holds where all of its key comparisons do: to
claim that all of several things are so, each needs its own test and no correction. It fails where at least one key comparison is
contradicted by an interval that is widened for how many there are (Bonferroni: 1 - 0.05 / m). Else it is not resolved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .experiment import Comparison, Study
from .statistics import Interval, difference, mean_interval

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Metric -> arm -> seed -> value."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison."""

    comparison: Comparison
    statement: str
    arm: str
    other: str | None
    measured: Interval
    holds: bool | None
    """None: not resolved."""


@dataclass(frozen=True)
class Verdict:
    """What came of a study."""

    holds: bool | None
    outcomes: tuple[Outcome, ...]

    @property
    def key(self) -> tuple[Outcome, ...]:
        """Those that the claim depends on."""
        return tuple(outcome for outcome in self.outcomes if outcome.comparison.key)


def judge(study: Study, values: Values, present: tuple[str, ...]) -> Verdict:
    """Judges a study by what was measured of the arms `present`; comparisons of arms that were left out fall away."""
    outcomes, contradicted = [], False
    chosen = [found for comparison in study.comparisons if (found := _arms(study, comparison, values, present)) is not None]
    num_key = max(1, sum(comparison.key for comparison, _, _ in chosen))
    for comparison, arm, other in chosen:
        measured = _measure(comparison, values[comparison.metric], arm, other, CONFIDENCE, exact=study.exact)
        holds = _holds(comparison, measured)
        if holds is False and comparison.key:
            wide = _measure(comparison, values[comparison.metric], arm, other, 1 - (1 - CONFIDENCE) / num_key, exact=study.exact)
            contradicted = contradicted or _holds(comparison, wide) is False
        statement = comparison.statement.format(arm=arm, other=other)
        outcomes.append(Outcome(comparison, statement, arm, other, measured, holds))
    key = [outcome.holds for outcome in outcomes if outcome.comparison.key]
    verdict = False if contradicted else True if key and all(key) else None
    return Verdict(verdict, tuple(outcomes))


def _arms(
    study: Study, comparison: Comparison, values: Values, present: tuple[str, ...]
) -> tuple[Comparison, str, str | None] | None:
    arm = study.select(comparison.arm, present)
    other = None if comparison.other is None else study.select(comparison.other, present)
    measured = values.get(comparison.metric, {})
    if arm is None or not measured.get(arm) or arm == other:
        return None
    if comparison.other is not None and (other is None or not measured.get(other)):
        return None
    return comparison, arm, other


def _measure(
    comparison: Comparison,
    values: Mapping[str, Mapping[int, float]],
    arm: str,
    other: str | None,
    confidence: float,
    *,
    exact: bool,
) -> Interval:
    if other is None:
        return mean_interval(list(values[arm].values()), confidence, exact=exact)
    if comparison.form == "difference":
        return difference(values[arm], values[other], confidence, exact=exact)
    ratios = [value / values[other][seed] for seed, value in values[arm].items() if values[other].get(seed)]
    return mean_interval(ratios, confidence, exact=exact) if ratios else Interval(math.nan, -math.inf, math.inf, 0)


def _holds(comparison: Comparison, measured: Interval) -> bool | None:
    low, high, bound = measured.low, measured.high, comparison.bound
    if comparison.relation == "equal":
        inside = bound - comparison.tolerance <= low and high <= bound + comparison.tolerance
        outside = high < bound - comparison.tolerance or low > bound + comparison.tolerance
        return True if inside else False if outside else None
    above, below = low > bound, high < bound
    if comparison.relation == "below":
        above, below = below, above
    return True if above else False if below else None
