"""Which part of an image training sees."""

import subprocess
import sys

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import v2

from resnets.data.augmentation.crops import Box, ResizedCrop


def numbers(count: int, seed: int = 0) -> list[list[float]]:
    return torch.rand(count, ResizedCrop.NUMBERS, generator=Generator().manual_seed(seed)).tolist()


def table(boxes: list[Box]) -> Tensor:
    return torch.tensor([[b.top, b.left, b.height, b.width] for b in boxes], dtype=torch.float64)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (64, 64), (100, 900)])
def test_areas_and_places_are_torchvisions(height: int, width: int) -> None:
    """Means and deviations of 4,000 parts; the widest image also meets the fallback to the middle."""
    ours = table([ResizedCrop(kind="area").box(height, width, 224, row) for row in numbers(4000)])
    assert torch.equal(ours, ours.floor())
    assert bool((ours[:, :2] >= 0).all() & (ours[:, 0] + ours[:, 2] <= height).all() & (ours[:, 1] + ours[:, 3] <= width).all())
    movable = (ours[:, 2] < height) & (ours[:, 3] < width)
    places = ours[movable, :2] / (torch.tensor([height, width]) - ours[movable, 2:])
    if len(places) > 1000:  # down and across go their own ways
        assert abs(float(torch.corrcoef(places.T)[0, 1])) < 5 / len(places) ** 0.5
    torch.manual_seed(0)
    transform, image = v2.RandomResizedCrop(224), torch.empty(3, height, width)
    theirs = torch.tensor(
        [[p[k] for k in ("top", "left", "height", "width")] for p in (transform.make_params([image]) for _ in range(4000))],
        dtype=torch.float64,
    )
    spread = theirs.std(0)
    assert bool(((ours.mean(0) - theirs.mean(0)).abs() < 5 * spread * (2 / 4000) ** 0.5).all())
    torch.testing.assert_close(ours.std(0), spread, rtol=0.08, atol=0)


def test_the_fallback_is_the_middle() -> None:
    box = ResizedCrop(kind="area", area=(1.0, 1.0), ratio=(0.9, 1.1)).box(100, 900, 224, [0.5] * 22)
    assert box == Box(0, 395, 100, 110)


def test_scale_augmentation_by_hand() -> None:
    """An image of 300 x 400 at a shorter side of 256: scale 256 / 300, resized to 256 x 341, of which 224 are cut."""
    settings = ResizedCrop(kind="shorter-side")
    first = settings.box(300, 400, 224, [0.0] * 22)
    assert first == Box(0, 0, 224 / (256 / 300), 224 / (256 / 300))
    last = settings.box(300, 400, 224, [1 - 2**-24] * 22)  # 480: 480 x 640
    assert last.height == last.width == pytest.approx(224 / 1.6)
    assert (last.top, last.left) == pytest.approx(((480 - 224) / 1.6, (640 - 224) / 1.6))
    sides = table([settings.box(300, 400, 224, row) for row in numbers(2000)])[:, 2]
    lengths = (224 / sides * 300).round()
    assert (int(lengths.min()), int(lengths.max())) == (256, 480)
    assert float(lengths.mean()) == pytest.approx(368, abs=6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"area": (0.5, 0.2)}, "area=.*is no range"),
        ({"area": (0.5, 1.2)}, "cannot be above 1"),
        ({"shorter_side": (480, 256)}, "shorter_side"),
        ({"ratio": (-1.0, 2.0)}, "greater than 0"),
    ],
)
def test_wrong_settings(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResizedCrop.model_validate(values)


def test_a_shorter_side_below_the_network() -> None:
    with pytest.raises(ValueError, match="below the network's 300 pixels"):
        ResizedCrop(kind="shorter-side").box(500, 500, 300, [0.5] * 22)


def test_it_loads_no_torch() -> None:
    code = "import sys, resnets.data.augmentation.crops; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
