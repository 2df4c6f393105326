"""Choices follow choices: whatever an option the user gives, all that is chosen for the data fits it, for every task."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from resnets.classification.data_defaults import DataDescription, Machine, recipe_for
from resnets.cli.commands.train import COMMAND as TRAIN
from resnets.detection import recipe_for_data as of_detectors
from resnets.segmentation import recipe_for_data as of_segmenters
from resnets.training.base_recipe import RunRecipe
from resnets.training.choices import Reason

PHOTOS = DataDescription("pets", "/data/pets", ("cat", "dog"), 1200, True, 480, False)
TINY = DataDescription("digits", "/data/digits", tuple("0123456789"), 1200, True, 32, True)
LAPTOP = Machine("cpu", 2, 8_000_000_000, False)
NONE = (None, "there is no network")
IMAGENET = ("resnet18/imagenet1k-v1", "they are on this machine")

GIVEN: dict[str, Any] = {
    "holdout": 0.1, "network": "resnet34", "weights": None, "image_size": 224, "epochs": 3, "batch_size": 8,
    "optimizer.learning_rate": 0.123, "optimizer.weight_decay": 0.0, "optimizer.name": "adamw", "schedule.kind": "constant",
    "schedule.warmup": 0.2, "label_smoothing": 0.0, "augmentation.horizontal_flip": "off", "augmentation.crop.kind": "off",
    "augmentation.crop.area": (0.5, 1.0), "evaluation.resize": 300, "evaluation.image_size": 288, "evaluation.every": 2,
    "evaluation.batch_size": 16, "precision": "bf16", "fine_tuning.head_first": 0.0,
}  # fmt: skip
"""A value for every field that is chosen, and for those that others follow from."""


def value(recipe: RunRecipe, name: str) -> Any:
    found: Any = recipe
    for part in name.split("."):
        found = getattr(found, part)
    return found


def consistent(description: DataDescription, weights: tuple[str | None, str], given: dict[str, Any]) -> None:
    """The user's values to the letter, and the others as they would be chosen for them."""
    recipe, reasons = recipe_for(description, LAPTOP, weights, given)
    assert all(reason.because for reason in reasons)
    for name, wanted in given.items():
        assert value(recipe, name) == wanted, name
    size = recipe.evaluation.image_size or recipe.image_size
    assert size is not None
    assert recipe.evaluation.resize is not None
    if "evaluation.resize" not in given:
        assert recipe.evaluation.resize == (round(size / 0.875) if size > 64 else size)
    if "optimizer.learning_rate" not in given:
        alone = {name: given[name] for name in ("optimizer.name", "weights", "network") if name in given}
        one = recipe_for(description, LAPTOP, weights, {**alone, "batch_size": 16})[0].optimizer.learning_rate
        assert recipe.optimizer.learning_rate == pytest.approx(one * (recipe.batch_size / 16) ** 0.5, rel=0.01)
    if "evaluation.every" not in given:
        assert recipe.evaluation.every == max(1, recipe.epochs // 10)


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("weights", [NONE, IMAGENET], ids=["fresh", "pretrained"])
@pytest.mark.parametrize("description", [PHOTOS, TINY], ids=["photos", "tiny"])
def test_each_alone(description: DataDescription, weights: tuple[str | None, str], name: str) -> None:
    consistent(description, weights, {name: GIVEN[name]})


@pytest.mark.parametrize("pair", list(combinations(GIVEN, 2)), ids="+".join)
def test_pairs(pair: tuple[str, str]) -> None:
    given = {name: GIVEN[name] for name in pair}
    if "evaluation.resize" in given and "evaluation.image_size" in given:
        given["evaluation.resize"] = 330
    consistent(PHOTOS, IMAGENET, given)


@pytest.mark.parametrize("size", [32, 64, 96, 160, 224, 384])
def test_evaluation_sees_the_whole_that_training_sees(size: int) -> None:
    """`--image-size 64` was evaluated on the middle 64 of 110 pixels, and 224 ended in the validator's own words."""
    for weights in (NONE, IMAGENET):
        recipe = recipe_for(PHOTOS, LAPTOP, weights, {"image_size": size})[0]
        assert recipe.evaluation.resize == (round(size / 0.875) if size > 64 else size)


@pytest.mark.parametrize("module", [of_detectors, of_segmenters])
@pytest.mark.parametrize("had", [True, False])
@pytest.mark.parametrize(
    "given", [{"batch_size": 32}, {"optimizer.name": "sgd"}, {"optimizer.name": "adamw", "batch_size": 1}, {"epochs": 2}]
)
def test_detectors_and_segmenters_follow_too(
    module: Any, had: bool, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "reachable", lambda url, source: (had, "as the test says"))
    choose: Callable[..., tuple[RunRecipe, tuple[Reason, ...]]] = module.recipe_for_data
    plain, _ = choose(str(tmp_path), {name: given[name] for name in given if name == "optimizer.name"})
    recipe, reasons = choose(str(tmp_path), given)
    for name, wanted in given.items():
        assert value(recipe, name) == wanted
    ratio = recipe.batch_size / plain.batch_size
    expected = {plain.optimizer.learning_rate * ratio, plain.optimizer.learning_rate * ratio**0.5}
    assert any(recipe.optimizer.learning_rate == pytest.approx(each, rel=0.01) for each in expected)
    assert all(reason.because for reason in reasons)


def test_only_what_was_typed_is_given() -> None:
    """An option whose value is the default one was chosen all the same, and a flag that is switched off, too."""
    from resnets.classification.recipe import Recipe

    typed = ["--epochs", "10", "--evaluation.no-flips", "--optimizer.learning-rate=0.1", "--no_drop_last"]
    words, _ = TRAIN.scanned(typed)
    assert TRAIN.values(Recipe(), words)[1] == {
        "epochs": 10, "evaluation.flips": False, "optimizer.learning_rate": 0.1, "drop_last": False,
    }  # fmt: skip
