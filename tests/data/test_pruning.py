"""Leaving images out without changing the mean loss."""

import pytest
import torch

from resnets.data.sampling.order import EpochOrder
from resnets.data.sampling.pruning import LossPruning


def pruned() -> LossPruning:
    made = LossPruning(20, 0.3, torch.device("cpu"))
    made.record(torch.arange(20), torch.arange(20.0))
    return made


def test_pruning_leaves_out_small_losses_and_keeps_the_mean_loss_unbiased() -> None:
    losses, sums, seen = torch.arange(20.0), [], torch.zeros(20)
    for seed in range(300):
        made = pruned()
        made.begin_epoch()
        order, weights = made.choose(torch.randperm(20), torch.Generator().manual_seed(seed))
        assert len(order) == 14
        seen[order] += 1
        sums.append(float((losses * weights)[order].sum()))
    assert bool((seen[10:] == 300).all())  # the ten below the mean are candidates, no other goes
    assert bool((seen[:10] < 300).all())
    assert sum(sums) / len(sums) == pytest.approx(float(losses.sum()), rel=0.01)


def test_where_few_losses_are_small_the_next_ones_are_candidates_too() -> None:
    pruning = LossPruning(20, 0.6, torch.device("cpu"))
    pruning.record(torch.arange(20), torch.tensor([0.0] + [10.0] * 18 + [11.0]))  # one alone is below the mean
    pruning.begin_epoch()
    order, weights = pruning.choose(torch.randperm(20), torch.Generator().manual_seed(0))
    assert len(order) == 8
    assert weights.tolist() == [4.0] * 16 + [1.0] * 4


def test_pruned_epochs_are_shorter_and_steps_find_their_place() -> None:
    made = EpochOrder(20, 3, seed=0, pruning=pruned())
    assert [made.steps_in(epoch) for epoch in range(3)] == [6, 4, 4]
    assert [made.place(step) for step in (0, 5, 6, 9, 10, 14)] == [(0, 0), (0, 5), (1, 0), (1, 3), (2, 0), (3, 0)]
    steps = list(made.steps(1))
    assert all(plan.weights is not None and len(plan.weights) == 3 for plan in steps)
