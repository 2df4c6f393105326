"""From a folder of one's own to a recipe: a segmenter that knows VOC's classes where its weights can be had."""

from __future__ import annotations

from pathlib import Path

from ..training.settings import Optimizer
from ..weights.reachable import reachable
from .recipe import SegmentationRecipe

PRETRAINED = "coco-with-voc-labels-v1"


def first_recipe(data: str) -> tuple[SegmentationRecipe, tuple[str, ...]]:
    """The recipe for a user's own pictures with masks, and the reasons of what was chosen, a line each."""
    from .weights import list_segmenter_weights

    own = SegmentationRecipe(name=Path(data).resolve().stem, data=data)
    had, why = reachable(list_segmenter_weights()[f"fcn-resnet50/{PRETRAINED}"][1].url, "COCO")
    if had:
        chosen = own.updated(weights=PRETRAINED)
        return chosen, (f"--segmenter {chosen.segmenter} --weights {PRETRAINED}   {why}",)
    chosen = own.updated(
        segmenter="fcn-resnet18", epochs=60, optimizer=Optimizer(name="adamw", learning_rate=1e-3, weight_decay=0.05).model_dump()
    )
    return chosen, (
        f"--segmenter {chosen.segmenter}   no pretrained weights: {why}",
        f"--epochs {chosen.epochs} --optimizer.name adamw   fresh weights need more passes",
    )
