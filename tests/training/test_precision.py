"""bf16 where its gradients can be trusted."""

import pytest

from resnets.classification.recipe import Recipe
from resnets.core import precision
from resnets.tasks import open_session, train
from resnets.training.engine.precision import has_idle_taps


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "padding", "dilation", "idle"),
    [
        (1, 3, 2, 1, 1, True),  # the outer taps see padding alone
        (1, 3, 1, 1, 1, True),
        (2, 3, 1, 1, 1, False),
        (2, 3, 2, 1, 1, True),  # one position, whose first tap is in the padding
        (3, 3, 2, 1, 1, False),
        (2, 7, 1, 3, 1, True),
        (4, 7, 1, 3, 1, False),
        (1, 1, 2, 0, 1, False),
        (2, 3, 1, 2, 2, True),
        (3, 3, 1, 2, 2, False),
    ],
)
def test_taps_by_hand(length: int, kernel: int, stride: int, padding: int, dilation: int, idle: bool) -> None:
    assert has_idle_taps(length, kernel, stride, padding, dilation) is idle


def test_a_network_too_deep_for_its_images_trains_in_float32_and_says_so(
    small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    small_recipe = small_recipe.updated(precision="bf16")
    deep = small_recipe.updated(network="resnet18:width=16,stem_width=16")
    monkeypatch.setattr(precision, "native_bf16", lambda device: True)
    session = open_session(deep, said.append)
    assert session.step.precision == "fp32"
    assert any("bf16 gradients on a CPU cannot be trusted" in message for message in said)
    assert session.network.training
    said.clear()
    assert open_session(small_recipe, said.append).step.precision == "bf16"
    assert said == []
    assert open_session(deep.updated(precision="fp32"), said.append).step.precision == "fp32"
    assert said == []


def test_such_a_run_stays_finite(small_recipe: Recipe, tmp_path: object) -> None:
    run = train(
        small_recipe.updated(
            network="resnet18:width=16,stem_width=16", epochs=1, report=False, output=tmp_path, evaluation__every=0
        )
    )
    assert run.metrics["top1"] > 0.1
