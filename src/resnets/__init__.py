"""resnets: every residual network of the papers from one description.

    network = resnets.create_model("resnet50", num_classes=10)
    logits = network(images)                      # (N, C, H, W) float32 to (N, 10)
    maps = network.features(images)               # conv1, conv2_x, ..., conv5_x

Importing this package loads no torch; the first call that needs it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .networks import NetworkSpec, get_spec, list_models

if TYPE_CHECKING:
    from .networks import Network, build
    from .training.recipe import Recipe
    from .training.recipes import get_recipe
    from .training.run import Run, train
    from .weights.model_file import load_model

__all__ = [
    "Network", "NetworkSpec", "Recipe", "Run", "build", "create_model", "get_recipe", "get_spec", "list_models", "load_model", "train",
]  # fmt: skip

_HOMES = {
    "Network": "networks",
    "build": "networks",
    "Recipe": "training.recipe",
    "get_recipe": "training.recipes",
    "Run": "training.run",
    "train": "training.run",
    "load_model": "weights.model_file",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def create_model(name_or_spec: str | NetworkSpec, *, num_classes: int | None = None, **overrides: Any) -> Network:
    """A freshly initialised network, by name or spec, with other values for some of its spec's fields.

    Args:
        name_or_spec: a name that `list_models` knows or a family's, such as "wrn-28-10", or a spec.
        num_classes: number of logits, where it differs from the spec's.
        overrides: fields of `NetworkSpec`, such as in_channels=1 or shortcut="A".

    Raises:
        ValueError: an unknown name or field, or a value that does not fit; the message names the nearest right one.
    """
    from .networks import build

    if num_classes is not None:
        overrides["num_classes"] = num_classes
    spec = get_spec(name_or_spec, **overrides) if isinstance(name_or_spec, str) else name_or_spec.updated(**overrides)
    return build(spec)
