"""Random changes of a batch, each against its definition."""

import pytest
import torch
from torch import Generator

from resnets.data import augmentation as a


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def ramp(count: int, channels: int = 2, size: int = 6) -> torch.Tensor:
    return torch.arange(1, count * channels * size * size + 1).view(count, channels, size, size).float()


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_each_crop_is_a_window_of_its_padded_picture(mode: str) -> None:
    images = ramp(40)
    cropped = a.random_crop(images, 2, mode, seeded())  # type: ignore[arg-type]
    padded = torch.nn.functional.pad(images, (2,) * 4, mode="constant" if mode == "zeros" else mode)
    places = set()
    for original, crop in zip(padded, cropped, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(original[:, y : y + 6, x : x + 6], crop)]
        assert found
        places.add(found[0])
    assert len(places) > 10  # each picture has its own place


def test_cropping_keeps_uint8_and_refuses_to_reflect_too_far() -> None:
    assert a.random_crop(torch.zeros(3, 1, 6, 6, dtype=torch.uint8), 2, "reflect", seeded()).dtype == torch.uint8
    with pytest.raises(ValueError, match="reflecting 6 pixels"):
        a.random_crop(ramp(2), 6, "reflect", seeded())


def test_flips_mirror_about_half() -> None:
    images = ramp(400)
    flipped = a.random_horizontal_flip(images, seeded())
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, images, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(flipped, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240


def test_alternating_flips_show_each_picture_both_ways() -> None:
    images, places = ramp(600), torch.randperm(600, generator=seeded())
    even, odd, again = (a.alternating_horizontal_flip(images, places, epoch, seed=3) for epoch in (0, 1, 2))
    mirrored = torch.tensor([torch.equal(new, old.flip(-1)) for new, old in zip(even, images, strict=True)])
    assert torch.equal(even, again)
    assert torch.equal(odd, even.flip(-1))
    assert 250 < int(mirrored.sum()) < 350
    in_order = mirrored[places.argsort()]
    assert 200 < int((in_order[1:] != in_order[:-1]).sum()) < 400  # neighbours fall into both halves
    other_seed = a.alternating_horizontal_flip(images, places, 0, seed=4)
    assert not torch.equal(even, other_seed)


def test_erasing_clears_one_square() -> None:
    images = torch.ones(300, 2, 9, 9)
    erased = a.random_erasing(images, 3, seeded())
    assert torch.equal(erased[:, 0], erased[:, 1])  # the same square in every channel
    holes = (erased[:, 0] == 0).flatten(1).sum(1)
    assert int(holes.max()) == 9
    assert int(holes.min()) == 4  # a square around a corner keeps 2 x 2 inside
    assert set(holes.tolist()) == {4, 6, 9}


def test_mixup_blends_pictures_and_targets_alike() -> None:
    images, targets = torch.eye(4).view(4, 1, 2, 2), torch.eye(4)
    mixed, soft = a.mixup(images, targets, 0.4, seeded(3))
    torch.testing.assert_close(mixed.flatten(1), soft)  # each picture is its own one-hot target
    torch.testing.assert_close(soft.sum(1), torch.ones(4))


def test_cutmix_targets_are_shares_of_area() -> None:
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 8)
    for seed in range(20):
        mixed, soft = a.cutmix(images, torch.eye(6), 1.0, seeded(seed))
        for picture, target in zip(mixed, soft, strict=True):
            areas = torch.bincount(picture.long().flatten(), minlength=6) / 64
            torch.testing.assert_close(areas, target)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_beta_has_its_mean_and_variance(alpha: float) -> None:
    generator = seeded()
    draws = torch.tensor([a.beta(alpha, generator) for _ in range(4000)], dtype=torch.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert float(draws.mean()) == pytest.approx(0.5, abs=4 * (variance / 4000) ** 0.5)
    assert float(draws.var()) == pytest.approx(variance, rel=0.12)


def test_everything_comes_from_the_generator() -> None:
    images, targets = ramp(8), torch.eye(8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for change in (
        lambda g: a.random_crop(images, 1, "zeros", g),
        lambda g: a.random_horizontal_flip(images, g),
        lambda g: a.random_erasing(images, 2, g),
        lambda g: a.mixup(images, targets, 0.2, g)[0],
        lambda g: a.cutmix(images, targets, 2.0, g)[0],
    ):
        assert torch.equal(change(seeded(5)), change(seeded(5)))
    assert torch.equal(torch.get_rng_state(), state)
