"""The draws of boxes for a loss: their numbers, and the same boxes as torchvision's sampler for the same seed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from resnets.detection.sampler import sample


def labels(positive: int, negative: int, ignored: int) -> Tensor:
    values = torch.tensor([3] * positive + [0] * negative + [-1] * ignored)
    return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(0))]


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [(100, 500, (16, 48)), (5, 500, (5, 59)), (100, 10, (16, 10)), (0, 500, (0, 64)), (0, 0, (0, 0)), (3, 0, (3, 0))],
)
def test_numbers(positive: int, negative: int, expected: tuple[int, int]) -> None:
    """64 of which a quarter may be positive; negative ones fill up, positive ones do not."""
    values = labels(positive, negative, ignored=40)
    drawn, others = sample(values, 64, 0.25)
    assert (len(drawn), len(others)) == expected
    assert bool((values[drawn] > 0).all())
    assert bool((values[others] == 0).all())
    assert len(set(drawn.tolist() + others.tolist())) == sum(expected)  # none twice


def test_the_same_seed_draws_what_torchvision_draws() -> None:
    images = [labels(100, 500, 40), labels(5, 70, 3)]
    torch.manual_seed(3)
    expected = BalancedPositiveNegativeSampler(64, 0.25)(images)
    torch.manual_seed(3)
    for values, positive, negative in zip(images, *expected, strict=True):
        drawn, others = sample(values, 64, 0.25)
        assert torch.equal(drawn.sort().values, torch.where(positive)[0])
        assert torch.equal(others.sort().values, torch.where(negative)[0])


def test_another_seed_draws_others() -> None:
    values = labels(100, 500, 40)
    torch.manual_seed(1)
    first = sample(values, 64, 0.25)
    torch.manual_seed(2)
    assert set(first[1].tolist()) != set(sample(values, 64, 0.25)[1].tolist())
