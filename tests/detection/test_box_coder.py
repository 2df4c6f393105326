"""Offsets and boxes: inverse to each other, by hand, and as torchvision codes them; and the boxes' own geometry."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import clip_boxes_to_image, remove_small_boxes

from resnets.detection.box_coder import LARGEST, decode, encode
from resnets.detection.boxes import clipped, inside, large_enough, rescaled

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_boxes(number: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(2, number, 2, generator=generator) * 200
    return torch.cat((corner - 20, corner + side + 1 - 20), dim=1)


def test_by_hand() -> None:
    """From a box of 20 x 10 around (20, 15) to one of 40 x 10 around (25, 20): a quarter of the width, half the height, log 2."""
    anchor, box = torch.tensor([[10.0, 10, 30, 20]]), torch.tensor([[5.0, 15, 45, 25]])
    expected = torch.tensor([[0.25, 0.5, math.log(2), 0.0]])
    torch.testing.assert_close(encode(box, anchor), expected)
    torch.testing.assert_close(encode(box, anchor, WEIGHTS), expected * torch.tensor(WEIGHTS))
    torch.testing.assert_close(decode(expected, anchor), box)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_decoding_undoes_encoding(seed: int) -> None:
    boxes, anchors = random_boxes(50, seed), random_boxes(50, seed + 1)
    # What is more than 62.5 times as large cannot be reached.
    near = ((boxes[:, 2:] - boxes[:, :2]) / (anchors[:, 2:] - anchors[:, :2])).log().amax(1) < LARGEST
    torch.testing.assert_close(decode(encode(boxes, anchors, WEIGHTS), anchors, WEIGHTS)[near], boxes[near], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), WEIGHTS])
def test_both_directions_equal_torchvisions(weights: tuple[float, float, float, float]) -> None:
    boxes, anchors = random_boxes(200, 0), random_boxes(200, 1)
    coder = BoxCoder(weights)
    torch.testing.assert_close(encode(boxes, anchors, weights), coder.encode_single(boxes, anchors))
    deltas = torch.randn(200, 3, 4, generator=torch.Generator().manual_seed(2)) * 3
    expected = coder.decode_single(deltas.flatten(1), anchors).view(200, 3, 4)
    torch.testing.assert_close(decode(deltas, anchors[:, None], weights), expected)


def test_an_untrained_regressor_makes_no_infinite_boxes() -> None:
    box = decode(torch.tensor([[0.0, 0.0, 1e4, 1e4]]), torch.tensor([[0.0, 0, 16, 16]]))
    torch.testing.assert_close(box, torch.tensor([[-492.0, -492, 508, 508]]))  # 1000 pixels around (8, 8)


def test_clipping_and_small_boxes_equal_torchvisions() -> None:
    boxes = random_boxes(300, 3)
    assert torch.equal(clipped(boxes, (90, 120)), clip_boxes_to_image(boxes, (90, 120)))
    small = torch.where(large_enough(boxes, 60.0))[0]
    assert torch.equal(small, remove_small_boxes(boxes, 60.0))
    assert 0 < len(small) < 300


def test_inside_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 30, 20], [-1, 0, 5, 5], [0, 0, 31, 5], [0, 0, 5, 21], [3, 4, 5, 6]])
    assert inside(boxes, (20, 30)).tolist() == [True, False, False, False, True]


def test_rescaling_by_hand_and_back() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 40]])
    larger = rescaled(boxes, (50, 100), (100, 300))
    assert larger.tolist() == [[30, 40, 90, 80]]
    torch.testing.assert_close(rescaled(larger, (100, 300), (50, 100)), boxes)
    assert rescaled(boxes, (50, 100), (50, 100)) is boxes
