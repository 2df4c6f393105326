"""Detectors by name: a table of name -> spec, and NETWORK-fpn or NETWORK-c4 for every network of the zoo. Importing it loads no torch.

As with networks, NAME:FIELD=VALUE,FIELD=VALUE changes fields of the spec: "resnet50-fpn:min_size=600,num_classes=21". The fields are those
of `DetectorSpec`, then those of the network's `NetworkSpec`: "resnet18-c4:width=32".
"""

from __future__ import annotations

import difflib
import fnmatch
from typing import Any

from pydantic import ValidationError

from ..core.errors import UserError
from ..networks import NetworkSpec, get_spec, list_models
from ..networks.zoo import explain, spell, split_name
from .spec import DetectorSpec, check_fields

_PAPER: dict[str, Any] = {
    # He 2015, Appendix A, on Ren 2015; what the two leave open is as in py-faster-rcnn, the code of Ren 2015.
    "layout": "c4",
    "num_classes": 21,
    "min_size": (600,),
    "max_size": 1000,
    "anchor_sizes": ((128, 256, 512),),
    "rpn_width": 512,
    "rpn_objectness": "softmax",
    "rpn_pre_nms_train": 12000,
    "rpn_pre_nms_test": 6000,
    "rpn_post_nms_train": 2000,
    "rpn_post_nms_test": 300,
    "rpn_ignore_outside": True,
    "roi_pooling": "pool",
    "roi_size": 14,
    "predictor_initialization": "gaussian",
    "box_batch": 128,
    "box_loss_beta": 1.0,
    "box_nms_iou": 0.3,
}
_TORCHVISION_V2: dict[str, Any] = {
    "norm": "batch",
    "pyramid_norm": True,
    "rpn_convolutions": 2,
    "head_convolutions": 4,
    "head_layers": 1,
}

ROWS: dict[str, DetectorSpec] = {
    "resnet50-fpn": DetectorSpec(),
    "resnet50-fpn-v2": DetectorSpec(**_TORCHVISION_V2),
    "resnet101-fpn": DetectorSpec(network="resnet101"),
    "resnet50-c4": DetectorSpec(network="resnet50-v1", **_PAPER),
    "resnet101-c4": DetectorSpec(network="resnet101-v1", **_PAPER),
    # Ren 2015 §4.2: four scales for COCO, 64 pixels added.
    "resnet101-c4-coco": DetectorSpec(
        network="resnet101-v1", **{**_PAPER, "num_classes": 81, "anchor_sizes": ((64, 128, 256, 512),)}
    ),
}
"""Names and specs. The first two are torchvision's fasterrcnn_resnet50_fpn and _v2; resnet101-c4 is the paper's."""


def list_detectors(pattern: str = "*") -> list[str]:
    """Names of the table's rows that match a shell pattern; NETWORK-fpn and NETWORK-c4 can be named for other networks too."""
    return [name for name in ROWS if fnmatch.fnmatchcase(name, pattern)]


def get_detector_spec(name: str, **overrides: Any) -> DetectorSpec:
    """The spec of a detector by name, with other values for some of its fields.

    Raises:
        ValueError: an unknown name or field (the message names the nearest), or a value that does not fit.
    """
    plain, inline = split_name(name)
    changes = {**inline, **overrides}
    own = {
        field: value
        for field, value in changes.items()
        if field not in NetworkSpec.model_fields or field in DetectorSpec.model_fields
    }
    check_fields(own)
    of_network = {field: value for field, value in changes.items() if field not in own}
    try:
        if not of_network:
            return _spec(plain, own)
        network = own.get("network") or (ROWS[plain].network if plain in ROWS else plain.rpartition("-")[0])
        return _spec(plain, {**own, "network": spell(get_spec(network, **of_network))})
    except ValidationError as error:
        raise UserError(f"detector {plain}: {explain(error)}") from None


def _spec(name: str, changes: dict[str, Any]) -> DetectorSpec:
    if name in ROWS:
        return ROWS[name].updated(**changes)
    network, _, layout = name.rpartition("-")
    if not network or layout not in ("fpn", "c4"):
        near = difflib.get_close_matches(name, [*ROWS, *(f"{row}-fpn" for row in list_models())], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(ROWS)}, NETWORK-fpn and NETWORK-c4."
        raise UserError(f"there is no detector named {name!r}; {hint}")
    fields = {**(_PAPER if layout == "c4" else {}), "network": network, "layout": layout, **changes}
    if layout == "fpn" and "anchor_sizes" not in changes:
        fields["anchor_sizes"] = pyramid_anchors(fields["network"])
    if "frozen_parts" not in changes and network.startswith("inception"):
        fields["frozen_parts"] = ("conv1",)
    return DetectorSpec.model_validate(fields)


def pyramid_anchors(network: str) -> tuple[tuple[float], ...]:
    """One anchor size per level, eight strides long: 32 at stride 4, as in FPN §4.1."""
    stages = len(get_spec(network).blocks)
    # As many groups as there are levels pass validation; the strides are read from that spec.
    draft = DetectorSpec(network=network, anchor_sizes=((1.0,),) * (stages + 1), frozen_parts=())
    return tuple((8.0 * stride,) for stride in draft.level_strides)
