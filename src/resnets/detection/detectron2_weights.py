"""detectron2's Faster R-CNNs: its model zoo's names as specs of ours, and its checkpoints.

Names and arrangement of its tensors: `layouts`. Images are blue, green, red in [0, 255] there; ours are red, green, blue in [0, 1].
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
from ..weights.layouts import convert
from .detector import Detector
from .spec import DetectorSpec


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
        weights = convert(state, spec=spec, source="detectron2")
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
