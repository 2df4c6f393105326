"""Which images each step of each epoch takes: a pure function of seed, epoch and step (and of the pruning's losses).

Legend: N images of the data set, B rows of a batch over all processes, b those of this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ...core.errors import UserError
from .draws import Draws, seed_for
from .pruning import LossPruning

_ORDER, _STEP = 1, 2
"""Purposes of seeds, so that an epoch's order and a step's draws never share one."""


@dataclass(frozen=True)
class Share:
    """This process's place among those that train together."""

    rank: int = 0
    world: int = 1

    def of(self, count: int) -> slice:
        """The part of `count` rows that belongs to this process: contiguous, in rank order, of equal sizes up to one."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)


WHOLE = Share()
"""The share of a process that trains alone: everything."""


@dataclass(frozen=True)
class StepPlan:
    """What one step takes."""

    indices: Tensor
    """(b,), int64: places in the data set."""
    weights: Tensor | None
    """(b,), float32: how much each image's loss counts; None where all count alike."""
    total: int
    """B."""
    draws: Draws
    """For the changes of this batch."""


class EpochOrder:
    """The steps of every epoch.

    Args:
        count: N.
        batch_size: B; cut down to N.
        seed: of the run.
        drop_last: leave out the last, smaller batch of an epoch, so that every step is alike.
        pruning: leaves images out of the epochs after the first, or None.
        probabilities: (N,) how often each image is drawn, in any unit, with replacement; None for each once per epoch.
        repeats: how often an image comes in a row, in other changes (repeated augmentation, 1901.09335); an epoch then has N / repeats
            different images.
        share: this process's place.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        drop_last: bool = True,
        pruning: LossPruning | None = None,
        probabilities: Tensor | None = None,
        repeats: int = 1,
        share: Share = WHOLE,
    ) -> None:
        if count == 0:
            raise UserError("the data set holds no images")
        self.count, self.batch_size, self.seed, self.drop_last = count, min(batch_size, count), seed, drop_last
        if self.batch_size < share.world:
            raise UserError(f"a batch of {self.batch_size} images has too few for {share.world} processes; raise --batch-size")
        self.pruning, self.probabilities, self.repeats, self.share = pruning, probabilities, repeats, share

    def steps_in(self, epoch: int) -> int:
        """Batches in an epoch."""
        num_pruned = self.pruning.num_pruned if self.pruning is not None and epoch > 0 else 0
        whole, rest = divmod(self.count - num_pruned, self.batch_size)
        # A rest with fewer images than processes would leave one of them without any.
        return whole if self.drop_last else whole + (rest >= self.share.world)

    def place(self, step: int) -> tuple[int, int]:
        """The epoch in which `step` is (counted from 0), and how many steps of it come before."""
        first, later = self.steps_in(0), self.steps_in(1)
        if step < first:
            return 0, step
        epochs, rest = divmod(step - first, later)
        return 1 + epochs, rest

    def steps(self, epoch: int, first_step: int = 0) -> Iterator[StepPlan]:
        """The epoch's steps from `first_step` on."""
        generator = Generator().manual_seed(seed_for(self.seed, _ORDER, epoch))
        order, weights = self._order(generator), None
        if self.pruning is not None and epoch > 0:
            if first_step == 0:
                self.pruning.begin_epoch()
            order, weights = self.pruning.choose(order, generator)
        for step in range(first_step, self.steps_in(epoch)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            own = self.share.of(len(rows))
            indices = rows[own]
            draws = Draws(seed_for(self.seed, _STEP, epoch, step), len(rows), torch.arange(own.start, own.stop))
            yield StepPlan(indices, None if weights is None else weights[indices], len(rows), draws)

    def _order(self, generator: Generator) -> Tensor:
        if self.probabilities is not None:
            return torch.multinomial(self.probabilities.double(), self.count, replacement=True, generator=generator)
        order = torch.randperm(self.count, generator=generator)
        return order.repeat_interleave(self.repeats)[: self.count] if self.repeats > 1 else order
