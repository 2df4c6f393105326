"""A recipe turned into living objects."""

from typing import Any

import pytest
import torch

from resnets.classification import session as session_module
from resnets.classification.recipe import Recipe
from resnets.data.loaders.resident import ResidentLoader
from resnets.tasks import open_session
from resnets.training.checkpoint import Position
from resnets.training.loop import train_loop
from resnets.training.session import choose_device


def quiet(message: str) -> None:
    """Takes the messages of a session that no test reads."""


def test_the_network_fits_the_data() -> None:
    session = open_session(Recipe(data="digits", network="cifar-resnet8:width=16", image_size=12), quiet)
    assert (session.spec.in_channels, session.spec.num_classes, session.spec.input_size) == (1, 10, 12)


def test_one_preprocessing_serves_training_and_evaluation(small_recipe: Recipe) -> None:
    session = open_session(small_recipe.updated(image_size=12), quiet)
    assert isinstance(session.training, ResidentLoader)
    assert isinstance(session.feed.evaluation, ResidentLoader)
    assert session.training.preprocessing == session.feed.evaluation.preprocessing == session.preprocessing
    images = next(session.training.epoch(0)).images
    assert images.shape == (64, 1, 12, 12)
    assert abs(float(images.mean())) < 0.15
    assert open_session(small_recipe.updated(normalize=False), quiet).preprocessing.mean == ()


def test_a_holdout_takes_the_test_sets_place(small_recipe: Recipe) -> None:
    session = open_session(small_recipe.updated(holdout=0.2), quiet)
    assert len(session.feed.evaluation) == 287  # of 1,437
    assert len(session.training) == 1150
    assert "held out of the training set" in session.feed.evaluated_on


def test_flips_follow_the_data_set(small_recipe: Recipe) -> None:
    """Digits are not mirrored unless the recipe says so."""
    plain = open_session(small_recipe.updated(augmentation={"crop_padding": 0}), quiet)
    images = next(plain.training.epoch(0)).images
    assert isinstance(plain.training, ResidentLoader)
    unchanged = {tuple(image.flatten().tolist()) for image in plain.preprocessing(plain.training.images)}
    assert all(tuple(image.flatten().tolist()) in unchanged for image in images)
    flipped = open_session(small_recipe.updated(augmentation={"crop_padding": 0, "horizontal_flip": "random"}), quiet)
    images = next(flipped.training.epoch(0)).images
    mirrored = sum(tuple(image.flatten().tolist()) not in unchanged for image in images)
    assert 10 < mirrored < 54


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    for absent in ("cuda:99", "nonsense"):
        with pytest.raises(ValueError, match=f"device '{absent}' is not available here"):
            choose_device(absent)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"compile": True}, {"mode": None}),
        ({"compile": True, "cuda_graphs": True}, {"mode": "reduce-overhead"}),
        ({"cuda_graphs": True}, {"backend": "cudagraphs"}),
    ],
)
def test_compilation_is_asked_for_as_the_recipe_says(
    small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool], expected: dict[str, Any]
) -> None:
    asked: list[dict[str, Any]] = []
    real = torch.compile

    def compile_eagerly(network: torch.nn.Module, **options: Any) -> Any:
        asked.append(options)
        return real(network, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    recipe = small_recipe.updated(**flags)
    if "cuda_graphs" in flags:
        with pytest.raises(ValueError, match="cuda_graphs needs an NVIDIA GPU"):
            open_session(recipe, quiet)
        session_module.compiled(torch.nn.Identity(), recipe)  # type: ignore[arg-type]
        assert asked == [expected]
        return
    session = open_session(recipe.updated(max_steps=3, log_every=1, evaluation__every=0), quiet)
    assert asked == [expected]
    events: list[dict[str, Any]] = []
    train_loop(session, Position(), events.append, lambda _: None, lambda _result, _epoch: None, 0.0)
    assert [event["step"] for event in events] == [1, 2, 3]
    assert all(not name.startswith("_orig_mod") for name in session.network.state_dict())


def test_an_image_too_small_for_the_network(small_recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=r"cannot take images of 8 x 8 pixels.*larger --image-size"):
        open_session(small_recipe.updated(network="resnet18:stem=inception-v4"), quiet)


def test_a_batch_that_the_data_makes_smaller_must_still_divide(small_recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="batch of 1437 cannot be cut into accumulation=2"):
        open_session(small_recipe.updated(batch_size=4096, accumulation=2), quiet)
