"""From a folder of one's own to a recipe: a segmenter that knows VOC's classes where its weights can be had."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..training.choices import Choices, Reason
from ..weights.reachable import reachable
from .recipe import SegmentationRecipe

PRETRAINED = "coco-with-voc-labels-v1"


def recipe_for_data(data: str, given: Mapping[str, Any] | None = None) -> tuple[SegmentationRecipe, tuple[Reason, ...]]:
    """The recipe for a user's own images with masks, and the reasons of what was chosen.

    Args:
        data: the folder.
        given: the user's own values by dotted name of the recipe's field; all that is chosen follows from them.

    Raises:
        ValueError: the user's values do not fit, or not together.
    """
    from .weights import list_segmenter_weights

    choices = Choices({} if given is None else given)
    choose = choices.choose
    if "weights" in choices.given:
        had, why = choices.given["weights"] is not None, "you chose them"
    elif "segmenter" in choices.given or "network_weights" in choices.given:
        had, why = False, "you chose the segmenter"
    else:
        had, why = reachable(list_segmenter_weights()[f"fcn-resnet50/{PRETRAINED}"][1].url, "COCO")
    if had:
        choose("segmenter", "fcn-resnet50", "the one whose weights are known")
        choose("weights", choices.get("weights", PRETRAINED), why)
    else:
        choose("segmenter", "fcn-resnet18", f"a small one; fresh weights ({why})")
    choose("epochs", 30 if had else 60, "few, for the weights are good already" if had else "fresh weights need more passes")
    batch = choose("batch_size", 8, "as many as a small machine holds")
    name = choose(
        "optimizer.name", "sgd" if had else "adamw", "as the weights were made" if had else "needs little tuning of its rate"
    )
    base = 0.01 if name in ("sgd", "muon") else 1e-3
    choose("optimizer.learning_rate", float(f"{base * (batch / 8) ** 0.5:.3g}"), f"by the square root of the batch of {batch}")
    choose("optimizer.weight_decay", 1e-4 if name in ("sgd", "muon") else 0.05, "against overfitting")
    return choices.recipe(SegmentationRecipe(name=Path(data).resolve().stem, data=data)), tuple(choices.reasons)
