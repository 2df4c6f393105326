"""Losses of each image, against timm's and against arithmetic."""

import pytest
import torch
from timm.loss import BinaryCrossEntropy
from torch import Tensor, nn

from resnets.classification.losses import binary_cross_entropy, build_loss, cross_entropy
from resnets.training.settings import Loss


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(7, 10, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 3, 9, 3, 1, 5, 5])


def blended(share: float) -> Tensor:
    """(7, 10) targets of images that are blended with the next one's."""
    hard = nn.functional.one_hot(LABELS, 10).float()
    return share * hard + (1 - share) * hard.roll(1, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("soft", [False, True])
def test_binary_cross_entropy_is_timms(logits: Tensor, smoothing: float, threshold: float | None, soft: bool) -> None:
    """timm smooths blended targets where they are made, and so does this test for it."""
    theirs = BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)
    targets = blended(0.7) if soft else LABELS
    for_timm = (1 - smoothing) * targets + smoothing / 10 if soft else targets
    ours = binary_cross_entropy(logits, targets, smoothing, threshold)
    assert ours.shape == (7,)
    torch.testing.assert_close(ours.mean(), theirs(logits, for_timm))


def test_a_threshold_makes_both_classes_present() -> None:
    logits = torch.zeros(1, 4)
    loss = binary_cross_entropy(logits + torch.tensor([5.0, 5, -5, -5]), torch.tensor([[0.6, 0.4, 0, 0]]), threshold=0.2)
    certain = binary_cross_entropy(logits + torch.tensor([5.0, 5, -5, -5]), torch.tensor([[1.0, 1, 0, 0]]))
    torch.testing.assert_close(loss, certain)
    assert float(loss) == pytest.approx(float(torch.log1p(torch.exp(torch.tensor(-5.0)))), rel=1e-4)
    minor = binary_cross_entropy(logits + torch.tensor([5.0, -5, -5, -5]), torch.tensor([[0.9, 0.1, 0, 0]]), threshold=0.2)
    torch.testing.assert_close(minor, certain)  # a share of 0.1 does not count


def test_cross_entropy_by_hand(logits: Tensor) -> None:
    shares = 0.9 * nn.functional.one_hot(LABELS, 10) + 0.01
    torch.testing.assert_close(cross_entropy(logits, LABELS, 0.1), -(shares * logits.log_softmax(1)).sum(1))
    torch.testing.assert_close(cross_entropy(logits, blended(0.7)), -(blended(0.7) * logits.log_softmax(1)).sum(1))


def test_the_recipe_chooses(logits: Tensor) -> None:
    torch.testing.assert_close(build_loss(Loss(), 0.1)(logits, LABELS), cross_entropy(logits, LABELS, 0.1))
    binary = build_loss(Loss(name="binary-cross-entropy", threshold=0.2), 0.1)
    torch.testing.assert_close(binary(logits, blended(0.5)), binary_cross_entropy(logits, blended(0.5), 0.1, 0.2))
