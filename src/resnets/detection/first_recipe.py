"""From a folder of one's own to a recipe: a detector that knows COCO's objects where its weights can be had."""

from __future__ import annotations

from pathlib import Path

from ..training.settings import Optimizer
from ..weights.reachable import reachable
from .recipe import DetectionRecipe

PRETRAINED = "coco-v1"


def first_recipe(data: str) -> tuple[DetectionRecipe, tuple[str, ...]]:
    """The recipe for a user's own pictures in VOC's or COCO's layout, and the reasons of what was chosen, a line each.

    Fine-tuning: torchvision's resnet50-fpn at a tenth of the rate of its reference, in proportion to the batch. From fresh weights: the
    smaller resnet18-fpn, whose norms learn, by adamw, which needs no tuning of its rate.
    """
    from .torchvision_weights import release_for
    from .zoo import get_detector_spec

    own = DetectionRecipe(name=Path(data).resolve().stem, data=data)
    had, why = reachable(release_for(get_detector_spec("resnet50-fpn")).url, "COCO")
    if had:
        chosen = own.updated(weights=PRETRAINED)
        return chosen, (f"--detector {chosen.detector} --weights {PRETRAINED}   {why}",)
    chosen = own.updated(
        detector="resnet18-fpn", epochs=36, batch_size=4,
        optimizer=Optimizer(name="adamw", learning_rate=3e-4, weight_decay=0.05).model_dump(),
    )  # fmt: skip
    return chosen, (
        f"--detector {chosen.detector}   no pretrained weights: {why}",
        f"--epochs {chosen.epochs} --optimizer.name adamw   fresh weights need more passes",
    )
