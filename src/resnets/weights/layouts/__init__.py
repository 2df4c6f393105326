"""State dicts of other packages, to and from ours: every key used, every shape checked, or an error.

Legend: K classes, C channels. A *layout* is a package's way of naming a network's tensors; `resnets` is our own.
One table a layout (torchvision, timm, transformers, detectron2), generated from the spec, serves both directions.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from ...core.errors import UserError
from ...networks import NetworkSpec, build, get_spec
from .detectron2 import DETECTRON2
from .table import Layout, renaming
from .timm import TIMM
from .torchvision import TORCHVISION
from .transformers import TRANSFORMERS

__all__ = ["LAYOUTS", "convert", "layout_keys", "spec_for"]

LAYOUTS: dict[str, Layout] = {layout.package: layout for layout in (TORCHVISION, TIMM, TRANSFORMERS, DETECTRON2)}
"""The foreign layouts by name."""

_COUNTER = "num_batches_tracked"
_LISTED = 12


def layout_keys(layout: str, spec: NetworkSpec) -> dict[str, str]:
    """Name of ours -> theirs for every parameter and buffer of the spec's network, in our state dict's order.

    Raises:
        ValueError: no such layout, or one that has no such network.
    """
    return {ours: theirs for ours, (theirs, _) in _entries(layout, spec).items()}


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
    state_dict: Mapping[str, Tensor], *, spec: NetworkSpec, source: str = "torchvision", target: str = "resnets"
) -> dict[str, Tensor]:
    """The state dict of the spec's network under another layout's names. Tensors are the same storage, not copies.

    Args:
        state_dict: all parameters and buffers of the network, in the source's layout. Its batch norms' `num_batches_tracked` (which
            no forward pass in eval mode reads) may be absent and is then 0.
        spec: the network.
        source: "resnets" or one of `LAYOUTS`.
        target: "resnets" or one of `LAYOUTS`. Frozen batch norms have no `num_batches_tracked` in the packages, so that it is left
            out for them there.

    Raises:
        ValueError: no such layout or one that has no such network; keys that are missing or left over; tensors of another shape.
    """
    from_source, to_target = _entries(source, spec), _entries(target, spec)
    expected = {theirs for theirs, _ in from_source.values()}
    missing = [k for k in expected if k not in state_dict and not k.endswith(_COUNTER)]
    left_over = [k for k in state_dict if k not in expected]
    other_shape = [
        f"{theirs} is {tuple(state_dict[theirs].shape)} where the spec's {ours} makes it {tuple(shape)}"
        for ours, (theirs, shape) in from_source.items()
        if theirs in state_dict and state_dict[theirs].shape != shape
    ]
    problems = [_listed("missing", sorted(missing)), _listed("left over", left_over), _listed("of another shape", other_shape)]
    if any(problems):
        found = "; ".join(filter(None, problems))
        raise UserError(f"this is not the {source} state dict of the spec's network: {found}{_prefix_hint(left_over, missing)}")
    result = {}
    for ours, (theirs, shape) in to_target.items():
        counter = ours.endswith(_COUNTER)
        if counter and spec.norm == "frozen-batch" and target != "resnets":
            continue
        value = state_dict.get(from_source[ours][0])
        if value is None:
            assert counter
            value = torch.tensor(0)
        result[theirs] = value if value.shape == shape else value.reshape(shape)
    return result


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
def _entries(layout: str, spec: NetworkSpec) -> dict[str, tuple[str, torch.Size]]:
    """Our name -> the layout's name and shape."""
    shapes = _shapes(spec)
    if layout == "resnets":
        return {name: (name, shape) for name, shape in shapes.items()}
    table = _layout(layout).table(spec)
    rename = renaming(table.rows)
    entries = {}
    for ours, shape in shapes.items():
        path, _, leaf = ours.rpartition(".")
        theirs = rename(path)
        assert theirs is not None, f"{layout} admits a spec with {path} and has no name for it"
        pointwise = table.convolutional_classifier and ours == "head.fc.weight"
        entries[ours] = (f"{theirs}.{leaf}", torch.Size((*shape, 1, 1)) if pointwise else shape)
    assert len({theirs for theirs, _ in entries.values()}) == len(entries), f"{layout} gives two tensors one name"
    return entries


def _listed(what: str, items: list[str]) -> str:
    """The items as "what: a, b", at most a dozen of them."""
    if not items:
        return ""
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return f"{what}: {', '.join(items[:_LISTED])}{more}"


def _prefix_hint(left_over: list[str], missing: list[str]) -> str:
    """What to do where the names would be right without what stands before them, as with `module.` of DDP."""
    wanted_keys = set(missing)
    for key in left_over:
        for wanted in (key[i + 1 :] for i, letter in enumerate(key) if letter == "."):
            if wanted in wanted_keys:
                return f"; perhaps remove the prefix {key.removesuffix(wanted)!r} from its names"
    return ""
