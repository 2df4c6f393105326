"""Random numbers for one training batch, the same wherever and by however many processes the batch is made.

Legend: B rows of the whole batch over all processes, b those of this process. Nothing random in a run has a state that lives from
step to step: every draw follows from the run's seed and its place (epoch, step), so that a resumed run draws what the uninterrupted one
would have drawn, and two processes with half a batch each draw what one process draws for the whole.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def seed_for(*numbers: int) -> int:
    """One seed in [0, 2^63) from several whole numbers, each bit of which depends on all of them.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) after each number: neighbouring steps get unrelated generators.
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state + (number % 2**64) + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state >> 1


class Draws:
    """Draws for the rows of one batch.

    Every method draws for all B rows and keeps those of this process; `shared` draws for the batch as a whole. All tensors are
    on the CPU, where the generator is the same on every machine.

    Args:
        seed: of this batch.
        total: B.
        rows: (b,) int64, the places in the whole batch that belong to this process; None for all.
    """

    def __init__(self, seed: int, total: int, rows: Tensor | None = None) -> None:
        self.generator = Generator().manual_seed(seed)
        self.total = total
        self.rows = torch.arange(total) if rows is None else rows

    def __len__(self) -> int:
        """b."""
        return len(self.rows)

    def uniform(self, *shape: int) -> Tensor:
        """(b, *shape) float32 in [0, 1)."""
        return torch.rand(self.total, *shape, generator=self.generator)[self.rows]

    def integers(self, high: int, *shape: int) -> Tensor:
        """(b, *shape) int64 in [0, high)."""
        return torch.randint(high, (self.total, *shape), generator=self.generator)[self.rows]

    def partners(self) -> Tensor:
        """(b,) int64, a random order of this process's rows: whom each is blended with. Rows of other processes are out of reach."""
        return torch.randperm(len(self.rows), generator=Generator().manual_seed(int(self.shared(())) + int(self.rows[0])))

    def shared(self, shape: tuple[int, ...] = ()) -> Tensor:
        """Whole numbers in [0, 2^31), int64, that all processes share."""
        return torch.randint(2**31, shape, generator=self.generator)

    def only(self, kept: Tensor) -> Draws:
        """The same draws to come, for the rows that `kept` (b,), bool, marks; both objects draw from one generator."""
        part = Draws.__new__(Draws)
        part.generator, part.total, part.rows = self.generator, self.total, self.rows[kept]
        return part
