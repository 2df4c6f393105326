"""RoIAlign by weighted rows beside torchvision's operator."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from resnets.detection.roi_align import roi_align_rows


def some_rois(count: int, images: int, width: int, height: int, generator: torch.Generator) -> torch.Tensor:
    """Boxes within and across the border, thinner than a pixel, and far outside."""
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 1.6 - torch.tensor([width, height]) * 0.3
    sides = torch.rand(count, 2, generator=generator) ** 3 * torch.tensor([width, height])
    owners = torch.randint(images, (count, 1), generator=generator).float()
    return torch.cat((owners, corners, corners + sides), dim=1)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("size", "sampling", "shape"), [(7, 2, (3, 5, 12, 17)), (4, 1, (1, 3, 1, 9)), (2, 3, (2, 8, 6, 1))])
def test_values_and_gradients_are_torchvisions(size: int, sampling: int, shape: tuple[int, ...], aligned: bool) -> None:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    rois = some_rois(60, shape[0], shape[3] * 8, shape[2] * 8, generator)
    maps = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    ours = roi_align_rows(maps[0], rois, size, 1 / 8, sampling, aligned=aligned)
    theirs = roi_align(maps[1], rois.double(), size, 1 / 8, sampling, aligned=aligned)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)  # ours has float32 positions
    assert float((theirs != 0).double().mean()) > 0.2, "most boxes are outside: this compares zeros"
    upstream = torch.randn(theirs.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad(y, m, upstream)[0] for y, m in zip((ours, theirs), maps, strict=True)]
    torch.testing.assert_close(*gradients, rtol=0, atol=2e-4)


def test_one_cell_by_hand() -> None:
    """A region of one pixel around (1.5, 0.5): four samples at a quarter from its corner, whose mean is its centre's value."""
    x = torch.arange(6.0).view(1, 1, 2, 3)
    rois = torch.tensor([[0.0, 1.0, 0.0, 2.0, 1.0]])
    assert roi_align_rows(x, rois, 1, 1.0, 2, aligned=False).item() == pytest.approx(0.5 * 3 + 1.5)


def test_no_regions() -> None:
    x = torch.randn(2, 4, 5, 5, requires_grad=True)
    pooled = roi_align_rows(x, torch.zeros(0, 5), 7, 1 / 8, 2, aligned=False)
    assert pooled.shape == (0, 4, 7, 7)
    pooled.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()
