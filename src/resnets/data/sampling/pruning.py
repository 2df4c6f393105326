"""Leaving out images that the network has learned already, without changing what it learns on average.

InfoBatch (Qin et al. 2024, 2303.04947): in each epoch some of the images whose loss was small are left out at random, and those of
them that stay count more, so that the expected gradient is that of the whole data set. Here the number left out is fixed, so
that the number of steps is known beforehand. Legend: N images of the data set, B of a batch.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

MOST = 0.75
"""Largest share of the candidates that is left out, so that none of the others counts more than four times."""


class LossPruning:
    """Chooses each epoch's images by their last losses; the first epoch, in which nothing is known yet, has all.

    Args:
        count: N.
        share: share of the images left out in each epoch but the first, at most MOST of all.
        device: where the losses come from.
    """

    def __init__(self, count: int, share: float, device: torch.device) -> None:
        self.num_pruned = round(count * share)
        self.losses = torch.zeros(count, device=device)
        """Last loss of each image."""
        self.at_start = torch.zeros(count, device=device)
        """The same at the start of the epoch, which the epoch's choice rests on."""

    def record(self, indices: Tensor, losses: Tensor) -> None:
        """Takes the losses (B,) of the images at `indices` (B,)."""
        self.losses[indices] = losses

    def begin_epoch(self) -> None:
        """Fixes the losses that the epoch's choice rests on."""
        self.at_start.copy_(self.losses)

    def choose(self, order: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """The epoch's images in their order, (N - left out,), and the weight of every image of the data set, (N,).

        The candidates are the images whose loss is below the mean, but so many at least that no more than MOST of them go.
        """
        count, losses = len(order), self.at_start.to(order.device)
        below = int((losses < losses.mean()).sum())
        num_candidates = min(count, max(below, math.ceil(self.num_pruned / MOST)))
        candidates = losses.argsort(stable=True)[:num_candidates]
        gone = candidates[torch.randperm(num_candidates, generator=generator)[: self.num_pruned]]
        stays = torch.ones(count, dtype=torch.bool, device=order.device)
        stays[gone] = False
        weights = torch.ones(count, device=order.device)
        weights[candidates] = num_candidates / (num_candidates - self.num_pruned)
        return order[stays[order]], weights

    def state_dict(self) -> dict[str, Tensor]:
        """Both tables, for a checkpoint."""
        return {"losses": self.losses, "at_start": self.at_start}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes both tables from a checkpoint."""
        self.losses.copy_(state["losses"])
        self.at_start.copy_(state["at_start"])
