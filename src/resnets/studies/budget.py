"""From a budget of seconds to a plan: which rung, how many steps and how many seeds.

A plan's time is the sum over its runs of steps x seconds per step, and of the evaluations, whose images cost a third of a trained one.
The seconds per step are measured on this machine (see `speed`), and so a plan is an estimate; it is kept beside the result, so that the
same command goes on with the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..classification.recipe import Recipe
from ..core.errors import UserError
from ..data.datasets.catalogue import DATASETS
from .experiment import Rung, Study
from .tasks import Task

StepTime = Callable[[Recipe], float]
"""Measured seconds of one optimizer step of a recipe."""

FORWARD_SHARE = 1 / 3
"""Of a training step's time that an image costs which is only evaluated: one of three passes (forward, and two in backward)."""
EVALUATED = 20_000
"""Images evaluated at the end of a run: 10,000 training and about as many test images."""
SECONDS_A_RUN = 3.0
"""Of opening the data, building the network and writing the model."""
CURVE_POINTS = 80
"""Logged lines of a run's training error."""


class Plan(BaseModel):
    """What is run: fixed by the budget once, the same for every restart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    rung: str
    data: str
    networks: tuple[tuple[str, str], ...]
    """Arm and network."""
    recipes: tuple[tuple[str, Recipe], ...]
    """Arm and recipe, of the arms that are trained; the seed is set by each run."""
    seeds: tuple[int, ...]
    estimated_seconds: float
    """Of all runs on this machine."""

    def tasks(self, study: Study) -> list[Task]:
        """Every measurement, seed by seed, so that an unfinished study has whole seeds; a training comes before what needs it."""
        recipes, found = dict(self.recipes), []
        for seed in self.seeds if not study.exact else (0,):
            for name, network in self.networks:
                measurement = study.arm(name).measurement
                if measurement in ("training", "trained-signal"):
                    recipe = recipes[name].updated(seed=seed)
                    found.append(Task(arm=name, measurement="training", network=network, seed=seed, recipe=recipe))
                    if measurement == "trained-signal":
                        found.append(Task(arm=name, measurement=measurement, network=network, seed=seed, recipe=recipe))
                else:
                    data = self.data if measurement == "initial-signal" else None
                    found.append(Task(arm=name, measurement=measurement, network=network, seed=seed, data=data))
        return found


def plan_study(
    study: Study, *, budget: float, data: str, step_time: StepTime, seeds: int | None = None, steps: int | None = None, rung: str | None = None,
    device: str = "auto", threads: int = 0,
) -> Plan:  # fmt: skip
    """The best that `budget` seconds allow: the largest rung whose fewest steps fit, then as many steps as fit up to the paper's, then
    more seeds up to the paper's. Where not even the smallest rung fits, it is planned all the same with its fewest steps.

    Args:
        speed: measures a step; asked for one rung after another, the smallest first, until one does not fit.
        seeds, steps, rung: set one by hand.

    Raises:
        ValueError: no such rung, or a number that makes no plan.
    """
    if rung is not None and rung not in [r.name for r in study.rungs]:
        raise UserError(f"study {study.name} has no size {rung!r}; it has {', '.join(r.name for r in study.rungs)}")
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds is at least 1, not {seeds}")
    if steps is not None and steps < 1:
        raise UserError(f"--steps is at least 1, not {steps}")
    num_seeds = seeds or (1 if study.exact else 3)
    step_times = _StepTimes(study, data, step_time, device, threads)
    if not study.trains:
        chosen = next(r for r in study.rungs if r.name == rung) if rung else study.rungs[-1]
        return step_times.plan(chosen, 0, num_seeds)
    chosen, most = study.rungs[0], study.paper.steps or 10**9
    if rung is not None:
        chosen = next(r for r in study.rungs if r.name == rung)
    else:
        for candidate in study.rungs:
            if step_times.seconds(candidate, steps or candidate.minimum_steps, num_seeds) > budget:
                break
            chosen = candidate
    if steps is None:
        steps = max(chosen.minimum_steps, min(most, step_times.affordable(chosen, budget, num_seeds)))
    if seeds is None and steps == most:
        while num_seeds < study.paper_seeds and step_times.seconds(chosen, steps, num_seeds + 1) <= budget:
            num_seeds += 1
    return step_times.plan(chosen, steps, num_seeds)


class _StepTimes:
    """Recipes and times of a study's rungs."""

    def __init__(self, study: Study, data: str, step_time: StepTime, device: str, threads: int) -> None:
        self.study, self.data, self.step_time, self.device, self.threads = study, data, step_time, device, threads
        self.known: dict[tuple[str, str], float] = {}

    def recipe(self, rung: Rung, arm: str, steps: int) -> Recipe:
        """The recipe of an arm for so many steps."""
        nested: dict[str, Any] = {**self.study.recipe, **rung.recipe}
        batch = nested.get("batch_size", Recipe.model_fields["batch_size"].default)
        info = DATASETS.get(self.data)
        per_epoch = max(1, (info.num_train if info else 50_000) // batch)
        return Recipe().updated(
            **{
                **nested,
                "name": f"study-{self.study.name}",
                "network": rung.networks[arm],
                "data": self.data,
                "max_steps": steps,
                "epochs": math.ceil(steps / per_epoch),
                "log_every": max(1, steps // CURVE_POINTS),
                "checkpoint_every": 60.0,
                "device": self.device,
                "threads": self.threads,
                "report": False,
            }
        )

    def trained(self, rung: Rung) -> list[str]:
        """Arms of the rung that are trained."""
        return [name for name in rung.networks if self.study.arm(name).measurement in ("training", "trained-signal")]

    def a_step(self, rung: Rung, arm: str) -> float:
        """Seconds of a step of an arm."""
        if (rung.name, arm) not in self.known:
            self.known[rung.name, arm] = self.step_time(self.recipe(rung, arm, 1))
        return self.known[rung.name, arm]

    def steps(self, rung: Rung, arm: str, steps: int) -> int:
        """Steps of an arm where the others make `steps`: as many as its time allows where it has the time of another."""
        other = self.study.arm(arm).time_of
        if other is None or other not in rung.networks:
            return steps
        return round_down(steps * self.a_step(rung, other) / self.a_step(rung, arm))

    def seconds(self, rung: Rung, steps: int, seeds: int) -> float:
        """Of all runs of the rung."""
        total = 0.0
        for arm in self.trained(rung):
            recipe, a_step = self.recipe(rung, arm, 1), self.a_step(rung, arm)
            info = DATASETS.get(self.data)
            made = self.steps(rung, arm, steps)
            epochs = made * recipe.batch_size // (info.num_train if info else 50_000)
            images = EVALUATED + epochs * (info.num_test if info else 10_000)
            total += made * a_step + images / recipe.batch_size * a_step * FORWARD_SHARE + SECONDS_A_RUN
        return total * seeds

    def affordable(self, rung: Rung, budget: float, seeds: int) -> int:
        """The most steps whose runs fit into `budget` seconds, rounded down to two digits."""
        fixed = self.seconds(rung, 0, seeds)
        per_step = (self.seconds(rung, 10_000, seeds) - fixed) / 10_000
        return round_down((budget - fixed) / per_step) if budget > fixed else 0

    def plan(self, rung: Rung, steps: int, seeds: int) -> Plan:
        trained = self.trained(rung)
        return Plan(
            study=self.study.name,
            rung=rung.name,
            data=self.data,
            networks=tuple(rung.networks.items()),
            recipes=tuple((arm, self.recipe(rung, arm, self.steps(rung, arm, steps))) for arm in trained),
            seeds=tuple(range(seeds)),
            estimated_seconds=self.seconds(rung, steps, seeds) if trained else 0.0,
        )


def round_down(value: float) -> int:
    """To two leading digits, so that a speed measured a little differently gives the same plan; at least 1."""
    if value < 1:
        return 1
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return int(value // unit * unit)
