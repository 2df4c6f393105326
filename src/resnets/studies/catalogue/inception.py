"""Szegedy 2016: Inception-v4 against Inception-ResNet, and scaled against unscaled residuals."""

from __future__ import annotations

from ..experiment import Answer, Arm, Comparison, Rung, Study
from .settings import INCEPTION_IMAGENET, NO_AUGMENTATION

_RECIPE = {
    "optimizer__name": "sgd",
    "optimizer__learning_rate": 0.045,
    "optimizer__momentum": 0.9,
    "optimizer__nesterov": False,
    "optimizer__weight_decay": 4e-5,
    "schedule__kind": "linear",
    "batch_size": 32,
}
_NAMES = {
    "Inception-v4": "inception-v4",
    "Inception-ResNet-v1": "inception-resnet-v1",
    "Inception-ResNet-v2": "inception-resnet-v2",
    "v2 unscaled": "inception-resnet-v2:residual_scale=1.0",
}
_SHALLOW = {
    "Inception-v4": "inception-v4:blocks=[1,2,1]",
    "Inception-ResNet-v1": "inception-resnet-v1:blocks=[1,2,1]",
    "Inception-ResNet-v2": "inception-resnet-v2:blocks=[2,4,2]",
    "v2 unscaled": "inception-resnet-v2:blocks=[2,4,2],residual_scale=1.0",
}
_TOP1 = {"metric": "top-1 error % (single crop)"}

INCEPTION = Study(
    name="inception",
    title="Inception with and without residuals",
    question="Do residual connections speed up Inception, and does scaling the residuals keep it stable?",
    claim="Inception-ResNet-v2 learns faster than Inception-v4, and with scaled residuals better than without.",
    answers_to="Szegedy 2016 Table 2, Fig. 20-26",
    paper=INCEPTION_IMAGENET,
    recipe=_RECIPE,
    arms=tuple(
        Arm(
            name=name,
            paper_network=network,
            answers=None if name == "v2 unscaled" else Answer(table="inception/table_2", model=name, where=_TOP1),
        )
        for name, network in _NAMES.items()
    ),
    rungs=(
        Rung(name="a third of the blocks", networks=_SHALLOW, minimum_steps=200, recipe={**NO_AUGMENTATION, "image_size": 75}),
        Rung(name="all blocks, small images", networks=_NAMES, minimum_steps=2_000, recipe={**NO_AUGMENTATION, "image_size": 96}),
        Rung(name="paper", networks=_NAMES, minimum_steps=100_000, recipe={"image_size": 299}),
    ),
    comparisons=(
        Comparison(
            statement="over the whole run {arm} has a higher training error than {other}",
            metric="running_error",
            arm="Inception-v4",
            other="Inception-ResNet-v2",
        ),
        Comparison(
            statement="over the whole run {arm} has a higher training error than {other}",
            metric="running_error",
            arm="v2 unscaled",
            other="Inception-ResNet-v2",
        ),
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="Inception-v4",
            other="Inception-ResNet-v2",
            key=False,
        ),
    ),
    metrics=("test_error", "train_error", "running_error"),
    figures=("curves", "dots"),
)
