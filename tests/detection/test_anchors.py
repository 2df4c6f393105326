"""Anchors: by hand, and as torchvision's generator makes them."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from resnets.detection.anchors import cell_anchors, grid_anchors, measured_stride


def test_cells_by_hand() -> None:
    """Ratio 4 (height over width) and size 32: 16 wide and 64 high, around the origin; ratio first, then size."""
    cells = cell_anchors((32.0, 64.0), (1.0, 4.0), rounding=False)
    expected = [[-16, -16, 16, 16], [-32, -32, 32, 32], [-8, -32, 8, 32], [-16, -64, 16, 64]]
    torch.testing.assert_close(cells, torch.tensor(expected, dtype=torch.float32))


def test_areas_and_ratios_without_rounding() -> None:
    cells = cell_anchors((128, 256, 512), (0.5, 1.0, 2.0), rounding=False)
    width, height = cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1]
    torch.testing.assert_close((width * height).sqrt(), torch.tensor([128.0, 256, 512]).repeat(3))
    torch.testing.assert_close(height / width, torch.tensor([0.5, 1.0, 2.0]).repeat_interleave(3))
    assert not torch.equal(cells, cells.round())


def test_grid_by_hand() -> None:
    """A map of 2 rows and 3 columns with stride 16 down and 8 across: row by row."""
    anchors = grid_anchors(torch.tensor([[-1.0, -2, 1, 2]]), (2, 3), (16, 8))
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres.tolist() == [[0, 0], [8, 0], [16, 0], [0, 16], [8, 16], [16, 16]]
    assert anchors[4].tolist() == [7, 14, 9, 18]


@pytest.mark.parametrize("padded", [(96, 160), (224, 96)])
def test_all_levels_equal_torchvisions(padded: tuple[int, int]) -> None:
    """96 / 64 is no whole number: torchvision measures a stride of 48 for the coarsest map, and so do we."""
    sizes, ratios = ((32,), (64,), (128,), (256,), (512,)), (0.5, 1.0, 2.0)
    shapes = [tuple(-(-side // stride) for side in padded) for stride in (4, 8, 16, 32, 64)]
    ours = [
        grid_anchors(cell_anchors(size, ratios, rounding=True), shape, measured_stride(padded, shape))
        for size, shape in zip(sizes, shapes, strict=True)
    ]
    images = ImageList(torch.zeros(1, 3, *padded), [padded])
    theirs = AnchorGenerator(sizes, (ratios,) * 5)(images, [torch.zeros(1, 8, *shape) for shape in shapes])
    assert torch.equal(torch.cat(ours), theirs[0])
    assert measured_stride((96, 160), (2, 3)) == (48, 53)


def test_a_map_larger_than_the_image_still_has_a_stride() -> None:
    assert measured_stride((8, 8), (16, 16)) == (1, 1)
