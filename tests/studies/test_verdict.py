"""A verdict follows from the numbers alone: held, contradicted, or not resolved."""

from typing import Any

import pytest
from invented import tiny_study

from resnets.studies.experiment import Comparison
from resnets.studies.verdict import judge

PRESENT = ("plain", "residual")
Values = dict[str, dict[str, dict[int, float]]]


def measured(plain: list[float], residual: list[float]) -> Values:
    return {"train_error": {"plain": dict(enumerate(plain)), "residual": dict(enumerate(residual))}}


def test_beyond_the_spread_it_holds() -> None:
    verdict = judge(tiny_study(), measured([0.30, 0.32, 0.31], [0.10, 0.13, 0.11]), PRESENT)
    assert verdict.holds is True
    assert verdict.outcomes[0].measured.mean == pytest.approx(0.1966667)


def test_the_reverse_beyond_the_spread_contradicts_it() -> None:
    assert judge(tiny_study(), measured([0.10, 0.13, 0.11], [0.30, 0.32, 0.31]), PRESENT).holds is False


def test_within_the_spread_it_is_not_resolved() -> None:
    assert judge(tiny_study(), measured([0.30, 0.10, 0.31], [0.10, 0.13, 0.30]), PRESENT).holds is None


def test_one_seed_resolves_nothing() -> None:
    assert judge(tiny_study(), measured([0.9], [0.1]), PRESENT).holds is None


def test_an_arm_that_was_left_out_takes_its_comparisons_along() -> None:
    verdict = judge(tiny_study(), {"train_error": {"plain": {0: 0.5}}}, ("plain",))
    assert verdict.outcomes == ()
    assert verdict.holds is None


def comparison(**values: Any) -> Comparison:
    return Comparison(**{"statement": "{arm} {other}", "metric": "train_error", "arm": "plain", "other": "residual", **values})


def test_a_contradiction_among_many_needs_a_wider_interval() -> None:
    # The difference is -0.02 with a standard deviation of 0.006: t = 5.8 > 4.3, but 5.8 < 15.2, the quantile for one of twelve.
    values = measured([0.280, 0.286, 0.274], [0.300, 0.300, 0.300])
    assert judge(tiny_study(), values, PRESENT).holds is False
    many = tiny_study(comparisons=(comparison(),) * 12)
    assert judge(many, values, PRESENT).holds is None


def test_what_is_told_beside_the_claim_does_not_decide() -> None:
    beside = comparison(relation="below", key=False)
    verdict = judge(tiny_study(comparisons=(comparison(), beside)), measured([0.30, 0.32, 0.31], [0.10, 0.13, 0.11]), PRESENT)
    assert [outcome.holds for outcome in verdict.outcomes] == [True, False]
    assert verdict.holds is True


@pytest.mark.parametrize(("bound", "tolerance", "holds"), [(2.0, 0.1, True), (3.0, 0.1, False), (2.0, 0.0001, None)])
def test_a_ratio_that_is_to_equal_a_number(bound: float, tolerance: float, holds: bool | None) -> None:
    asked = comparison(form="ratio", relation="equal", bound=bound, tolerance=tolerance)
    values = measured([0.400, 0.402, 0.398], [0.2, 0.2, 0.2])
    assert judge(tiny_study(comparisons=(asked,)), values, PRESENT).holds is holds


def test_a_value_below_a_bound() -> None:
    asked = comparison(other=None, relation="below", bound=0.2)
    assert judge(tiny_study(comparisons=(asked,)), measured([0.10, 0.12, 0.11], []), PRESENT).holds is True


def test_ends_of_a_series_are_those_that_were_run() -> None:
    from resnets.studies import get_study

    study = get_study("degradation")
    present = ("plain-8", "plain-20", "residual-8", "residual-20")
    assert study.select("plain:first", present) == "plain-8"
    assert study.select("plain:last", present) == "plain-20"
    assert study.select("plain:last", ("residual-8",)) is None
