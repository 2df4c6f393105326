"""Images to a batch and boxes along: as torchvision's transform, and where that fails."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from resnets.detection.boxes import rescaled
from resnets.detection.resizing import drawn_sizes, make_batch, padded_size, resized_size

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (600, 800)),
        ((500, 375), (800, 600)),
        ((300, 1000), (300, 1000)),
        ((2000, 3000), (600, 900)),
        ((1, 1), (600, 600)),
    ],
)
def test_sizes_by_hand(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The shorter side becomes 600 unless the longer one would pass 1000."""
    assert resized_size(size, 600, 1000) == expected


def test_a_thread_of_an_image_keeps_a_pixel() -> None:
    """torchvision rounds 0.5 pixels down to an image without rows."""
    assert resized_size((1, 2000), 600, 1000) == (1, 1000)
    assert resized_size((1, 40_000), 600, 1000) == (1, 1000)


def test_padding_by_hand() -> None:
    assert padded_size([(600, 800), (33, 801)], 32) == (608, 832)
    assert padded_size([(64, 64)], 32) == (64, 64)
    assert padded_size([(65, 64)], 1) == (65, 64)


def test_a_batch_equals_torchvisions() -> None:
    torch.manual_seed(0)
    images = [torch.rand(3, *size) for size in ((37, 61), (80, 50), (64, 64), (20, 100))]
    before = [image.clone() for image in images]
    ours = make_batch(
        images, torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1), min_sizes=[64] * 4, max_size=100, divisible=32
    )
    theirs, _ = GeneralizedRCNNTransform(64, 100, MEAN, STD)(images)
    assert ours.sizes == theirs.image_sizes
    assert ours.originals == [(37, 61), (80, 50), (64, 64), (20, 100)]
    torch.testing.assert_close(ours.images, theirs.tensors)
    assert all(torch.equal(a, b) for a, b in zip(images, before, strict=True))  # the caller's images stay


def test_boxes_follow_as_torchvisions() -> None:
    boxes = torch.rand(20, 4) * 50
    torch.testing.assert_close(rescaled(boxes, (37, 61), (64, 105)), resize_boxes(boxes, [37, 61], [64, 105]))


def test_drawn_sizes_are_torchvisions_draws() -> None:
    transform = GeneralizedRCNNTransform((48, 56, 64), 100, MEAN, STD)
    torch.manual_seed(4)
    expected = [transform.torch_choice([48, 56, 64]) for _ in range(20)]
    torch.manual_seed(4)
    assert drawn_sizes((48, 56, 64), 20) == expected
    assert set(expected) == {48, 56, 64}
