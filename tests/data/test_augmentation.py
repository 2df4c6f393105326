"""Random changes of a batch, each against its definition."""

import pytest
import torch
from torch import Generator
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from resnets.data.augmentation import batch as a
from resnets.data.augmentation.crops import Box, ResizedCrop
from resnets.data.sampling.draws import Draws


def seeded(count: int, seed: int = 0) -> Draws:
    return Draws(seed, count)


def ramp(count: int, channels: int = 2, size: int = 6) -> torch.Tensor:
    return torch.arange(1, count * channels * size * size + 1).view(count, channels, size, size).float()


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_each_crop_is_a_window_of_its_padded_image(mode: str) -> None:
    images = ramp(40)
    cropped = a.random_crop(images, 2, mode, seeded(40))  # type: ignore[arg-type]
    padded = torch.nn.functional.pad(images, (2,) * 4, mode="constant" if mode == "zeros" else mode)
    places = set()
    for original, crop in zip(padded, cropped, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(original[:, y : y + 6, x : x + 6], crop)]
        assert found
        places.add(found[0])
    assert len(places) > 10  # each image has its own place


def test_cropping_keeps_uint8_and_refuses_to_reflect_too_far() -> None:
    assert a.random_crop(torch.zeros(3, 1, 6, 6, dtype=torch.uint8), 2, "reflect", seeded(3)).dtype == torch.uint8
    with pytest.raises(ValueError, match="reflecting 6 pixels"):
        a.random_crop(ramp(2), 6, "reflect", seeded(2))


def test_flips_mirror_about_half() -> None:
    images = ramp(400)
    flipped = a.random_horizontal_flip(images, seeded(400))
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, images, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(flipped, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240


def test_alternating_flips_show_each_image_both_ways() -> None:
    images, places = ramp(600), torch.randperm(600, generator=Generator().manual_seed(0))
    even, odd, again = (a.alternating_horizontal_flip(images, places, epoch, seed=3) for epoch in (0, 1, 2))
    mirrored = torch.tensor([torch.equal(new, old.flip(-1)) for new, old in zip(even, images, strict=True)])
    assert torch.equal(even, again)
    assert torch.equal(odd, even.flip(-1))
    assert 250 < int(mirrored.sum()) < 350
    in_order = mirrored[places.argsort()]
    assert 200 < int((in_order[1:] != in_order[:-1]).sum()) < 400  # neighbours fall into both halves
    other_seed = a.alternating_horizontal_flip(images, places, 0, seed=4)
    assert not torch.equal(even, other_seed)


def test_cutout_clears_one_square() -> None:
    images = torch.ones(300, 2, 9, 9)
    erased = a.cutout(images, 3, seeded(300))
    assert torch.equal(erased[:, 0], erased[:, 1])  # the same square in every channel
    holes = (erased[:, 0] == 0).flatten(1).sum(1)
    assert int(holes.max()) == 9
    assert int(holes.min()) == 4  # a square around a corner keeps 2 x 2 inside
    assert set(holes.tolist()) == {4, 6, 9}


def test_mixup_blends_images_and_targets_alike() -> None:
    images, targets = torch.eye(4).view(4, 1, 2, 2), torch.eye(4)
    mixed, soft = a.mixup(images, targets, 0.4, seeded(4, 3))
    torch.testing.assert_close(mixed.flatten(1), soft)  # each image is its own one-hot target
    torch.testing.assert_close(soft.sum(1), torch.ones(4))


def test_cutmix_targets_are_shares_of_area() -> None:
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 8)
    for seed in range(20):
        mixed, soft = a.cutmix(images, torch.eye(6), 1.0, seeded(6, seed))
        for image, target in zip(mixed, soft, strict=True):
            areas = torch.bincount(image.long().flatten(), minlength=6) / 64
            torch.testing.assert_close(areas, target)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_beta_has_its_mean_and_variance(alpha: float) -> None:
    generator = Generator().manual_seed(0)
    draws = torch.tensor([a.beta(alpha, generator) for _ in range(4000)], dtype=torch.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert float(draws.mean()) == pytest.approx(0.5, abs=4 * (variance / 4000) ** 0.5)
    assert float(draws.var()) == pytest.approx(variance, rel=0.12)


def test_erased_rectangles_are_those_of_the_paper() -> None:
    """Shares of area, ratios and how many are erased, against torchvision's own draws."""
    images = torch.ones(4000, 1, 32, 32)
    erased = a.random_erasing(images, 0.25, seeded(4000))[:, 0] == 0
    rows, columns, areas = erased.any(2).sum(1), erased.any(1).sum(1), erased.flatten(1).sum(1)
    assert torch.equal(rows * columns, areas)  # one rectangle
    hit = areas > 0
    assert abs(int(hit.sum()) - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5
    theirs = [v2.RandomErasing().make_params([images[0]]) for _ in range(4000)]
    torch.manual_seed(0)
    their_area = torch.tensor([float(p["h"] * p["w"]) for p in theirs if p["v"] is not None]) / 1024
    their_ratio = torch.tensor([p["h"] / p["w"] for p in theirs if p["v"] is not None]).log()
    our_area, our_ratio = areas[hit] / 1024, (rows[hit] / columns[hit]).log()
    assert float(our_area.mean()) == pytest.approx(float(their_area.mean()), abs=0.012)
    assert float(our_area.std()) == pytest.approx(float(their_area.std()), rel=0.1)
    assert float(our_ratio.mean()) == pytest.approx(float(their_ratio.mean()), abs=0.12)
    assert float(our_ratio.std()) == pytest.approx(float(their_ratio.std()), rel=0.1)
    assert torch.equal(a.random_erasing(images[:9], 0.0, seeded(9)), images[:9])


@pytest.mark.parametrize("kind", ["uint8", "float"])
@pytest.mark.parametrize(("size", "length"), [(8, 23), (23, 8), (16, 16)])
def test_a_resized_part_is_torchvisions(kind: str, size: int, length: int) -> None:
    generator = Generator().manual_seed(1)
    images = torch.randint(256, (6, 3, length, length + 5), generator=generator, dtype=torch.uint8)
    images = images if kind == "uint8" else images.float()
    boxes = [
        Box(0, 0, length, length + 5),
        Box(1, 2, 5, 7),
        Box(0, 3, 6, 2),
        Box(2, 0, length - 2, 9),
        Box(3, 3, 1, 1),
        Box(0, 0, 4, 4),
    ]
    ours = a.resized_parts(images, boxes, size)
    for image, box, result in zip(images, boxes, ours, strict=True):
        place = (int(box.top), int(box.left), int(box.height), int(box.width))
        theirs = vision.resized_crop(image.float(), *place, [size, size], antialias=True)
        torch.testing.assert_close(result.float(), theirs, atol=0.51 if kind == "uint8" else 1e-2, rtol=0)


def test_parts_between_pixels_are_scaled_images() -> None:
    """He 2015's scale augmentation: a crop of the resized image, which is never made."""
    image = torch.nn.functional.interpolate(torch.rand(1, 1, 4, 4, generator=Generator().manual_seed(0)), (64, 64), mode="bicubic")
    whole = vision.resize(image, [40, 40], antialias=True)
    for top, left in ((0, 0), (5, 11), (16, 16)):
        part = a.resized_parts(image, [Box(top * 1.6, left * 1.6, 24 * 1.6, 24 * 1.6)], 24)
        expected = whole[..., top : top + 24, left : left + 24]
        # The outermost pixels see none beyond the part, as those of a cut-out do not.
        torch.testing.assert_close(part[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=2e-3, rtol=0)


def test_a_random_part_follows_its_settings() -> None:
    images = torch.randint(256, (64, 3, 30, 40), dtype=torch.uint8, generator=Generator().manual_seed(2))
    whole = a.random_resized_crop(images, ResizedCrop(kind="off"), 12, seeded(64))
    assert (whole.dtype, whole.shape) == (torch.uint8, (64, 3, 12, 12))
    settings = ResizedCrop(kind="area", area=(0.2, 0.5))
    numbers = seeded(64).uniform(ResizedCrop.NUMBERS).tolist()
    boxes = [settings.box(30, 40, 12, row) for row in numbers]
    assert torch.equal(a.random_resized_crop(images, settings, 12, seeded(64)), a.resized_parts(images, boxes, 12))


def test_everything_comes_from_the_draws() -> None:
    images, targets = ramp(8), torch.eye(8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for change in (
        lambda g: a.random_crop(images, 1, "zeros", g),
        lambda g: a.random_horizontal_flip(images, g),
        lambda g: a.cutout(images, 2, g),
        lambda g: a.random_erasing(images, 0.5, g),
        lambda g: a.random_resized_crop(images, ResizedCrop(kind="area"), 4, g),
        lambda g: a.mixup(images, targets, 0.2, g)[0],
        lambda g: a.cutmix(images, targets, 2.0, g)[0],
    ):
        assert torch.equal(change(seeded(8, 5)), change(seeded(8, 5)))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_part_of_the_batch_is_changed_as_in_the_whole() -> None:
    """What one process makes of its rows is what one alone would have made of them."""
    images, rows = ramp(8), torch.tensor([2, 3, 7])
    for change in (
        lambda x, g: a.random_crop(x, 1, "zeros", g),
        lambda x, g: a.random_horizontal_flip(x, g),
        lambda x, g: a.cutout(x, 2, g),
        lambda x, g: a.random_erasing(x, 0.5, g),
        lambda x, g: a.random_resized_crop(x, ResizedCrop(kind="area"), 4, g),
    ):
        assert torch.equal(change(images, seeded(8, 5))[rows], change(images[rows], Draws(5, 8, rows)))
