"""detectron2's Faster R-CNNs: its model zoo's names as specs of ours, and its checkpoints under our names and back.

Legend: K classes with the background, A anchors at a position (S sizes x T ratios), F features of a region.

What its tensors mean, and ours (Wu 2019, github.com/facebookresearch/detectron2):

- The class logits end with the background, ours begin with it; box offsets are 4 (K - 1), without the background's, ours 4 K. Nothing reads
  the background's offsets: they come as zeros, and are left out on the way back.
- Anchors at a position are ordered by size, then ratio; ours by ratio, then size.
- Pictures are blue, green, red in [0, 255]; ours red, green, blue in [0, 1]. The first convolution's channels are turned round, and
  mean and deviation are divided by 255.
- Beside the weights a checkpoint may hold what a configuration says too: the pixels' mean and deviation, and the anchors of a position.
  They are compared with the spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from ..networks import get_spec
from ..weights.caffe import BGR_MEAN, BGR_STD
from ..weights.foreign_file import read_tensors
from ..weights.layouts.detectron2 import table
from ..weights.layouts.table import renaming
from .anchors import cell_anchors
from .detector import Detector
from .spec import DetectorSpec
from .torchvision_weights import check_state, shapes_of

_COUNTER = "num_batches_tracked"


def _pixels(grouped: bool) -> dict[str, Any]:
    """Mean and deviation for red, green, blue in [0, 1]."""
    return {
        "image_mean": tuple(value / 255 for value in reversed(BGR_MEAN)),
        "image_std": tuple(value / 255 for value in reversed(BGR_STD[grouped])),
    }


_COMMON: dict[str, Any] = {
    # detectron2/config/defaults.py
    "num_classes": 81,
    "min_size": (640, 672, 704, 736, 768, 800),  # testing takes the last: MIN_SIZE_TEST
    "max_size": 1333,
    "anchor_rounding": False,
    "anchor_strides": "nominal",
    # Boxes have to have an area, however small: detectron2 asks for sides above 0, ours are asked to be no shorter than this.
    "rpn_min_side": 1e-6,
    "box_min_side": 1e-6,
    "rpn_loss_beta": 0.0,
    "box_loss_beta": 0.0,
    "roi_pooling": "half-pixel-align",
    "roi_sampling": 0,
    "predictor_initialization": "gaussian",
}
_C4: dict[str, Any] = {
    # configs/Base-RCNN-C4.yaml; its backbone asks for no multiple of a size
    "layout": "c4",
    "size_divisible": 1,
    "anchor_sizes": ((32, 64, 128, 256, 512),),
    "rpn_pre_nms_train": 12000,
    "rpn_pre_nms_test": 6000,
    "roi_size": 14,
}
_FPN: dict[str, Any] = {"layout": "fpn", "rpn_post_nms_train": 1000}  # configs/Base-RCNN-FPN.yaml
_VOC: dict[str, Any] = {"num_classes": 21, "min_size": tuple(range(480, 801, 32))}
_LAYOUTS = {"C4": _C4, "FPN": _FPN}


def _spec(network: str, layout: str, **changes: Any) -> DetectorSpec:
    pixels = _pixels(get_spec(network).cardinality > 1)
    return DetectorSpec(network=network, **{**_COMMON, **pixels, **_LAYOUTS[layout], **changes})


PEERS: dict[str, DetectorSpec] = {
    **{
        f"COCO-Detection/faster_rcnn_R_{depth}_{layout}_{schedule}": _spec(f"resnet{depth}-v1", layout)
        for depth, layout, schedules in (
            (50, "C4", ("1x", "3x")),
            (50, "FPN", ("1x", "3x")),
            (101, "C4", ("3x",)),
            (101, "FPN", ("3x",)),
        )
        for schedule in schedules
    },
    "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x": _spec("resnext101-32x8d", "FPN"),
    **{f"PascalVOC-Detection/faster_rcnn_R_50_{layout}": _spec("resnet50-v1", layout, **_VOC) for layout in _LAYOUTS},
}
"""The configurations of detectron2's model zoo by name, as specs. Its R networks are MSRA's: they subsample in the 1x1."""


def detectron2_spec(name: str, **overrides: Any) -> DetectorSpec:
    """The spec of a configuration, such as "COCO-Detection/faster_rcnn_R_101_C4_3x" (a folder before it and .yaml do not matter).

    Raises:
        ValueError: no such configuration, or an override that does not fit.
    """
    plain = "/".join(name.removesuffix(".yaml").split("/")[-2:])
    if plain not in PEERS:
        raise UserError(f"there is no configuration {name!r} of detectron2 with a spec here; there are {', '.join(PEERS)}")
    return PEERS[plain].updated(**overrides)


def detectron2_keys(spec: DetectorSpec) -> dict[str, str]:
    """Name of ours -> theirs for every tensor of the spec's detector.

    Raises:
        ValueError: detectron2 has no such detector.
    """
    for field, value in (
        ("rpn_convolutions", 1), ("rpn_objectness", "sigmoid"), ("pyramid_norm", False), ("head_convolutions", 0), ("global_context", False),
    ):  # fmt: skip
        if getattr(spec, field) != value:
            raise UserError(f"detectron2 has no detector with {field}={getattr(spec, field)!r}: its detectors have {value!r}")
    if len(spec.image_mean) != 3:
        raise UserError(f"detectron2 takes pictures of 3 channels, and this detector {len(spec.image_mean)}")
    trunk = "backbone." if spec.layout == "c4" else "backbone.bottom_up."
    network = table(spec.network_spec).rows
    rename = renaming(
        {
            **{f"network.{ours}": trunk + theirs for ours, theirs in network.items()},
            **{f"box_head.{ours}": f"roi_heads.{theirs}" for ours, theirs in network.items()},
            "neck.lateral.p{level}.conv": "backbone.fpn_lateral{level}",
            "neck.output.p{level}.conv": "backbone.fpn_output{level}",
            "proposer.convs.{i}": "proposal_generator.rpn_head.conv",
            "proposer.objectness": "proposal_generator.rpn_head.objectness_logits",
            "proposer.deltas": "proposal_generator.rpn_head.anchor_deltas",
            "box_head.layers.{i}": "roi_heads.box_head.fc{i+1}",
            "box_predictor.scores": "roi_heads.box_predictor.cls_score",
            "box_predictor.deltas": "roi_heads.box_predictor.bbox_pred",
        }
    )
    keys = {}
    for ours in shapes_of(spec):
        path, _, leaf = ours.rpartition(".")
        theirs = rename(path)
        assert theirs is not None, f"detectron2 has no name for {path}"
        keys[ours] = f"{theirs}.{leaf}"
    return keys


def from_detectron2(state: Mapping[str, Tensor], spec: DetectorSpec) -> dict[str, Tensor]:
    """The state dict of the spec's detector from detectron2's.

    Raises:
        ValueError: keys that are missing or left over, tensors of another shape, or pixels or anchors that are not the spec's.
    """
    keys, shapes = detectron2_keys(spec), shapes_of(spec)
    given = _without_settings(state, spec)
    for ours, theirs in keys.items():
        value = given.get(theirs)
        if value is None:
            value = _left_out(ours, shapes[ours])
        if value is not None:
            given[theirs] = _turned(ours, value, spec, back=False)
    check_state(given, {theirs: ours for ours, theirs in keys.items()}, spec, "detectron2")
    return {ours: given[theirs] for ours, theirs in keys.items()}


def to_detectron2(state: Mapping[str, Tensor], spec: DetectorSpec) -> dict[str, Tensor]:
    """detectron2's state dict from that of the spec's detector, without the pixels' mean and the anchors, which a configuration gives.

    Raises:
        ValueError: as `detectron2_keys`; tensors missing, left over or of another shape.
    """
    check_state(state, {ours: ours for ours in shapes_of(spec)}, spec, "resnets")
    result = {}
    for ours, theirs in detectron2_keys(spec).items():
        if ours.endswith(_COUNTER) and spec.norm == "frozen-batch":
            continue  # detectron2's frozen norms do not count
        result[theirs] = _turned(ours, state[ours], spec, back=True)
    return result


def load_detectron2(path: Path, spec: DetectorSpec | str | None = None) -> Detector:
    """The detector in a checkpoint of detectron2 (.pkl or .pth), in evaluation mode; nothing in the file is run.

    Args:
        spec: what the checkpoint is, or its configuration's name; None reads depth, layout and number of classes off the tensors and takes
            the rest as detectron2's model zoo has it.

    Raises:
        ValueError: no file of tensors, or one of another detector.
        OSError: no such file.
    """
    state = read_tensors(path)
    try:
        if not isinstance(spec, DetectorSpec):
            spec = detect_spec(state) if spec is None else detectron2_spec(spec)
        weights = from_detectron2(state, spec)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    detector = Detector(spec)
    detector.load_state_dict(weights)
    return detector.eval()


def is_detectron2(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are tensors of a detector of detectron2's."""
    return "proposal_generator.rpn_head.objectness_logits.weight" in keys


def detect_spec(state: Mapping[str, Tensor]) -> DetectorSpec:
    """The spec of the model zoo's detector with these tensors, and with their number of classes.

    Raises:
        ValueError: it has no such detector.
    """
    scores = state.get("roi_heads.box_predictor.cls_score.weight")
    if not is_detectron2(state) or scores is None:
        raise UserError(f"these are no tensors of a Faster R-CNN of detectron2's: {', '.join(list(state)[:5])}, ...")
    layout = "FPN" if any(key.startswith("backbone.fpn_") for key in state) else "C4"
    units = sum(key.endswith(".conv1.weight") for key in state if ".res4." in key)
    first = next((value for key, value in state.items() if key.endswith("res2.0.conv2.weight")), torch.empty(0, 64))
    shape = (units, first.shape[1])
    networks = {(6, 64): "resnet50-v1", (23, 64): "resnet101-v1", (23, 8): "resnext101-32x8d"}
    if shape not in networks:
        raise UserError(
            f"res4 has {units} units, and res2's 3x3 convolutions see {shape[1]} channels each, which is no network of detectron2's zoo; "
            "give the detector's spec"
        )
    return _spec(networks[shape], layout, num_classes=len(scores))


def _left_out(ours: str, shape: torch.Size) -> Tensor | None:
    """What stands for a tensor that detectron2's checkpoints may lack; None where it has to be there.

    Its frozen norms have no counter, and folded ones no statistics: its own reader takes mean 0 and variance 1 then.
    """
    leaf = ours.rpartition(".")[2]
    if leaf == _COUNTER:
        return torch.tensor(0)
    return {"running_mean": torch.zeros(shape), "running_var": torch.ones(shape)}.get(leaf)


def _turned(ours: str, value: Tensor, spec: DetectorSpec, *, back: bool) -> Tensor:
    """The tensor in our order of channels, anchors and classes, or `back` in theirs; as it is where it has another number of anchors."""
    path = ours.rpartition(".")[0]
    if ours == "network.conv1.conv.weight":
        return value.flip(1)
    order = _anchor_order(spec)
    if path in ("proposer.objectness", "proposer.deltas") and value.shape[0] % len(order) == 0:
        groups = value.view(len(order), -1, *value.shape[1:])
        return groups[torch.argsort(order) if back else order].flatten(0, 1)
    if path == "box_predictor.scores":
        return value.roll(-1 if back else 1, 0)
    if path == "box_predictor.deltas":
        return value[4:] if back else torch.cat([value.new_zeros(4, *value.shape[1:]), value])
    return value


def _anchor_order(spec: DetectorSpec) -> Tensor:
    """For each of our anchors at a position, (A,), its place among detectron2's."""
    sizes, ratios = len(spec.anchor_sizes[0]), len(spec.anchor_ratios)
    return torch.arange(sizes * ratios).view(sizes, ratios).T.flatten()


def _without_settings(state: Mapping[str, Tensor], spec: DetectorSpec) -> dict[str, Tensor]:
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
    order = _anchor_order(spec)
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
