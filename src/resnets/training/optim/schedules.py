"""Learning-rate schedules: pure functions from progress in [0, 1] to a factor on the peak learning rate."""

from __future__ import annotations

import math

from ...core.errors import UserError
from ..settings import Schedule


def learning_rate_factor(schedule: Schedule, progress: float) -> float:
    """The factor at `progress`, the share of optimizer steps that are done.

    With a warm-up w, the factor rises from `warmup_factor` to 1 over [0, w) or stays there, and the schedule's shape spans [w, 1];
    the milestones of "step" are shares of the whole run, as papers state them. With `stairs`, progress counts in whole parts of
    the run, so that the factor is constant in each.
    """
    if not 0 <= progress <= 1:
        raise UserError(f"progress is a share of the run in [0, 1], not {progress}")
    if schedule.stairs:
        # A share such as 5 / 600 times 600 may come out below 5.
        progress = math.floor(progress * schedule.stairs + 1e-9) / schedule.stairs
    if progress < schedule.warmup:
        if schedule.warmup_shape == "constant":
            return schedule.warmup_factor
        rise = progress / schedule.warmup
        if schedule.kind == "one-cycle":
            rise = (1 - math.cos(math.pi * rise)) / 2
        return schedule.warmup_factor + (1 - schedule.warmup_factor) * rise
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "step":
        return schedule.gamma ** sum(progress >= milestone for milestone in schedule.milestones)
    rest = (progress - schedule.warmup) / (1 - schedule.warmup) if schedule.warmup < 1 else 1.0
    fall = 1 - rest if schedule.kind == "linear" else (1 + math.cos(math.pi * rest)) / 2
    return schedule.final + (1 - schedule.final) * fall
