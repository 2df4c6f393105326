"""Segmenters by name: torchvision's four, and HEAD-NETWORK for every network of the zoo. Data only; importing it loads no torch.

A segmenter is named as NAME or NAME:FIELD=VALUE,FIELD=VALUE, for instance `deeplabv3-resnet18:output_stride=16` or
`fcn-cifar-resnet20:width=32,num_classes=11`. The fields are those of `SegmenterSpec`, then those of the trunk's `NetworkSpec`.
"""

from __future__ import annotations

import difflib
import fnmatch
from typing import Any, get_args

from pydantic import ValidationError

from ..core.errors import UserError
from ..networks.spec import NetworkSpec
from ..networks.zoo import explain, get_spec, spell, split_name
from .spec import SegmenterSpec

HEADS: tuple[str, ...] = get_args(SegmenterSpec.model_fields["head"].annotation)

ROWS: dict[str, SegmenterSpec] = {
    f"{head}-{network}": SegmenterSpec(network=network, head=head, size=520)  # at which torchvision measured its weights
    for head in ("fcn", "deeplabv3")
    for network in ("resnet50", "resnet101")
}
"""Named segmenters. Their defaults, size by size, are those of torchvision."""


def list_segmenters(pattern: str = "*") -> list[str]:
    """Names of the table's segmenters that match a shell pattern; HEAD-NETWORK names those of all other networks."""
    return [name for name in ROWS if fnmatch.fnmatchcase(name, pattern)]


def get_segmenter_spec(name: str, **overrides: Any) -> SegmenterSpec:
    """The spec of a segmenter by name, with other values for some of its fields or of its trunk's.

    Raises:
        ValueError: an unknown name or field (the message names the nearest), or a value that does not fit.
    """
    plain, inline = split_name(name)
    changes = {**inline, **overrides}
    own = {field: value for field, value in changes.items() if field in SegmenterSpec.model_fields}
    of_trunk = {field: value for field, value in changes.items() if field not in own}
    try:
        spec = _named(plain, own.pop("network", None), of_trunk)
        return spec.updated(**own) if own else spec
    except ValidationError as error:
        raise UserError(f"segmenter {plain}: {explain(error)}") from None


def _named(name: str, network: str | None, of_trunk: dict[str, Any]) -> SegmenterSpec:
    """The segmenter of a plain name, with another network or other fields of it where they are given."""
    head = next((head for head in HEADS if name.startswith(f"{head}-")), None)
    if head is None:
        near = difflib.get_close_matches(name, ROWS, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"they are {', '.join(ROWS)}."
        raise UserError(f"there is no segmenter named {name!r}; {hint} Others are HEAD-NETWORK, with a head of {', '.join(HEADS)}")
    if name in ROWS and network is None and not of_trunk:
        return ROWS[name]
    for field in of_trunk:
        if field not in NetworkSpec.model_fields:
            near = difflib.get_close_matches(field, [*SegmenterSpec.model_fields, *NetworkSpec.model_fields], n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(SegmenterSpec.model_fields)}."
            raise UserError(f"segmenter {name} has no field {field!r}; {hint}")
    trunk = get_spec(network or name.removeprefix(f"{head}-"), **of_trunk)
    base = ROWS.get(name, SegmenterSpec(head=head))
    colours = (
        {} if trunk.in_channels == 3 else {field: _spread(getattr(base, field), trunk.in_channels) for field in ("mean", "std")}
    )
    return base.updated(network=spell(trunk) if of_trunk or network is None else network, **colours)


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The mean of the values for each of another number of channels."""
    return (sum(values) / len(values),) * channels
