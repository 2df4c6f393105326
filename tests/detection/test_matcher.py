"""Which object a box stands for: by hand, and as torchvision's Matcher says."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection._utils import Matcher

from resnets.detection.matcher import BACKGROUND, BETWEEN, match, match_boxes

RULE = {"positive": 0.7, "negative": 0.3}
IOU = torch.tensor([[0.9, 0.1, 0.5, 0.0, 0.7], [0.2, 0.1, 0.4, 0.29, 0.8]])


def test_by_hand() -> None:
    """0.7 is positive, 0.29 background, 0.5 neither; the fifth box goes to the object with 0.8, not 0.7."""
    assert match(IOU, **RULE, best_counts=False).tolist() == [0, BACKGROUND, BETWEEN, BACKGROUND, 1]


def test_every_object_has_its_best_box_and_all_that_tie() -> None:
    iou = torch.tensor([[0.9, 0.1, 0.1], [0.2, 0.4, 0.4]])
    assert match(iou, **RULE, best_counts=True).tolist() == [0, 1, 1]
    assert match(iou, **RULE, best_counts=False).tolist() == [0, BETWEEN, BETWEEN]


def test_a_best_box_stands_for_the_object_it_overlaps_most() -> None:
    """The second object's best box overlaps the first one more: it stands for the first, as in torchvision."""
    iou = torch.tensor([[0.6, 0.1], [0.2, 0.1]])
    assert match(iou, **RULE, best_counts=True).tolist() == [0, BACKGROUND]


def test_an_object_that_nothing_touches_takes_no_box() -> None:
    """Its best IoU is 0, which all boxes share; they must not become positive by that."""
    iou = torch.tensor([[0.0, 0.0, 0.0], [0.8, 0.1, 0.5]])
    assert match(iou, **RULE, best_counts=True).tolist() == [1, BACKGROUND, BETWEEN]


@pytest.mark.parametrize("best", [True, False])
def test_no_objects_makes_everything_background(best: bool) -> None:
    assert match(torch.zeros(0, 3), **RULE, best_counts=best).tolist() == [BACKGROUND] * 3
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    assert match_boxes(torch.zeros(0, 4), boxes, **RULE, best_counts=best).tolist() == [BACKGROUND]


@pytest.mark.parametrize("best", [True, False])
def test_no_boxes_give_no_matches(best: bool) -> None:
    assert match(torch.zeros(2, 0), **RULE, best_counts=best).tolist() == []


@pytest.mark.parametrize("best", [True, False])
def test_random_overlaps_equal_torchvisions(best: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    peer = Matcher(0.7, 0.3, allow_low_quality_matches=best)
    for objects in (1, 7):
        # Rounded, so that there are ties.
        iou = (torch.rand(objects, 400, generator=generator) ** 3 * 40).round() / 41
        ours = match(iou.clone(), **RULE, best_counts=best)
        assert torch.equal(ours, peer(iou.clone()))
        assert {BACKGROUND, BETWEEN, 0} <= set(ours.tolist())


def test_boxes_by_hand() -> None:
    """A box that covers half of an object, and no more, has IoU 1/2."""
    objects, boxes = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 10], [20, 20, 30, 30]])
    assert match_boxes(objects, boxes, positive=0.5, negative=0.5).tolist() == [0, 0, BACKGROUND]
    assert match_boxes(objects, boxes, positive=0.51, negative=0.5).tolist() == [BETWEEN, 0, BACKGROUND]
