"""The recipe for a user's own images: what it depends on, and that each choice is said with its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnets.classification.data_defaults import DataDescription, Machine, image_size, recipe_for, safe_name
from resnets.classification.recipe import Recipe
from resnets.data.doctor.probe import mirrored_keeps_class
from resnets.inspection.memory import activation_bytes
from resnets.networks import get_spec
from resnets.training.choices import Reason

PHOTOS = DataDescription("pets", "/data/pets", ("cat", "dog"), 120, True, 480, False)
TINY = DataDescription("digits", "/data/digits", tuple("0123456789"), 120, True, 32, True)
LAPTOP = Machine("cpu", 2, 8_000_000_000, False)
GPU = Machine("cuda", 16, 80_000_000_000, True)
NONE = (None, "there is no network")
IMAGENET = ("resnet18/imagenet1k-v1", "they are on this machine")


def chosen(*arguments: object, **options: object) -> tuple[Recipe, dict[str, Reason]]:
    recipe, reasons = recipe_for(*arguments, **options)  # type: ignore[arg-type]
    return recipe, {reason.option: reason for reason in reasons}


def changed(recipe: Recipe) -> set[str]:
    """The options in which a recipe differs from the plain one, as they are typed."""

    def walk(one: dict, other: dict, prefix: str = "") -> set[str]:  # type: ignore[type-arg]
        found = set()
        for key, value in one.items():
            if isinstance(value, dict) and isinstance(other[key], dict):
                found |= walk(value, other[key], f"{prefix}{key}.")
            elif value != other[key]:
                found.add(f"{prefix}{key}".replace("_", "-"))
        return found

    return walk(recipe.model_dump(), Recipe().model_dump())


@pytest.mark.parametrize("description", [PHOTOS, TINY, replace(PHOTOS, num_training=60_000, to_be_split=False)])
@pytest.mark.parametrize("machine", [LAPTOP, GPU])
@pytest.mark.parametrize("weights", [NONE, IMAGENET])
def test_every_choice_is_said(description: DataDescription, machine: Machine, weights: tuple[str | None, str]) -> None:
    recipe, reasons = chosen(description, machine, weights)
    assert changed(recipe) - {"name", "data"} <= reasons.keys()
    assert all(reason.because and reason.value for reason in reasons.values())
    assert (recipe.name, recipe.data) == (description.name, description.data)


def test_photographs_begin_with_pretrained_weights_where_they_can_be_had() -> None:
    recipe, reasons = chosen(PHOTOS, LAPTOP, IMAGENET)
    assert (recipe.weights, recipe.network, recipe.image_size) == ("resnet18/imagenet1k-v1", "weights", 160)
    assert reasons["weights"].because == "they are on this machine"
    fresh, why = chosen(PHOTOS, LAPTOP, NONE)
    assert fresh.weights is None
    assert "there is no network" in why["network"].because
    assert fresh.optimizer.learning_rate > recipe.optimizer.learning_rate
    assert fresh.epochs > recipe.epochs
    assert chosen(PHOTOS, GPU, IMAGENET)[0].image_size == 224


def test_holdout_only_where_nothing_is_set_apart() -> None:
    assert chosen(PHOTOS, LAPTOP, NONE)[0].holdout == 0.2
    given, reasons = chosen(replace(PHOTOS, to_be_split=False), LAPTOP, NONE)
    assert given.holdout == 0
    assert "holdout" not in reasons


def test_size_follows_the_images() -> None:
    assert [image_size(side)[0] for side in (8, 28, 32, 40, 41, 64, 80, 81, 500)] == [32, 32, 32, 32, 64, 64, 64, 224, 224]


@pytest.mark.parametrize("memory", [60_000_000, 300_000_000, 2_000_000_000])
def test_the_batch_fits_in_memory(memory: int) -> None:
    many = replace(PHOTOS, num_training=10_000)
    recipe, _ = chosen(many, replace(GPU, memory=memory), NONE)
    kept = sum(activation_bytes(get_spec(recipe.network), recipe.image_size).values())
    assert recipe.batch_size == 2 or recipe.batch_size * kept <= memory / 4
    assert recipe.batch_size * 4 > memory / 4 / kept  # and no smaller than it has to be


def test_few_images_come_often_and_in_small_batches() -> None:
    recipes = [chosen(replace(TINY, num_training=count), LAPTOP, NONE)[0] for count in (20, 120, 1_000, 10_000, 100_000)]
    epochs, batches = [r.epochs for r in recipes], [r.batch_size for r in recipes]
    assert epochs == sorted(epochs, reverse=True)
    assert batches == sorted(batches)
    assert (epochs[-1], batches[-1]) == (10, 128)
    assert all(r.batch_size <= 0.8 * count for r, count in zip(recipes, (20, 120, 1_000, 10_000, 100_000), strict=True))


def test_what_the_user_chose_is_kept() -> None:
    recipe, reasons = chosen(PHOTOS, LAPTOP, NONE, {"network": "resnet34"})
    assert (recipe.network, reasons["network"].because) == ("resnet34", "you chose it, in place of resnet18:width=32,stem_width=32")
    own, _ = chosen(TINY, LAPTOP, ("runs/before", "you chose them"))
    assert (own.weights, own.network) == ("runs/before", "weights")


@pytest.mark.parametrize(
    ("classes", "keeps"),
    [
        (("cat", "dog"), True), (tuple("0123456789"), False), (("A", "B", "c"), False), (("turn left", "turn_right"), False),
        (("bright", "leftover"), True), (("x", "cat", "dog"), True),
    ],
)  # fmt: skip
def test_mirroring_follows_the_names_of_classes(classes: tuple[str, ...], keeps: bool) -> None:
    assert mirrored_keeps_class(classes)[0] is keeps
    recipe, _ = chosen(replace(PHOTOS, classes=classes), LAPTOP, NONE)
    assert recipe.augmentation.horizontal_flip == ("random" if keeps else "off")


def test_names_that_can_be_folders() -> None:
    assert [safe_name(name) for name in ("pets", "my pets/2024", "..", "été")] == ["pets", "my-pets-2024", "images", "été"]
