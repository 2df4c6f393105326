"""Recipes: data that is validated, stored and changed."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from resnets.classification.recipe import read_recipe
from resnets.classification.recipes import RECIPES, get_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_comes_back_from_yaml(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPES[name].to_yaml())
    assert read_recipe(path) == RECIPES[name]


@pytest.mark.parametrize("name", RECIPES)
def test_every_field_has_help(name: str) -> None:
    def undocumented(values: BaseModel, prefix: str = "") -> list[str]:
        names = [prefix + field for field, info in type(values).model_fields.items() if not info.description]
        for field, value in values.__dict__.items():
            names += undocumented(value, f"{prefix}{field}.") if isinstance(value, BaseModel) else []
        return names

    assert undocumented(RECIPES[name]) == []


def test_the_tutorial_recipe_is_the_tutorials_job() -> None:
    recipe = RECIPES["fashion-mnist-tutorial"]
    assert (recipe.epochs, recipe.batch_size, recipe.image_size, recipe.normalize) == (5, 256, 96, False)
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == ("adam", 0.001, 0)
    assert recipe.schedule.kind == "constant"
    assert recipe.drop_last is False
    assert recipe.label_smoothing == recipe.augmentation.mixup == recipe.augmentation.crop_padding == 0
    assert recipe.augmentation.horizontal_flip == "off"


def test_overrides_reach_nested_fields() -> None:
    recipe = get_recipe("digits", optimizer__learning_rate=0.25, epochs=3, schedule={"kind": "cosine"})
    assert (recipe.optimizer.learning_rate, recipe.epochs, recipe.schedule.kind) == (0.25, 3, "cosine")
    assert recipe.optimizer.weight_decay == RECIPES["digits"].optimizer.weight_decay
    assert recipe.schedule.warmup == RECIPES["digits"].schedule.warmup


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epochs": 0}, "epochs.*greater than 0"),
        ({"network": "resnt18"}, "did you mean resnet18"),
        ({"optimizer__learning_rate": -1}, "optimizer.learning_rate"),
        ({"no_such_field": 1}, "no_such_field"),
        ({"batch_size": 10, "accumulation": 3}, "cannot be cut"),
        ({"accumulation": 2, "drop_last": False}, "set drop_last"),
        ({"pruning": 0.3, "augmentation__mixup": 0.2}, "one or the other"),
        ({"averaging__start": 0.5}, "averaging.decay is 0"),
        ({"pixel_mean": True, "normalize": False}, "pixel_mean is a way to normalize"),
        ({"pixel_mean": True, "evaluation__image_size": 32}, "one size only"),
        ({"loss__threshold": 0.2}, "loss.threshold is for binary-cross-entropy"),
        ({"augmentation__repeats": 2, "pruning": 0.3}, "use one of them"),
        ({"augmentation__crop": {"kind": "area", "area": (0.5, 0.1)}}, "area=.*is no range"),
        ({"augmentation__policy": {"magnitude": 11}}, "augmentation.policy.magnitude"),
    ],
)
def test_wrong_values_are_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_recipe("digits", **overrides)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'fashion-mnist'"):
        get_recipe("fashion-minst")


@pytest.mark.parametrize("text", ["epochs: [", "just words", "epochs: 0", "unknown: 1"])
def test_a_broken_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yaml is not a recipe"):
        read_recipe(path)


def test_the_recipes_data_sets_exist() -> None:
    from resnets.classification.user_data import IMAGENET
    from resnets.data.datasets.catalogue import DATASETS

    assert {recipe.data for recipe in RECIPES.values()} <= {*DATASETS, IMAGENET}
