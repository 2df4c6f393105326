"""resnets: every residual network of the papers from one description.

    network = resnets.create_model("resnet50", num_classes=10)
    logits = network(images)                      # (N, C, H, W) float32 to (N, 10)
    maps = network.features(images)               # conv1, conv2_x, ..., conv5_x
    network = resnets.create_model("resnet50", weights="imagenet1k-v2")     # with .classes and .preprocessing

Importing this package loads no torch; the first call that needs it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core.errors import UserError
from .core.lazy import lazy_names
from .networks import NetworkSpec, get_spec, list_models
from .networks.zoo import split_name

if TYPE_CHECKING:
    from pathlib import Path

    from .classification.recipe import Recipe
    from .classification.recipes import get_recipe
    from .detection import create_detector
    from .networks import Network, build
    from .segmentation import create_segmenter
    from .tasks import load_model, train
    from .training.run import Run
    from .weights.adapt import InputWeights
    from .weights.catalogue import list_weights

__all__ = [
    "Network", "NetworkSpec", "Recipe", "Run", "build", "create_detector", "create_model", "create_segmenter", "get_recipe", "get_spec",
    "list_models", "list_weights", "load_model", "train",
]  # fmt: skip

_HOMES = {
    "Network": "networks",
    "build": "networks",
    "Recipe": "classification.recipe",
    "get_recipe": "classification.recipes",
    "Run": "training.run",
    "tasks": "tasks",
    "train": "tasks",
    "list_weights": "weights.catalogue",
    "load_model": "tasks",
    "weights": "weights",
    "create_detector": "detection",
    "create_segmenter": "segmentation",
    "detection": "detection",
    "segmentation": "segmentation",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)


def create_model(
    name_or_spec: str | NetworkSpec,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    input_weights: InputWeights | None = None,
    **overrides: Any,
) -> Network:
    """A network by name or spec, with other values for some of its spec's fields; freshly initialised, or with pretrained weights.

    Args:
        name_or_spec: a name that `list_models` knows or a family's, such as "wrn-28-10", or a spec.
        num_classes: number of logits, where it differs from the spec's.
        weights: None for fresh ones; a label of `list_weights` ("imagenet1k-v2"); "timm/resnet50.a1_in1k" or
            "transformers/microsoft/resnet-50" from the hub; or the path of a model file, of another package's file, or of a folder
            in timm's or transformers' format. The network is then in evaluation mode and has `.classes` and `.preprocessing` where
            the weights say them. Numbers of classes and input channels that the caller does not state are the weights'; with
            another number of classes the head is fresh, and the logger "resnets" says so.
        input_weights: "sum" or "repeat", how the first layer's weights are adapted to other `in_channels`; by default "sum" for
            fewer channels and "repeat" for more. The response to an input that is equal in all channels stays.
        overrides: fields of `NetworkSpec`, such as in_channels=1 or shortcut="A".

    Raises:
        ValueError: an unknown name, field or weights (the message names the nearest right one), a value that does not fit, or weights
            of another network (the message names the layer and both shapes).
        resnets.weights.WeightsUnavailable: the weights would have to be fetched and cannot be; the message says what to put where.
    """
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    spec = get_spec(name_or_spec, **overrides) if isinstance(name_or_spec, str) else name_or_spec.updated(**overrides)
    if weights is None:
        if input_weights is not None:
            raise UserError(f"input_weights={input_weights!r} adapts pretrained weights; name them with weights=")
        from .networks import build

        return build(spec)
    from .weights.pretrained import load_pretrained

    stated = set(overrides) | (
        set(split_name(name_or_spec)[1]) if isinstance(name_or_spec, str) else {"num_classes", "in_channels"}
    )
    return load_pretrained(spec, weights, input_weights=input_weights, stated=frozenset(stated)).network
