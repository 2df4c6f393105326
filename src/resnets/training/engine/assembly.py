"""What is around a network in training, where nothing about it is special: its average and its step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from ..base_recipe import RunRecipe
from ..distributed import World, wrapped
from ..optim.optimizers import build_optimizer
from .averaging import ExponentialAverage
from .objective import Objective
from .precision import trusted_precision
from .step import TrainingStep


def assembled(
    recipe: RunRecipe, network: nn.Module, objective: Objective, example: Any, world: World, report: Callable[[str], None]
) -> tuple[ExponentialAverage | None, TrainingStep]:
    """The network's average, where the recipe asks for one, and the step that trains it; `example` as in `trusted_precision`."""
    device = next(network.parameters()).device
    average = None
    if recipe.averaging.decay:
        average = ExponentialAverage(recipe.averaging, network, copy.deepcopy(network))
    step = TrainingStep(
        wrapped(network.train(), world, device),
        build_optimizer(recipe.optimizer, network),
        precision=trusted_precision(recipe.precision, network, example, report),
        accumulation=recipe.accumulation,
        objective=objective,
        clip_norm=recipe.clip_norm,
        average=average,
        world=world.size,
    )
    return average, step
