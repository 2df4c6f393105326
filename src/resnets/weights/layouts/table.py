"""What a layout is: rows that say how a foreign package calls our modules, and the check that it can express a spec.

A row maps a module path of ours to one of theirs, such as `conv{stage}_x.{unit}.residual.conv{layer}` to
`layer{stage-1}.{unit}.conv{layer}`. Placeholders in ours match numbers; theirs may shift one by a constant, because packages
count from elsewhere. The rows are used both ways, so each must keep every number of its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import UserError
from ...networks import NetworkSpec


@dataclass(frozen=True)
class Table:
    """One package's names for one spec's network."""

    rows: Mapping[str, str]
    """Module path of ours -> theirs, with placeholders."""
    convolutional_classifier: bool = False
    """The classifier is a 1x1 convolution: its weight is (K, C, 1, 1) where ours is (K, C)."""


@dataclass(frozen=True)
class Layout:
    """A foreign package: its table for a spec, and its model names."""

    package: str
    table: Callable[[NetworkSpec], Table]
    """Raises ValueError where the package cannot express the spec."""
    peers: Mapping[str, str]
    """The package's model names -> networks of the zoo, with overrides (`resnet50:stem=deep`)."""
    plain: Callable[[str], str] = str
    """Takes from a model name what does not change the network (an owner, a tag)."""


_PLACEHOLDER = re.compile(r"\\\{(\w+)\\\}")  # as re.escape writes it


def renaming(rows: Mapping[str, str]) -> Callable[[str], str | None]:
    """The function from a module path of ours to theirs, or to None if no row matches; the first row that matches counts."""
    patterns = [(re.compile(_PLACEHOLDER.sub(r"(?P<\1>\\d+)", re.escape(ours))), theirs) for ours, theirs in rows.items()]

    def rename(path: str) -> str | None:
        for pattern, theirs in patterns:
            match = pattern.fullmatch(path)
            if match:
                return _filled(theirs, {name: int(text) for name, text in match.groupdict().items()})
        return None

    return rename


def _filled(template: str, numbers: Mapping[str, int]) -> str:
    return re.sub(r"\{(\w+)([+-]\d+)?\}", lambda m: str(numbers[m[1]] + int(m[2] or 0)), template)


def require(package: str, spec: NetworkSpec, **allowed: tuple[Any, ...]) -> None:
    """Checks fields or properties of `spec` against the values that a package's networks have.

    Raises:
        ValueError: the first field with another value, and the values that there are.
    """
    for field, values in allowed.items():
        actual = getattr(spec, field)
        if actual not in values:
            choice = " or ".join(repr(value) for value in values)
            raise UserError(f"{package} has no network with {field}={actual!r}: its networks have {choice}")


def require_original(package: str, spec: NetworkSpec, **allowed: tuple[Any, ...]) -> None:
    """`require`, for packages whose networks are those of He 2015 with projections; `allowed` replaces or adds fields."""
    stages = len(spec.blocks)
    common: dict[str, tuple[Any, ...]] = {
        "activation_order": ("original",),
        "residual": ("basic", "bottleneck"),
        "shortcut": ("B",),
        "stem": ("imagenet",),
        "stem_reduction": (4,),
        "stage_strides": (tuple(min(2, i + 1) for i in range(stages)),),
        "stage_scales": ((1.0,) * stages,),
        "squeeze_excitation": (0,),
        "projection_norm": (True,),
        "join": ("sum",),
        "shortcut_scale": (1.0,),
        "linear_last_unit": (False,),
        "transitions": ((), (None,) * stages),
        "final_width": (0,),
        "conv_bias": (False,),
        "head": ("classes",),
        "dims": (2,),
    }
    if spec.residual == "bottleneck":
        common["bottleneck_stride"] = ("3x3",)
    require(package, spec, **{**common, **allowed})
