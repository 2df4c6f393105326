"""Few seeds, honestly: against printed tables of Student's t and arithmetic by hand."""

import math

import pytest

from resnets.studies.statistics import deviation, difference, mean_interval, t_quantile, within


@pytest.mark.parametrize(
    ("confidence", "freedom", "printed"),
    [
        (0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 3, 3.182), (0.95, 4, 2.776), (0.95, 9, 2.262), (0.95, 30, 2.042),
        (0.99, 2, 9.925), (0.90, 5, 2.015), (0.95, 1000, 1.962),
    ],
)  # fmt: skip
def test_quantiles_are_those_of_the_tables(confidence: float, freedom: int, printed: float) -> None:
    assert t_quantile(confidence, freedom) == pytest.approx(printed, abs=5e-4)


def test_one_degree_of_freedom_is_cauchy() -> None:
    assert within(1.0, 1) == pytest.approx(0.5)


def test_two_degrees_of_freedom_by_formula() -> None:
    assert within(1.5, 2) == pytest.approx(1.5 / math.sqrt(2 + 1.5**2))


def test_interval_of_three_values() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])
    half = 4.302653 * 1.0 / math.sqrt(3)
    assert (interval.mean, interval.num) == (2.0, 3)
    assert (interval.low, interval.high) == (pytest.approx(2 - half, abs=1e-4), pytest.approx(2 + half, abs=1e-4))


def test_one_value_bounds_nothing_unless_it_is_exact() -> None:
    assert mean_interval([3.0]).high == math.inf
    assert mean_interval([3.0], exact=True).low == mean_interval([3.0], exact=True).high == 3.0
    assert deviation([3.0]) is None


def test_pairing_takes_the_seeds_common_part_away() -> None:
    a, b = {0: 0.30, 1: 0.50, 2: 0.40}, {0: 0.20, 1: 0.41, 2: 0.29}
    interval = difference(a, b)
    assert interval.paired
    assert interval.mean == pytest.approx(0.1)
    half = 4.302653 * 0.01 / math.sqrt(3)  # the differences are 0.10, 0.09, 0.11
    assert interval.high - interval.mean == pytest.approx(half, abs=1e-6)


def test_only_common_seeds_are_paired() -> None:
    interval = difference({0: 1.0, 1: 2.0, 7: 100.0}, {0: 0.0, 1: 1.5})
    assert interval.mean == pytest.approx(0.75)
    assert interval.num == 2


def test_without_pairs_welch() -> None:
    interval = difference({0: 1.0, 1: 2.0, 2: 3.0}, {3: 2.0, 4: 4.0, 5: 6.0, 6: 8.0})
    # variances 1/3 and (20/3)/4; degrees of freedom 2^2 / ((1/3)^2/2 + (5/3)^2/3) = 4.08, rounded down to 4
    assert not interval.paired
    assert interval.mean == pytest.approx(-3.0)
    assert interval.high - interval.mean == pytest.approx(2.776445 * math.sqrt(2), abs=1e-4)
