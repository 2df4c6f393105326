"""How a recipe's images look to the network."""

import pytest
import torch
from torch import Tensor

from resnets.classification.recipe import Recipe
from resnets.classification.transforms import augmentations, preprocessings
from resnets.data.decoding.preprocessing import Preprocessing, encoded
from resnets.data.sampling.draws import Draws

RGB = {"size": 24, "channels": 3, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}


def make_images(count: int = 16, size: int = 24, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def seen(recipe: Recipe, images: Tensor, preprocessing: Preprocessing, *, cropped: bool = False) -> Tensor:
    """Two epochs' images as a loader makes them."""
    pre_normalize, post_normalize = augmentations(recipe, True, preprocessing, cropped=cropped)
    parts = []
    for epoch in range(2):
        draws = Draws(epoch, len(images))
        parts.append(post_normalize(preprocessing.of_pixels(pre_normalize(images, torch.arange(len(images)), epoch, draws)), draws))
    return torch.cat(parts)


def test_training_and_evaluation_may_differ_in_size() -> None:
    recipe = Recipe(image_size=20, evaluation={"image_size": 28, "resize": 30, "interpolation": "bicubic"})  # type: ignore[arg-type]
    training, evaluation = preprocessings(recipe, **RGB)  # type: ignore[arg-type]
    assert (training.size, training.resize, training.interpolation) == (20, None, "bilinear")
    assert (evaluation.size, evaluation.resize, evaluation.interpolation) == (28, 30, "bicubic")
    assert training.mean == evaluation.mean == RGB["mean"]
    same = preprocessings(Recipe(), **RGB)  # type: ignore[arg-type]
    assert same[0] == same[1] == Preprocessing(**RGB)  # type: ignore[arg-type]
    assert preprocessings(Recipe(normalize=False), **RGB)[0].mean == ()  # type: ignore[arg-type]


def test_a_mean_picture_makes_every_pixels_mean_zero() -> None:
    images = make_images(5000, 6)
    training, evaluation = preprocessings(Recipe(pixel_mean=True), 6, 3, (0.5,) * 3, (0.2,) * 3, encoded(images))
    assert training == evaluation
    shown = training(images)
    torch.testing.assert_close(shown.mean(0), torch.zeros(3, 6, 6), atol=2e-6, rtol=0)
    torch.testing.assert_close(shown[0] - shown[1], (images[0].float() - images[1].float()) / 255)
    again = Preprocessing.model_validate_json(training.model_dump_json())
    assert torch.equal(again(images[:9]), shown[:9])
    assert "mean_picture" not in repr(training)
    with pytest.raises(ValueError, match="pixel_mean needs images of one size"):
        preprocessings(Recipe(pixel_mean=True), 6, 3, (), ())
    with pytest.raises(ValueError, match="not one of 3 channels of 7 x 7"):
        preprocessings(Recipe(pixel_mean=True), 7, 3, (), (), encoded(images))
    with pytest.raises(ValueError, match="takes the place of mean and std"):
        Preprocessing(size=6, mean=(0.5,) * 3, std=(0.2,) * 3, mean_picture=encoded(images))


@pytest.mark.parametrize(
    "settings",
    [
        {"crop": {"kind": "area"}},
        {"crop_padding": 3},
        {"policy": {"kind": "rand-augment"}},
        {"policy": {"kind": "trivial-augment"}},
        {"colour_jitter": 0.4},
        {"lighting": 0.1},
        {"random_erasing": 0.5},
        {"erasing": 6},
    ],
)
def test_each_setting_changes_images_and_nothing_else_does(settings: dict[str, object]) -> None:
    images, preprocessing = make_images(), Preprocessing(**RGB)  # type: ignore[arg-type]
    plain = torch.cat([preprocessing(images)] * 2)
    off = Recipe(augmentation={"horizontal_flip": "off"})  # type: ignore[arg-type]
    assert torch.equal(seen(off, images, preprocessing), plain)
    changed = seen(Recipe(augmentation={"horizontal_flip": "off", **settings}), images, preprocessing)  # type: ignore[arg-type]
    assert changed.shape == plain.shape
    assert changed.dtype == torch.float32
    different = (changed != plain).flatten(1).any(1)
    assert int(different.sum()) >= 16 or "random_erasing" in settings
    assert int(different.sum()) > 8
    assert not torch.equal(changed[:16], changed[16:])  # each epoch anew


def test_a_loader_that_crops_itself_is_not_cropped_again() -> None:
    images, preprocessing = make_images(), Preprocessing(**RGB)  # type: ignore[arg-type]
    recipe = Recipe(augmentation={"horizontal_flip": "off", "crop": {"kind": "area"}})  # type: ignore[arg-type]
    assert torch.equal(seen(recipe, images, preprocessing, cropped=True)[:16], preprocessing(images))


def test_crops_come_at_the_training_size() -> None:
    recipe = Recipe(augmentation={"crop": {"kind": "shorter-side", "shorter_side": (24, 40)}})  # type: ignore[arg-type]
    assert seen(recipe, make_images(4, 90), Preprocessing(**RGB)).shape == (8, 3, 24, 24)  # type: ignore[arg-type]


def test_colours_are_not_cut_off_before_they_are_normalized() -> None:
    white = torch.full((64, 3, 4, 4), 255, dtype=torch.uint8)
    recipe = Recipe(normalize=False, augmentation={"colour_jitter": 0.4, "lighting": 0.1})  # type: ignore[arg-type]
    shown = seen(recipe, white, Preprocessing(size=4))
    assert float(shown.max()) > 1.1


def test_what_cannot_be_done_is_said_at_once() -> None:
    grey = Preprocessing(size=24, channels=1)
    with pytest.raises(ValueError, match="these images are grey"):
        augmentations(Recipe(augmentation={"lighting": 0.1}), True, grey)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="below the network's 24 pixels"):
        augmentations(
            Recipe(augmentation={"crop": {"kind": "shorter-side", "shorter_side": (20, 30)}}),  # type: ignore[arg-type]
            True,
            grey,
        )
