"""State dicts of other packages, to and from ours: every key used, every shape checked, or an error.

Legend: K classes, C channels. A *layout* is a package's way of naming a network's tensors; `resnets` is our own.
One table a layout (torchvision, timm, transformers, detectron2), generated from the spec, serves both directions.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ...core.errors import UserError
from ...networks import NetworkSpec, build, get_spec
from .detectron2 import DETECTRON2
from .engine import Renaming, foreign_names, own_names, renamed
from .table import Layout
from .timm import TIMM
from .torchvision import TORCHVISION
from .transformers import TRANSFORMERS

__all__ = ["LAYOUTS", "convert", "layout_keys", "names_in", "spec_for"]

LAYOUTS: dict[str, Layout] = {layout.package: layout for layout in (TORCHVISION, TIMM, TRANSFORMERS, DETECTRON2)}
"""The foreign layouts by name."""


class TaskSpec(Protocol):
    """The spec of a task's module, such as a detector: it names the module (of Python) whose `names_in` knows its layouts."""

    layouts_module: ClassVar[str]

    def __hash__(self) -> int: ...


Described = NetworkSpec | TaskSpec


def layout_keys(layout: str, spec: Described) -> dict[str, str]:
    """Name of ours -> theirs for every parameter and buffer of the spec's module, in our state dict's order; the counters of frozen
    norms, which no package writes, are among them.

    Raises:
        ValueError: no such layout, or one that has no such network.
    """
    return {ours: place.name for ours, place in names_in(layout, spec).places.items()}


def spec_for(layout: str, peer_name: str) -> NetworkSpec:
    """The spec of a package's network by the package's own name for it, such as ("timm", "resnetv2_50").

    Raises:
        ValueError: no such layout, or a name that it does not have or that no spec of ours can describe.
    """
    peers, name = _layout(layout).peers, _layout(layout).plain(peer_name)
    if name not in peers:
        near = difflib.get_close_matches(name, peers, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"its networks are {', '.join(peers)}."
        raise UserError(f"there is no {layout} network named {peer_name!r} with a spec here; {hint}")
    return get_spec(peers[name])


def convert(
    state_dict: Mapping[str, Tensor], *, spec: Described, source: str = "torchvision", target: str = "resnets"
) -> dict[str, Tensor]:
    """The state dict of a spec's network, detector or segmenter under another layout's names. Tensors that are arranged alike are the
    same storage, not copies.

    Args:
        state_dict: all parameters and buffers, in the source's layout. Its batch norms' `num_batches_tracked` (which
            no forward pass in eval mode reads) may be absent and is then 0.
        spec: a `NetworkSpec`, `DetectorSpec` or `SegmenterSpec`.
        source: "resnets" or one of `LAYOUTS`.
        target: "resnets" or one of `LAYOUTS`. Frozen batch norms have no `num_batches_tracked` in the packages, so that it is left
            out for them there.

    Raises:
        ValueError: no such layout or one that has no such module; keys that are missing or left over; tensors of another shape.
    """
    return renamed(state_dict, names_in(source, spec), names_in(target, spec))


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise UserError(f"there is no layout {name!r}; the layouts are resnets, {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


@lru_cache(maxsize=16)
def _shapes(spec: NetworkSpec) -> dict[str, torch.Size]:
    """Shapes of our state dict, by our names."""
    with torch.device("meta"):
        network = build(spec)
    return {name: value.shape for name, value in network.state_dict().items()}


@lru_cache(maxsize=16)
def names_in(layout: str, spec: Described) -> Renaming:
    """Where each tensor of the spec's module is in a layout.

    Raises:
        ValueError: no such layout, or one that has no such module.
    """
    if not isinstance(spec, NetworkSpec):
        described: Renaming = import_module(spec.layouts_module).names_in(layout, spec)
        return described
    if layout == "resnets":
        return own_names(_shapes(spec), "network")
    uncounted = "" if spec.norm == "frozen-batch" else None
    return foreign_names(layout, "network", _shapes(spec), _layout(layout).table(spec), uncounted=uncounted)
