"""A learning rate for a recipe, found by a range test.

Smith 2015 (1506.01186) §3.3: train for some steps while the learning rate grows, and look at where the loss falls and where it no longer
does. Here the rate grows by a constant factor from step to step, and the losses are smoothed before they are read.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..core.errors import UserError
from ..data.loaders.protocol import Batch
from ..training.engine.step import Diverged
from .session import ClassificationSession

SMOOTHING = 0.9
"""Weight of the earlier losses in the smoothed one, whose start at zero is corrected for."""
DIVERGED = 4.0
"""The test ends where the smoothed loss exceeds the least one so far by this factor."""
_WINDOW = 5
"""Steps on each side of one to which the slope at it is fitted."""


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw: one entry per step, from the lowest rate on."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Mean loss of each step's batch; the last may be infinite or not a number."""
    smoothed: tuple[float, ...]
    diverged: bool
    """Whether the test ended before its highest rate."""

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest over the logarithm of the rate, by the slope of a fitted line."""
        finite = [i for i, loss in enumerate(self.smoothed) if math.isfinite(loss)]
        return min((slope(self.rates, self.smoothed, i, finite), self.rates[i]) for i in finite)[1]

    @property
    def divergence(self) -> float | None:
        """The rate at which the loss exceeded its bound; None where it never did."""
        return self.rates[-1] if self.diverged else None

    @property
    def suggestion(self) -> float:
        """The lesser of the steepest descent's rate and a tenth of that of the divergence."""
        return min(self.steepest, math.inf if self.divergence is None else self.divergence / 10)


def slope(rates: tuple[float, ...], losses: tuple[float, ...], at: int, among: list[int]) -> float:
    """The slope by least squares of the losses over the natural logarithm of the rates, around the step `at`."""
    near = [i for i in among if abs(i - at) <= _WINDOW]
    if len(near) < 2:
        return 0.0
    x, y = [math.log(rates[i]) for i in near], [losses[i] for i in near]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def range_test(
    session: ClassificationSession,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    listen: Callable[[int, float, float], None] = lambda step, rate, loss: None,
) -> RangeTest:
    """Trains `steps` steps while the (head's) learning rate grows from `low` to `high`, and puts the session back as it was.

    Parts that head_first would hold back learn, too. With muon both rates grow, in their proportion.

    Args:
        listen: told each step's number from 1, rate and smoothed loss.

    Raises:
        ValueError: the bounds are no range, or fewer than 10 steps.
    """
    if not 0 < low < high:
        raise UserError(f"a range test goes from a low to a higher learning rate, both above 0, not from {low:g} to {high:g}")
    if steps < 10:
        raise UserError(f"a range test of {steps} steps shows nothing; take 10 or more, for instance 100")
    peak = session.recipe.optimizer.learning_rate
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    with unchanged(session):
        session.network.train()
        session.learners.at(1.0)
        mean, least, batches = 0.0, math.inf, endless(session)
        for number in range(1, steps + 1):
            batch = next(batches)
            rates.append(low * (high / low) ** ((number - 1) / (steps - 1)))
            inputs = session.inputs(batch)
            session.seed_step(number)
            try:
                result = session.step(inputs, total=batch.total, step=number, progress=0.0, factor=rates[-1] / peak)
                losses.append(float(result.loss))
                session.step.check()
            except Diverged:
                losses[number - 1 :] = [math.inf]
            mean = SMOOTHING * mean + (1 - SMOOTHING) * losses[-1]
            smoothed.append(mean / (1 - SMOOTHING**number))
            least = min(least, smoothed[-1])
            listen(number, rates[-1], smoothed[-1])
            if not smoothed[-1] <= DIVERGED * least:
                return RangeTest(tuple(rates), tuple(losses), tuple(smoothed), diverged=True)
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed), diverged=False)


def endless(session: ClassificationSession) -> Iterator[Batch]:
    """The batches of the first epoch over and over: its order leaves the state of a pruning alone."""
    while True:
        yield from session.training.epoch(0)


@contextmanager
def unchanged(session: ClassificationSession) -> Iterator[None]:
    """Whatever trains in the block, the session comes out of it as it went in; its average is not kept up meanwhile."""
    step, network = session.step, session.network
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimizer, average, training = copy.deepcopy(step.optimizer.state_dict()), step.average, network.training
    step.average = None
    try:
        yield
    finally:
        network.load_state_dict(state)
        step.optimizer.load_state_dict(optimizer)
        step.optimizer.zero_grad(set_to_none=True)
        step.bad_step.zero_()
        step.average = average
        network.train(training)
        session.learners.reset()
        torch.manual_seed(session.recipe.seed)
