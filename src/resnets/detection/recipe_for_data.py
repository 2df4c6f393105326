"""From a folder of one's own to a recipe: a detector that knows COCO's objects where its weights can be had."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..training.choices import Choices, Reason
from ..weights.reachable import reachable
from .recipe import DetectionRecipe

PRETRAINED = "coco-v1"


def recipe_for_data(data: str, given: Mapping[str, Any] | None = None) -> tuple[DetectionRecipe, tuple[Reason, ...]]:
    """The recipe for a user's own images in VOC's or COCO's layout, and the reasons of what was chosen.

    Fine-tuning: torchvision's resnet50-fpn at a tenth of the rate of its reference (0.02 for a batch of 16), in proportion to the batch. From
    fresh weights: the smaller resnet18-fpn, whose norms learn, by adamw, which needs little tuning of its rate.

    Args:
        data: the folder.
        given: the user's own values by dotted name of the recipe's field; all that is chosen follows from them.

    Raises:
        ValueError: the user's values do not fit, or not together.
    """
    from .torchvision_weights import release_for
    from .zoo import get_detector_spec

    choices = Choices({} if given is None else given)
    choose = choices.choose
    if "weights" in choices.given:
        had, why = choices.given["weights"] is not None, "you chose them"
    elif "detector" in choices.given:
        had, why = False, "you chose the detector"
    else:
        had, why = reachable(release_for(get_detector_spec("resnet50-fpn")).url, "COCO")
    fresh = f"fresh weights ({why})"
    if had:
        choose("detector", "resnet50-fpn", "the one whose weights are known")
        choose("weights", choices.get("weights", PRETRAINED), why)
    else:
        choose("detector", "resnet18-fpn", f"a small one; {fresh}")
    choose("epochs", 12 if had else 36, "COCO's reference" if had else "fresh weights need more passes")
    batch = choose("batch_size", 2 if had else 4, "as many as a small machine holds")
    name = choose(
        "optimizer.name", "sgd" if had else "adamw", "as the weights were made" if had else "needs little tuning of its rate"
    )
    if name in ("sgd", "muon"):
        choose("optimizer.learning_rate", float(f"{0.00125 * batch:.3g}"), f"in proportion to the batch of {batch}")
        choose("optimizer.weight_decay", 1e-4, "COCO's reference")
    else:
        choose("optimizer.learning_rate", float(f"{3e-4 * (batch / 4) ** 0.5:.3g}"), f"by the square root of the batch of {batch}")
        choose("optimizer.weight_decay", 0.05, "against overfitting")
    return choices.recipe(DetectionRecipe(name=Path(data).resolve().stem, data=data)), tuple(choices.reasons)
