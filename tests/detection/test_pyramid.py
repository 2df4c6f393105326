"""The pyramid is torchvision's, and regions are pooled from the level and at the place that torchvision takes."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, roi_pool
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from resnets.detection import get_detector_spec
from resnets.detection.pyramid import Pyramid
from resnets.detection.roi import RegionPooler, in_order, region_levels

CHANNELS, SHAPES = (6, 8, 10), ((13, 18), (7, 9), (4, 5))


@pytest.mark.parametrize("norm", [False, True])
def test_maps_equal_torchvisions(norm: bool) -> None:
    """Odd sizes: a coarse map is not half the finer one."""
    torch.manual_seed(0)
    ours = Pyramid(CHANNELS, (3, 4, 5), 4, norm=norm).eval()
    theirs = FeaturePyramidNetwork(list(CHANNELS), 4, LastLevelMaxPool(), nn.BatchNorm2d if norm else None).eval()
    names = [f"{group}.{i}" for group in ("inner_blocks", "layer_blocks") for i in range(3)]
    own = [*ours.lateral.values(), *ours.output.values()]
    with torch.no_grad():
        for name, module in zip(names, own, strict=True):
            for value, other in zip(module.parameters(), theirs.get_submodule(name).parameters(), strict=True):
                other.copy_(value.normal_())
        maps = [torch.randn(2, c, *shape) for c, shape in zip(CHANNELS, SHAPES, strict=True)]
        found = ours(maps)
        expected = theirs(OrderedDict((str(i), x) for i, x in enumerate(maps)))
    assert [tuple(x.shape[2:]) for x in found] == [*SHAPES, (2, 3)]
    for x, y in zip(found, expected.values(), strict=True):
        torch.testing.assert_close(x, y)


def test_every_level_sees_the_coarsest() -> None:
    pyramid = Pyramid(CHANNELS, (3, 4, 5), 4)
    maps = [torch.zeros(1, c, *shape) for c, shape in zip(CHANNELS, SHAPES, strict=True)]
    changed = [*maps[:2], torch.ones_like(maps[2])]
    for before, after in zip(pyramid(maps), pyramid(changed), strict=True):
        assert not torch.equal(before, after)
    finest = [torch.ones_like(maps[0]), *maps[1:]]
    assert torch.equal(pyramid(finest)[1], pyramid(maps)[1])  # and none the finer ones


@pytest.mark.parametrize(
    ("side", "level"), [(224, 4), (223, 3), (448, 5), (112, 3), (111, 2), (2000, 5), (3, 2)], ids=lambda value: str(value)
)
def test_levels_by_hand(side: float, level: int) -> None:
    """FPN, eq. 1, within P2 to P5."""
    assert region_levels(torch.tensor([[10.0, 20, 10 + side / 2, 20 + side * 2]]), 2, 5).tolist() == [level]


def test_pooled_regions_equal_torchvisions() -> None:
    torch.manual_seed(0)
    spec = get_detector_spec("resnet18-fpn")
    maps = [torch.randn(2, 3, 512 // stride, 640 // stride) for stride in (4, 8, 16, 32, 64)]
    corners, sides = torch.rand(40, 2) * 200, torch.rand(40, 2) ** 2 * 500 + 4
    boxes = list(torch.cat((corners, corners + sides), 1).split((15, 25)))
    ours = in_order(*RegionPooler(spec)(maps, boxes))
    names = ["0", "1", "2", "3"]
    theirs = MultiScaleRoIAlign(names, 7, 2)(dict(zip(names, maps, strict=False)), boxes, [(512, 640), (500, 600)])
    assert len(set(region_levels(torch.cat(boxes), 2, 5).tolist())) > 2
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)  # the order of sums, and of the products that place a sample


def test_fast_rcnns_maximum() -> None:
    """One map: a 32 x 32 box at stride 16 has four positions and pools them to themselves."""
    spec = get_detector_spec("resnet18-c4", roi_size=2)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    boxes = [torch.tensor([[16.0, 16, 32, 32]])]
    pooled, places = RegionPooler(spec)([x], boxes)
    assert places is None
    assert pooled.flatten().tolist() == [5, 6, 9, 10]
    whole = [torch.tensor([[0.0, 0, 48, 48]])]
    assert torch.equal(RegionPooler(spec)([x], whole)[0], roi_pool(x, whole, 2, 1 / 16))


def test_half_a_pixel() -> None:
    """On a ramp, the mean over a box is the ramp at its centre; RoIAlign's older form is half a position too far."""
    x = torch.arange(20.0).view(1, 1, 1, 20).expand(1, 1, 20, 20)
    boxes = [torch.tensor([[32.0, 32, 160, 160]])]  # positions 2 to 10: the centre is 6, of pixels counted from 0 at 5.5
    kinds = {"align": 6.0, "half-pixel-align": 5.5}
    for kind, centre in kinds.items():
        spec = get_detector_spec("resnet18-c4", roi_pooling=kind, roi_size=2)
        assert RegionPooler(spec)([x], boxes)[0].mean().item() == pytest.approx(centre)


def test_half_precision_maps_are_pooled_with_exact_positions() -> None:
    spec = get_detector_spec("resnet18-c4", roi_pooling="align")
    x, boxes = torch.randn(1, 2, 20, 20), [torch.tensor([[31.3, 32.2, 161.7, 159.1]])]
    pooled, _ = RegionPooler(spec)([x.bfloat16()], boxes)
    assert pooled.dtype == torch.bfloat16
    assert torch.equal(pooled, RegionPooler(spec)([x.bfloat16().float()], boxes)[0].bfloat16())
