"""What a layout is: rows that say how a foreign package calls our modules, and the check that it can express a spec.

A row maps a module path of ours to one of theirs, such as `conv{stage}_x.{unit}.residual.conv{layer}` to
`layer{stage-1}.{unit}.conv{layer}`. Placeholders in ours match numbers; theirs may shift one by a constant, because packages
count from elsewhere. The rows are used both ways, so each must keep every number of its path.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...core.errors import UserError
from ...networks import NetworkSpec


@dataclass(frozen=True)
class Transform:
    """How a tensor of ours is arranged in a package's file, and back."""

    to_theirs: Callable[[Tensor], Tensor]
    to_ours: Callable[[Tensor], Tensor]


POINTWISE = Transform(lambda ours: ours[..., None, None], lambda theirs: theirs.flatten(1))
"""A linear layer's weight, (K, C), is that of a 1x1 convolution, (K, C, 1, 1)."""
REVERSED_CHANNELS = Transform(lambda ours: ours.flip(1), lambda theirs: theirs.flip(1))
"""A convolution's weight, (O, C, H, W), takes its input channels in reverse order (blue, green, red)."""
BACKGROUND_LAST = Transform(lambda ours: ours.roll(-1, 0), lambda theirs: theirs.roll(1, 0))
"""The first of K classes, the background, comes last."""


def without_background(rows: int) -> Transform:
    """The background's `rows` leading rows, which nothing reads, are not in the file; they come back as zeros."""
    return Transform(lambda ours: ours[rows:], lambda theirs: torch.cat([theirs.new_zeros(rows, *theirs.shape[1:]), theirs]))


def transposed_groups(rows: int, columns: int) -> Transform:
    """The first axis is a table of groups of outputs, (columns, rows) of ours and (rows, columns) of theirs."""
    return Transform(
        lambda ours: ours.reshape(columns, rows, -1, *ours.shape[1:]).transpose(0, 1).flatten(0, 2),
        lambda theirs: theirs.reshape(rows, columns, -1, *theirs.shape[1:]).transpose(0, 1).flatten(0, 2),
    )


@dataclass(frozen=True)
class Row:
    """A package's name for a module of ours, where more than the name differs."""

    theirs: str
    transforms: Mapping[str, Transform] = dataclasses.field(default_factory=dict)
    """By the tensor's last name, such as "weight"; a tensor without one is arranged alike."""
    former: str = ""
    """The module's name in older files."""


Rows = Mapping[str, str | Row]
"""Module path of ours -> theirs, with placeholders."""


def beneath(rows: Rows, ours: str, theirs: str) -> dict[str, str | Row]:
    """The rows of a module that is under other paths, such as a detector's network."""
    return {
        ours + name: theirs + row if isinstance(row, str) else replace(row, theirs=theirs + row.theirs)
        for name, row in rows.items()
    }


@dataclass(frozen=True)
class Layout:
    """A foreign package: its table for a spec, and its model names."""

    package: str
    table: Callable[[NetworkSpec], Rows]
    """The names of a spec's modules. Raises ValueError where the package cannot express the spec."""
    peers: Mapping[str, str]
    """The package's model names -> networks of the zoo, with overrides (`resnet50:stem=deep`)."""
    plain: Callable[[str], str] = str
    """Takes from a model name what does not change the network (an owner, a tag)."""


_PLACEHOLDER = re.compile(r"\\\{(\w+)\\\}")  # as re.escape writes it


def renaming(rows: Rows) -> Callable[[str], Row | None]:
    """The function from a module path of ours to its row with the numbers filled in, or to None if no row matches; the first counts."""
    patterns = [
        (re.compile(_PLACEHOLDER.sub(r"(?P<\1>\\d+)", re.escape(ours))), Row(row) if isinstance(row, str) else row)
        for ours, row in rows.items()
    ]

    def rename(path: str) -> Row | None:
        for pattern, row in patterns:
            if match := pattern.fullmatch(path):
                numbers = {name: int(text) for name, text in match.groupdict().items()}
                return replace(row, theirs=_filled(row.theirs, numbers), former=_filled(row.former, numbers))
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
