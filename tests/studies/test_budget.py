"""A budget becomes a plan: larger, longer and with more seeds the more time there is, and never more time than that."""

import pytest
from invented import tiny_study

from resnets.classification.recipe import Recipe
from resnets.studies import STUDIES, get_study
from resnets.studies.budget import Plan, plan_study, round_down
from resnets.studies.experiment import Study

TRAINED = [study for study in STUDIES.values() if study.trains]


def step_time(recipe: Recipe) -> float:
    """Seconds a step that grow with depth, as on a machine; deep ones 0.1."""
    digits = "".join(letter if letter.isdigit() else " " for letter in recipe.network).split()
    return 0.002 * min(int(digits[0]), 200) if digits else 0.1


def planned(study: Study, budget: float, **options: int | str) -> Plan:
    return plan_study(study, budget=budget, data="fashion-mnist", step_time=step_time, **options)  # type: ignore[arg-type]


def steps(plan: Plan) -> int:
    return max(recipe.max_steps or 0 for _, recipe in plan.recipes)


@pytest.mark.parametrize("study", TRAINED, ids=lambda study: study.name)
def test_a_plan_fits_its_budget_or_is_the_smallest(study: Study) -> None:
    for budget in (600.0, 3_600.0, 36_000.0):
        plan = planned(study, budget)
        smallest = plan.rung == study.rungs[0].name and steps(plan) <= 2 * study.rungs[0].minimum_steps
        assert plan.estimated_seconds <= budget or smallest
        assert len(plan.seeds) >= 3


def test_more_time_buys_depth_then_steps_then_seeds() -> None:
    study = get_study("degradation")
    plans = [planned(study, budget) for budget in (300.0, 3_000.0, 9_000.0, 1e5, 3e6)]
    sizes = [[rung.name for rung in study.rungs].index(plan.rung) for plan in plans]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, len(study.rungs) - 1)
    assert steps(plans[2]) > steps(plans[1])
    assert steps(plans[-1]) == study.paper.steps
    assert len(plans[-1].seeds) == 5


def test_numbers_set_by_hand_stand() -> None:
    plan = planned(get_study("degradation"), 10.0, seeds=2, steps=123, rung="56 layers")
    assert (plan.rung, steps(plan), plan.seeds) == ("56 layers", 123, (0, 1))


def test_all_networks_of_a_plan_are_trained_alike() -> None:
    plan = planned(get_study("activation-order"), 3_000.0)
    recipes = {recipe.updated(network="resnet18") for _, recipe in plan.recipes}
    assert len(recipes) == 1


def test_equal_time_is_more_steps_of_the_faster_network() -> None:
    study = get_study("width")
    plan = planned(study, 10.0, rung="0.9 M parameters", steps=1_000)
    made = {arm: recipe.max_steps for arm, recipe in plan.recipes}
    assert made["thin and deep"] == made["wide and shallow"] == 1_000
    assert made["wide, equal time"] == round_down(1_000 * 56 / 16)


@pytest.mark.parametrize(("value", "rounded"), [(0.3, 1), (7.9, 7), (99.5, 99), (1_234, 1_200), (64_999, 64_000)])
def test_rounding(value: float, rounded: int) -> None:
    assert round_down(value) == rounded


@pytest.mark.parametrize(
    ("options", "said"), [({"rung": "huge"}, "it has paper"), ({"seeds": 0}, "--seeds"), ({"steps": 0}, "--steps")]
)
def test_numbers_that_make_no_plan_are_refused(options: dict[str, int | str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        planned(tiny_study(), 10.0, **options)


def test_a_plan_survives_json() -> None:
    plan = planned(get_study("signal"), 3_000.0)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
