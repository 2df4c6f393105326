"""The region proposal network: its shapes and order, what it proposes, what it learns from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from resnets.detection import get_detector_spec
from resnets.detection.anchors import cell_anchors
from resnets.detection.losses import classification_loss, objectness_loss, regression_loss
from resnets.detection.matcher import BACKGROUND, BETWEEN
from resnets.detection.proposals import Predictions, Proposer

BASE = get_detector_spec("resnet18-fpn", num_classes=3)
ONE = get_detector_spec("resnet18-c4", num_classes=3, anchor_sizes=((16,),), anchor_ratios=(1.0, 2.0), rpn_width=8)


def zeroed(proposer: Proposer) -> Proposer:
    for value in proposer.parameters():
        torch.nn.init.zeros_(value)
    return proposer.eval()


def test_predictions_stand_in_the_order_of_the_anchors() -> None:
    """The bias of the second anchor's dx moves every second box, position by position."""
    proposer = zeroed(Proposer(ONE, 4))
    with torch.no_grad():
        proposer.deltas.bias[4] = 0.5  # anchor 1, dx
        proposer.objectness.bias.copy_(torch.tensor([0.0, 1.0, 3.0, 2.0]))  # background of both, then objects
    found = proposer([torch.zeros(2, 4, 2, 3)], (32, 48))
    assert found.objectness[0].shape == (2, 12)
    assert found.deltas[0].shape == (2, 12, 4)
    assert found.objectness[0][1].tolist() == [3.0, 1.0] * 6  # differences of the two logits: the softmax's sigmoid
    assert found.deltas[0][0, :, 0].tolist() == [0.0, 0.5] * 6
    cells = cell_anchors((16,), (1.0, 2.0), rounding=True)
    assert torch.equal(found.anchors[0][10:], cells + torch.tensor([32.0, 16, 32, 16]))


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_maps_memory_format_changes_nothing(memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    proposer, x = Proposer(ONE, 4), torch.randn(2, 4, 5, 6)
    expected = proposer([x], (80, 96))
    found = proposer.to(memory_format=memory)([x.to(memory_format=memory)], (80, 96))
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own[0], other[0])


def test_nominal_strides_do_not_ask_the_padding() -> None:
    spec = BASE.updated(anchor_strides="nominal")
    maps = [torch.zeros(1, 256, -(-96 // s), -(-96 // s)) for s in (4, 8, 16, 32, 64)]
    # The last anchor is 512 / sqrt(2) wide, and is one stride to the right.
    assert float(zeroed(Proposer(spec, 256))(maps, (96, 96)).anchors[4][-1, 2]) == 64 + 181
    assert float(zeroed(Proposer(BASE, 256))(maps, (96, 96)).anchors[4][-1, 2]) == 48 + 181


def by_hand(boxes: list[list[float]], scores: list[float], levels: int = 1) -> Predictions:
    """Predictions without offsets, the same anchors on each level."""
    anchors = torch.tensor(boxes)
    one = (torch.tensor([scores]), torch.zeros(1, len(boxes), 4), anchors)
    return Predictions(*([part] * levels for part in one))


BOXES = [[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 40, 40], [60, 60, 70, 70], [-9, -9, 1, 5]]


def test_proposals_by_hand() -> None:
    """The second box overlaps a better one by 9/11, the fourth is outside, the last is cut at the border."""
    proposer = Proposer(ONE, 4).eval()
    (found,) = proposer.select(by_hand(BOXES, [2.0, 1.0, 3.0, 9.0, -1.0]), [(50, 50)])
    assert found.tolist() == [[20, 20, 40, 40], [0, 0, 10, 10], [0, 0, 1, 5]]


def test_scores_and_numbers_limit_proposals() -> None:
    found = by_hand(BOXES, [2.0, 1.0, 3.0, 9.0, -1.0])
    sizes = [(50, 50)]
    (sure,) = Proposer(ONE.updated(rpn_min_score=0.9), 4).eval().select(found, sizes)  # sigmoid(2) = 0.88
    assert sure.tolist() == [[20, 20, 40, 40]]
    (large,) = Proposer(ONE.updated(rpn_min_side=5.0), 4).eval().select(found, sizes)
    assert len(large) == 2
    (few,) = Proposer(ONE.updated(rpn_post_nms_test=1), 4).eval().select(found, sizes)
    assert few.tolist() == [[20, 20, 40, 40]]
    (before,) = Proposer(ONE.updated(rpn_pre_nms_test=2), 4).eval().select(found, sizes)  # one of the two is outside
    assert before.tolist() == [[20, 20, 40, 40]]
    (training,) = Proposer(ONE.updated(rpn_post_nms_train=2, rpn_post_nms_test=1), 4).train().select(found, sizes)
    assert len(training) == 2


def test_levels_do_not_suppress_each_other() -> None:
    (found,) = Proposer(BASE, 4).eval().select(by_hand(BOXES[:1], [1.0], levels=5), [(50, 50)])
    assert found.tolist() == [BOXES[0]] * 5


def test_proposals_carry_no_gradient() -> None:
    proposer = Proposer(ONE, 4)
    (found,) = proposer.select(proposer([torch.randn(1, 4, 3, 3)], (48, 48)), [(48, 48)])
    assert not found.requires_grad


def test_anchors_across_the_border_count_for_nothing_where_the_spec_says_so() -> None:
    anchors = torch.tensor([[-1.0, 0, 9, 10], [0, 0, 8, 10], [30, 30, 40, 40], [30, 30, 51, 40]])
    objects = torch.tensor([[0.0, 0, 9, 10]])
    assert Proposer(ONE, 4).match(anchors, objects, (50, 50)).tolist() == [BETWEEN, 0, BACKGROUND, BETWEEN]
    kept = Proposer(ONE.updated(rpn_ignore_outside=False), 4)
    assert kept.match(anchors, objects, (50, 50)).tolist() == [0, 0, BACKGROUND, BACKGROUND]


def losses(spec_change: dict[str, object], objects: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    proposer = Proposer(ONE.updated(**spec_change), 4)
    found = proposer([torch.randn(1, 4, 3, 3)], (48, 48))
    result = proposer.losses(found, [size], [objects])
    sum(result.values()).backward()
    assert all(value.grad is not None and bool(value.grad.isfinite().all()) for value in proposer.parameters())
    return result


def test_without_objects_only_the_background_is_learnt() -> None:
    result = losses({}, torch.zeros(0, 4), (48, 48))
    assert float(result["loss_rpn_box_reg"].detach()) == 0
    assert float(result["loss_objectness"].detach()) > 0.5


def test_without_any_anchor_inside_the_losses_are_zero_and_not_nan() -> None:
    """An image smaller than every anchor."""
    result = losses({}, torch.tensor([[0.0, 0, 3, 3]]), (4, 4))
    assert [float(value.detach()) for value in result.values()] == [0, 0]


def test_losses_by_hand() -> None:
    """Logits 0: log 2 per anchor. One positive anchor, moved by a quarter of its width: smooth L1 of 1/4 at beta 1/9, over 18."""
    proposer = zeroed(Proposer(ONE.updated(rpn_ignore_outside=False), 4))
    found = proposer([torch.zeros(1, 4, 3, 3)], (48, 48))
    box = torch.tensor([[12.0, 8, 28, 24]])  # the square anchor at (16, 16) is 8 8 24 24
    result = proposer.losses(found, [(48, 48)], [box])
    labels = proposer.match(found.anchors[0], box, (48, 48))
    assert int((labels >= 0).sum()) == 1
    sampled = int((labels != BETWEEN).sum())
    torch.testing.assert_close(result["loss_objectness"], torch.tensor(math.log(2)))
    torch.testing.assert_close(result["loss_rpn_box_reg"], torch.tensor((0.25 - 1 / 18) / sampled))


def test_losses_are_float32_and_zero_without_boxes() -> None:
    half = torch.zeros(4, 3, dtype=torch.bfloat16)
    assert classification_loss(half, torch.zeros(4, dtype=torch.int64)).dtype == torch.float32
    torch.testing.assert_close(classification_loss(half, torch.zeros(4, dtype=torch.int64)), torch.tensor(math.log(3)))
    assert objectness_loss(half[:, 0], torch.ones(4)).dtype == torch.float32
    assert float(classification_loss(half[:0], torch.zeros(0, dtype=torch.int64))) == 0
    assert float(regression_loss(half[:0, :0].reshape(0, 4), torch.zeros(0, 4), beta=1.0, num_sampled=0)) == 0


@pytest.mark.parametrize(("beta", "expected"), [(1.0, (0.125 + 1.5) / 4), (0.0, (0.5 + 2) / 4)])
def test_regression_loss_by_hand(beta: float, expected: float) -> None:
    deltas = torch.tensor([[0.5, 0, 0, -2]])
    torch.testing.assert_close(regression_loss(deltas, torch.zeros(1, 4), beta=beta, num_sampled=4), torch.tensor(expected))
