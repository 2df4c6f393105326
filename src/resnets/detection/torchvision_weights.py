"""torchvision's Faster R-CNNs on ResNets with a pyramid: their tensors under our names and back, and the released ones.

Legend: names are a state dict's; `weights` lists ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from ..core.errors import UserError
from ..weights.download import expected_hash, sha256
from ..weights.layouts import layout_keys
from ..weights.layouts.table import renaming
from .detector import Detector
from .spec import DetectorSpec
from .zoo import ROWS

_COUNTER = "num_batches_tracked"
_LISTED = 8


def torchvision_keys(spec: DetectorSpec) -> dict[str, str]:
    """Our name -> torchvision's for every tensor of its FasterRCNN on a ResNet with a pyramid, in our state dict's order.

    Frozen norms have no `num_batches_tracked` there, and none here.

    Raises:
        ValueError: torchvision has no such detector; the message names the first field that it does not know.
    """
    _check_torchvision(spec)
    trunk = layout_keys("torchvision", spec.network_spec)
    convs = spec.head_convolutions
    rows = {
        "neck.lateral.p{level}.conv": "backbone.fpn.inner_blocks.{level-2}.0",
        "neck.lateral.p{level}.norm": "backbone.fpn.inner_blocks.{level-2}.1",
        "neck.output.p{level}.conv": "backbone.fpn.layer_blocks.{level-2}.0",
        "neck.output.p{level}.norm": "backbone.fpn.layer_blocks.{level-2}.1",
        "proposer.convs.{i}": "rpn.head.conv.{i}.0",
        "proposer.objectness": "rpn.head.cls_logits",
        "proposer.deltas": "rpn.head.bbox_pred",
        "box_head.convs.{i}.conv": "roi_heads.box_head.{i}.0",
        "box_head.convs.{i}.norm": "roi_heads.box_head.{i}.1",
        "box_predictor.scores": "roi_heads.box_predictor.cls_score",
        "box_predictor.deltas": "roi_heads.box_predictor.bbox_pred",
    }
    for i in range(spec.head_layers):
        # fc6 and fc7 by name, or in a sequence where a ReLU follows each and a flattening layer stands before the first.
        rows[f"box_head.layers.{i}"] = f"roi_heads.box_head.{convs + 1 + 2 * i}" if convs else f"roi_heads.box_head.fc{6 + i}"
    rename = renaming(rows)
    keys = {}
    for ours in shapes_of(spec):
        if ours.startswith("network."):
            theirs = f"backbone.body.{trunk[ours.removeprefix('network.')]}"
        else:
            path, _, leaf = ours.rpartition(".")
            renamed = rename(path)
            assert renamed is not None, f"the table has no row for {path}"
            theirs = f"{renamed}.{leaf}"
        if spec.norm == "frozen-batch" and ours.startswith("network.") and ours.endswith(_COUNTER):
            continue
        keys[ours] = theirs
    return keys


def from_torchvision(state: Mapping[str, Tensor], spec: DetectorSpec) -> dict[str, Tensor]:
    """torchvision's state dict under our names; the tensors are the same storage. `num_batches_tracked` may be absent and is then 0.

    Names of before torchvision 0.15 (`rpn.head.conv.weight`), which its released files still have, are read too.

    Raises:
        ValueError: as `torchvision_keys`; tensors missing, left over or of another shape, with their names.
    """
    keys = torchvision_keys(spec)
    given = {_modern(name): value for name, value in state.items()}
    check_state(given, {theirs: ours for ours, theirs in keys.items()}, spec, "torchvision")
    shapes = shapes_of(spec)
    counters = {ours: torch.zeros(shape, dtype=torch.int64) for ours, shape in shapes.items() if ours.endswith(_COUNTER)}
    return {ours: given[keys[ours]] if keys.get(ours) in given else counters[ours] for ours in shapes}


def to_torchvision(state: Mapping[str, Tensor], spec: DetectorSpec) -> dict[str, Tensor]:
    """Our state dict under torchvision's names: the inverse of `from_torchvision`.

    Raises:
        ValueError: as `torchvision_keys`; tensors missing, left over or of another shape.
    """
    keys = torchvision_keys(spec)
    check_state(state, {ours: ours for ours in shapes_of(spec)}, spec, "resnets")
    return {theirs: state[ours] for ours, theirs in keys.items()}


def _check_torchvision(spec: DetectorSpec) -> None:
    allowed: dict[str, tuple[Any, ...]] = {
        "layout": ("fpn",),
        "norm": ("frozen-batch", "batch"),
        "rpn_objectness": ("sigmoid",),
        "rpn_width": (None, spec.pyramid_width),
        "global_context": (False,),
        **({"head_layers": (2,)} if not spec.head_convolutions else {}),
    }
    for field, values in allowed.items():
        if getattr(spec, field) not in values:
            choice = " or ".join(repr(value) for value in values)
            raise UserError(f"torchvision has no detector with {field}={getattr(spec, field)!r}: its detectors have {choice}")


@lru_cache(maxsize=8)
def shapes_of(spec: DetectorSpec) -> Mapping[str, torch.Size]:
    """The shapes of the detector's state dict by our names, in its order."""
    with torch.device("meta"):
        return {name: value.shape for name, value in Detector(spec).state_dict().items()}


def _modern(name: str) -> str:
    """torchvision's name since each convolution is wrapped with its norm and activation."""
    name = re.sub(r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1", name)
    return re.sub(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", name)


def check_state(given: Mapping[str, Tensor], expected: Mapping[str, str], spec: DetectorSpec, layout: str) -> None:
    """Compares `given` with the expected names (of `layout` -> ours) and our shapes."""
    shapes = shapes_of(spec)
    missing = [name for name in expected if name not in given and not name.endswith(_COUNTER)]
    left_over = [name for name in given if name not in expected]
    other = [
        f"{name} is {tuple(given[name].shape)} where the spec makes it {tuple(shapes[ours])}"
        for name, ours in expected.items()
        if name in given and given[name].shape != shapes[ours]
    ]
    problems = []
    for what, items in (("missing", missing), ("left over", left_over), ("of another shape", other)):
        if items:
            more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
            problems.append(f"{what}: {', '.join(items[:_LISTED])}{more}")
    if problems:
        raise UserError(f"this is not the {layout} state dict of the spec's detector: {'; '.join(problems)}")


def _releases() -> list[Any]:
    """In the order of the zoo's rows resnet50-fpn, resnet50-fpn-v2."""
    from torchvision.models import detection

    return [detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1, detection.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1]


def release_for(spec: DetectorSpec) -> Any:
    """torchvision's entry (WeightsEnum) of the weights that it has released for such a detector.

    Raises:
        ValueError: it has released none.
    """
    for row, release in zip((ROWS["resnet50-fpn"], ROWS["resnet50-fpn-v2"]), _releases(), strict=True):
        wanted = row.updated(num_classes=spec.num_classes)
        if shapes_of(wanted) == shapes_of(spec):
            return release
    raise UserError("the weights coco-v1 are those of resnet50-fpn and of resnet50-fpn-v2; this is another detector")


def release_in(path: Path) -> Any:
    """torchvision's entry of a file that it has released, known by its hash, or None."""
    names = {expected_hash(Path(urlsplit(release.url).path).name): release for release in _releases()}
    found = sha256(path)
    return next((release for digits, release in names.items() if found.startswith(digits)), None)
