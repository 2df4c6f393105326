"""Changes of colour, against torchvision's."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as vision

from resnets.data.augmentation import colour
from resnets.data.sampling.draws import Draws


@pytest.fixture
def images() -> Tensor:
    return torch.randint(256, (9, 3, 12, 10), generator=Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.brightness, vision.adjust_brightness),
        (colour.saturation, vision.adjust_saturation),
        (colour.contrast, vision.adjust_contrast),
        (colour.sharpness, vision.adjust_sharpness),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_has_its_own_factor(
    images: Tensor, ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], channels: int
) -> None:
    factors = torch.linspace(0, 1.99, len(images))
    rows = images[:, :channels]
    changed = ours(rows, factors)
    assert changed.dtype == torch.uint8
    for image, factor, result in zip(rows, factors, changed, strict=True):
        # Weights of grey differ in their fourth digit, and so do some roundings.
        torch.testing.assert_close(result.int(), theirs(image, float(factor)).int(), atol=2, rtol=0)
    floating = ours(rows.float(), factors).clamp(0, 255)
    torch.testing.assert_close(floating, changed.float(), atol=2, rtol=0)


def test_floating_images_are_not_cut_off(images: Tensor) -> None:
    doubled = colour.brightness(images.float(), torch.full((9,), 2.0))
    torch.testing.assert_close(doubled, images * 2.0)


def test_jitter_is_three_changes_in_any_order(images: Tensor) -> None:
    """Each row is what torchvision makes of it with the same factors, in the order that was drawn."""
    changes = (vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation)
    mild = (images // 4 + 90).float()
    ours = colour.colour_jitter(mild, 0.4, Draws(3, 9))
    draws = Draws(3, 9)
    orders, factors = draws.uniform(3).argsort(1), 0.6 + 0.8 * draws.uniform(3)
    assert len({tuple(order) for order in orders.tolist()}) > 3
    for image, order, factor, result in zip(mild / 255, orders.tolist(), factors.tolist(), ours, strict=True):
        for which in order:
            image = changes[which](image, factor[which])
        torch.testing.assert_close(result, image * 255, atol=0.1, rtol=0)


def test_lighting_shifts_along_the_components() -> None:
    black = torch.zeros(20_000, 3, 1, 1)
    shifts = colour.lighting(black, 0.1, Draws(0, 20_000))[:, :, 0, 0] / 255
    vectors, values = torch.tensor(colour._EIGENVECTORS), torch.tensor(colour._EIGENVALUES)
    covariance = 0.01 * vectors @ torch.diag(values**2) @ vectors.T
    torch.testing.assert_close(torch.cov(shifts.T), covariance, atol=1.5e-5, rtol=0.05)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(3), atol=2e-3, rtol=0)
    one = colour.lighting(torch.full((2, 3, 4, 4), 250, dtype=torch.uint8), 30.0, Draws(0, 2))
    assert one.dtype == torch.uint8
    assert {int(v) for v in one[0, 0].unique()} == {int(one[0, 0, 0, 0])}  # one colour for the whole image
    with pytest.raises(ValueError, match="1 channels"):
        colour.lighting(torch.zeros(2, 1, 4, 4), 0.1, Draws(0, 2))


def test_normal_numbers_are_normal() -> None:
    numbers = colour.normal(Draws(1, 50_000)).double()
    assert torch.isfinite(numbers).all()
    for moment, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert float((numbers**moment).mean()) == pytest.approx(expected, abs=0.12)
