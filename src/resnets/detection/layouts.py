"""torchvision's and detectron2's names of a Faster R-CNN's tensors, and how these are arranged there.

Legend: K classes with the background, A anchors at a position (S sizes x T ratios). What differs in detectron2 (Wu 2019,
github.com/facebookresearch/detectron2):

- The class logits end with the background, ours begin with it; box offsets are 4 (K - 1), without the background's, ours 4 K. Nothing reads
  the background's offsets: they come as zeros, and are left out on the way back.
- Anchors at a position are ordered by size, then ratio; ours by ratio, then size.
- The first convolution takes blue, green, red; ours red, green, blue.
- Beside the weights a checkpoint may hold what a configuration says too: the pixels' mean and deviation in [0, 255], and the anchors of a
  position. They are compared with the spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from ..weights.layouts import detectron2, torchvision
from ..weights.layouts.engine import Renaming, foreign_names, own_names
from ..weights.layouts.table import BACKGROUND_LAST, REVERSED_CHANNELS, Row, Rows, beneath, transposed_groups, without_background
from .anchors import cell_anchors
from .detector import Detector
from .spec import DetectorSpec


def names_in(layout: str, spec: DetectorSpec) -> Renaming:
    """Where each tensor of the spec's detector is in a layout: "resnets", "torchvision" or "detectron2".

    Raises:
        ValueError: another layout, or a package without such a detector; the message names the first field that it does not know.
    """
    shapes = shapes_of(spec)
    frozen = spec.norm == "frozen-batch"
    if layout == "resnets":
        return own_names(shapes, "detector")
    if layout == "torchvision":
        return foreign_names(layout, "detector", shapes, _torchvision(spec), uncounted="network." if frozen else None)
    if layout != "detectron2":
        raise UserError(f"there is no layout {layout!r} of detectors; the layouts are resnets, torchvision and detectron2")
    return foreign_names(
        layout, "detector", shapes, _detectron2(spec), uncounted="" if frozen else None, folded=True,
        without_settings=partial(_without_settings, spec),
    )  # fmt: skip


@lru_cache(maxsize=8)
def shapes_of(spec: DetectorSpec) -> Mapping[str, torch.Size]:
    """The shapes of the detector's state dict by our names, in its order."""
    with torch.device("meta"):
        return {name: value.shape for name, value in Detector(spec).state_dict().items()}


def _torchvision(spec: DetectorSpec) -> Rows:
    _require(
        "torchvision", spec, layout=("fpn",), norm=("frozen-batch", "batch"), rpn_objectness=("sigmoid",),
        rpn_width=(None, spec.pyramid_width), global_context=(False,), **({} if spec.head_convolutions else {"head_layers": (2,)}),
    )  # fmt: skip
    convs = spec.head_convolutions
    fpn = "backbone.fpn."
    return {
        **beneath(torchvision.table(spec.network_spec), "network.", "backbone.body."),
        # Files of before torchvision 0.15, which the released ones are, did not wrap a convolution with its norm and activation.
        "neck.lateral.p{level}.conv": Row(fpn + "inner_blocks.{level-2}.0", former=fpn + "inner_blocks.{level-2}"),
        "neck.lateral.p{level}.norm": fpn + "inner_blocks.{level-2}.1",
        "neck.output.p{level}.conv": Row(fpn + "layer_blocks.{level-2}.0", former=fpn + "layer_blocks.{level-2}"),
        "neck.output.p{level}.norm": fpn + "layer_blocks.{level-2}.1",
        "proposer.convs.0": Row("rpn.head.conv.0.0", former="rpn.head.conv"),
        "proposer.convs.{i}": "rpn.head.conv.{i}.0",
        "proposer.objectness": "rpn.head.cls_logits",
        "proposer.deltas": "rpn.head.bbox_pred",
        "box_head.convs.{i}.conv": "roi_heads.box_head.{i}.0",
        "box_head.convs.{i}.norm": "roi_heads.box_head.{i}.1",
        # fc6 and fc7 by name, or in a sequence where a ReLU follows each and a flattening layer comes before the first.
        **{
            f"box_head.layers.{i}": f"roi_heads.box_head.{convs + 1 + 2 * i if convs else f'fc{6 + i}'}"
            for i in range(spec.head_layers)
        },
        "box_predictor.scores": "roi_heads.box_predictor.cls_score",
        "box_predictor.deltas": "roi_heads.box_predictor.bbox_pred",
    }


def _detectron2(spec: DetectorSpec) -> Rows:
    _require(
        "detectron2", spec, rpn_convolutions=(1,), rpn_objectness=("sigmoid",), pyramid_norm=(False,), head_convolutions=(0,),
        global_context=(False,),
    )  # fmt: skip
    if len(spec.image_mean) != 3:
        raise UserError(f"detectron2 takes images of 3 channels, and this detector {len(spec.image_mean)}")
    trunk = "backbone." if spec.layout == "c4" else "backbone.bottom_up."
    network = detectron2.table(spec.network_spec)
    anchors = _both(transposed_groups(len(spec.anchor_sizes[0]), len(spec.anchor_ratios)))
    rpn, predictor = "proposal_generator.rpn_head.", "roi_heads.box_predictor."
    return {
        **beneath(network, "network.", trunk),
        "network.conv1.conv": Row(trunk + "stem.conv1", {"weight": REVERSED_CHANNELS}),
        **beneath(network, "box_head.", "roi_heads."),
        "neck.lateral.p{level}.conv": "backbone.fpn_lateral{level}",
        "neck.output.p{level}.conv": "backbone.fpn_output{level}",
        "proposer.convs.{i}": rpn + "conv",
        "proposer.objectness": Row(rpn + "objectness_logits", anchors),
        "proposer.deltas": Row(rpn + "anchor_deltas", anchors),
        "box_head.layers.{i}": "roi_heads.box_head.fc{i+1}",
        "box_predictor.scores": Row(predictor + "cls_score", _both(BACKGROUND_LAST)),
        "box_predictor.deltas": Row(predictor + "bbox_pred", _both(without_background(4))),
    }


def _both(transform: Any) -> dict[str, Any]:
    return {"weight": transform, "bias": transform}


def _require(package: str, spec: DetectorSpec, **allowed: tuple[Any, ...]) -> None:
    for field, values in allowed.items():
        if getattr(spec, field) not in values:
            choice = " or ".join(repr(value) for value in values)
            raise UserError(f"{package} has no detector with {field}={getattr(spec, field)!r}: its detectors have {choice}")


def _without_settings(spec: DetectorSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without what a configuration says too; a ValueError where the spec says something else."""
    rest = dict(state)
    for name, own in (("pixel_mean", spec.image_mean), ("pixel_std", spec.image_std)):
        value = rest.pop(name, None)
        expected = torch.tensor([255 * v for v in reversed(own)])
        if value is not None and not (
            value.numel() == 3 and torch.allclose(value.flatten().float(), expected, rtol=1e-3, atol=1e-3)
        ):
            field = name.replace("pixel", "image")
            wanted = tuple(round(v / 255, 6) for v in reversed(value.flatten().tolist()))
            raise UserError(f"{name} is {value.flatten().tolist()} (blue, green, red); the spec needs {field}={wanted}")
    # For each of our anchors at a position, its place among detectron2's.
    order = torch.arange(spec.num_anchors).view(len(spec.anchor_sizes[0]), -1).T.flatten()
    for level, sizes in enumerate(spec.anchor_sizes):
        name = f"proposal_generator.anchor_generator.cell_anchors.{level}"
        value = rest.pop(name, None)
        own_cells = cell_anchors(sizes, spec.anchor_ratios, rounding=False)
        if value is not None and not (
            value.shape == own_cells.shape and torch.allclose(value[order].float(), own_cells, atol=0.01)
        ):
            raise UserError(
                f"{name} {value.tolist()} are not the anchors of sizes {list(sizes)} and ratios {list(spec.anchor_ratios)}"
            )
    return rest
