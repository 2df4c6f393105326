"""The named recipes, one short file a paper. Each is a `Recipe` headed by its proof: source, command, hardware, time and result.

A result is either measured, with the record in results/, or published, with its source. Importing this loads no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from ...core.errors import UserError
from ..recipe import Recipe
from . import digits, fashion_mnist, he2015, he2016, resnext, strikes_back, torchvision_v2, tutorial, wide

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        fashion_mnist.FAST,
        fashion_mnist.ACCURATE,
        tutorial.TUTORIAL,
        digits.DIGITS,
        he2015.CIFAR,
        he2015.CIFAR_110,
        he2016.CIFAR,
        wide.CIFAR,
        resnext.CIFAR,
        he2015.IMAGENET,
        he2016.IMAGENET,
        resnext.IMAGENET,
        torchvision_v2.IMAGENET,
        strikes_back.A1,
        strikes_back.A2,
        strikes_back.A3,
    )
}
"""By name; their data is looked for when one is carried out, not before."""


def get_recipe(name: str, **overrides: Any) -> Recipe:
    """A named recipe, with other values for some of its fields (nested as `optimizer__learning_rate=0.2`).

    Raises:
        ValueError: no such recipe or field; the message names the nearest.
    """
    if name not in RECIPES:
        raise UserError(nearest(name, RECIPES))
    return RECIPES[name].updated(**overrides) if overrides else RECIPES[name]


def nearest(name: str, recipes: Mapping[str, Any]) -> str:
    """Says that there is no recipe of that name, and which is nearest."""
    near = difflib.get_close_matches(name, recipes, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(recipes)}."
    return f"there is no recipe named {name!r}; {hint}"
