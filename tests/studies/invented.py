"""Results of studies that nobody trained: numbers chosen by a test, in the form that measurements have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from resnets.studies.budget import Plan, plan_study
from resnets.studies.experiment import Arm, Comparison, Rung, Setting, Study
from resnets.studies.protocol import Results

Errors = Callable[[str, int], tuple[float, float]]
"""From arm and seed to training and test error."""


def planned(study: Study, rung: str, steps: int = 1_000, seeds: int = 3) -> Plan:
    """A plan at a size, as on a machine on which each step takes a tenth of a second."""
    return plan_study(study, budget=1.0, data="fashion-mnist", step_time=lambda _recipe: 0.1, seeds=seeds, steps=steps, rung=rung)


def invented(study: Study, plan: Plan, errors: Errors, diverged: tuple[str, ...] = ()) -> Results:
    """A result of every task of the plan, with these errors and curves that fall to them."""
    results: Results = {}
    for task in plan.tasks(study):
        train, test = errors(task.arm, task.seed)
        steps = range(20, 1_001, 20)
        result: dict[str, Any] = {
            "metrics": {
                "train_error": train,
                "test_error": test,
                "running_error": train,
                "training_seconds": 60.0,
                "parameters": 1e6,
            },
            "curves": {
                "train": [[step, train + (0.9 - train) * math.exp(-step / 150)] for step in steps],
                "test": [[step, test + (0.9 - test) * math.exp(-step / 180)] for step in (468, 936, 1_000)],
            },
            "diverged": "the loss became nan at step 7" if task.arm in diverged else None,
            "seconds": 60.0,
        }
        results[task.arm, task.measurement, task.seed] = result
    return results


TINY = "cifar-resnet8:blocks=[1],width=8,stem_width=8"


def tiny_study(**changes: Any) -> Study:
    """Two networks of one unit, with and without a shortcut, a matter of milliseconds per step."""
    values: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny",
        "question": "Does it matter?",
        "claim": "The shortcut helps.",
        "answers_to": "nobody",
        "paper": Setting(data="CIFAR-10", steps=64_000, batch=128),
        "recipe": {"optimizer__nesterov": False, "batch_size": 64},
        "arms": (
            Arm(name="plain", paper_network=f"{TINY},shortcut=none", series="plain"),
            Arm(name="residual", paper_network=TINY, series="residual"),
        ),
        "rungs": (Rung(name="paper", networks={"plain": f"{TINY},shortcut=none", "residual": TINY}, minimum_steps=2),),
        "comparisons": (Comparison(statement="{arm} above {other}", metric="train_error", arm="plain", other="residual"),),
        "metrics": ("test_error", "train_error"),
        "figures": ("curves", "dots"),
    }
    return Study(**{**values, **changes})


def tiny_plan(study: Study, steps: int = 4, seeds: int = 2) -> Plan:
    """A plan of it on the digits."""
    return plan_study(study, budget=1.0, data="digits", step_time=lambda _recipe: 0.01, seeds=seeds, steps=steps)


def degraded(arm: str, seed: int) -> tuple[float, float]:
    """Errors as He 2015 found them: plain networks get worse with depth, residual ones better."""
    family, depth = arm.split("-")
    train = 0.10 + (0.5 if family == "plain" else -0.05) * int(depth) / 56 + 0.004 * ((seed * 7 + len(arm) + int(depth) // 8) % 3)
    return train, train + 0.02
