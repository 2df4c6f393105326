"""A detector's weights: torchvision's Faster R-CNN, invertibly under our names, or a backbone's weights for the trunk alone.

The names of a detector's tensors (`…` is `weight`, `bias`, or a norm's buffers; only what the spec asks for is there):

    network.conv1.*  network.conv2_x.*  ...        the trunk: names as in `resnets.networks.Network`, without its head; in layout c4
                                                   without its last stage too
    neck.lateral.p{level}.conv.…  .norm.…          layout fpn: the 1x1 convolutions, level = log2(stride): p2 p3 p4 p5
    neck.output.p{level}.conv.…  .norm.…           layout fpn: the 3x3 convolutions after the sums
    proposer.convs.{i}.…                           the region proposal network's 3x3 convolutions
    proposer.objectness.…                          its logits: A (sigmoid), or 2A (softmax: A of background, then A of objects)
    proposer.deltas.…                              its box regression: 4A, anchor by anchor (dx, dy, dw, dh)
    box_head.conv5_x.{unit}.*                      layout c4: the last stage, names as in `Network` (also transitions.*, final.*)
    box_head.convs.{i}.conv.…  .norm.…             layout fpn: convolutions before the linear layers, where there are any
    box_head.layers.{i}.…                          layout fpn: the linear layers
    box_predictor.scores.…                         class logits: num_classes, background first
    box_predictor.deltas.…                         box regression: 4 num_classes, class by class (dx, dy, dw, dh), background first
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import UserError
from ..networks.zoo import split_name
from ..weights.adapt import network_from
from ..weights.download import fetched
from ..weights.foreign_file import read_tensors
from ..weights.layouts import convert
from ..weights.pretrained import read_weights
from .detector import Detector
from .spec import DetectorSpec
from .torchvision_weights import release_for, release_in
from .zoo import get_detector_spec

_LOG = logging.getLogger("resnets")
_PREDICTORS = {
    "resnets": "box_predictor.scores.bias",
    "torchvision": "roi_heads.box_predictor.cls_score.bias",
    "detectron2": "roi_heads.box_predictor.cls_score.bias",
}
_FROM_SCRATCH: dict[str, Any] = {"norm": "batch", "frozen_parts": ()}


@dataclass(frozen=True)
class DetectorWeights:
    """The weights of a whole detector under our names."""

    origin: str
    """What they are called in messages."""
    state: Mapping[str, Tensor]
    num_classes: int
    """With the background."""
    classes: tuple[str, ...] | None = None
    """Names without the background, where they are known."""
    fields: Mapping[str, Any] | None = None
    """Fields of the spec with which the weights were made, where they are not the spec's."""


def create_detector(
    name_or_spec: str | DetectorSpec,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    report: Callable[[str], None] | None = None,
    **overrides: Any,
) -> Detector:
    """A detector by name or spec, with other values for some of its spec's fields.

    Args:
        name_or_spec: a name that `list_detectors` knows, "NETWORK-fpn" or "NETWORK-c4" for a network of the zoo, or a spec.
        num_classes: classes including the background, where it differs from the spec's.
        weights: a whole detector's: a file of ours, of torchvision's, or of detectron2's (for a spec of its zoo, `detectron2_spec`); or
            "coco-v1", torchvision's for resnet50-fpn and resnet50-fpn-v2. With another num_classes than theirs the predictor is
            fresh, and `report` is told. Or a network's, for the trunk (and layout c4's head): anything that `create_model` takes, such
            as "imagenet1k-v1". None for none: then a detector by name has norm="batch" and no frozen_parts unless they are stated,
            because frozen norms that know no statistics cannot be trained; torchvision does the same.
        report: is told what a user should know, in sentences; by default the logger "resnets" is.
        overrides: fields of `DetectorSpec`, such as min_size=600 or network="resnet101".

    Returns:
        The detector in training mode; with a whole detector's weights in evaluation mode, and with `.classes` where they are known.

    Raises:
        ValueError: an unknown name, field or weights, a value that does not fit, or weights of another network or detector.
        resnets.weights.WeightsUnavailable: the weights would have to be fetched and cannot be.
        OSError: a file cannot be read.
    """
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    if isinstance(name_or_spec, str):
        stated = set(overrides) | set(split_name(name_or_spec)[1])
        if weights is None:
            overrides = {**{k: v for k, v in _FROM_SCRATCH.items() if k not in stated}, **overrides}
        spec = get_detector_spec(name_or_spec, **overrides)
    else:
        stated = set(DetectorSpec.model_fields)
        spec = name_or_spec.updated(**overrides)
    if weights is None:
        return Detector(spec)
    read = read_detector(weights, spec)
    if read is None:
        return _with_trunk(spec, weights, stated)
    return _with_all(spec, read, stated, report or _LOG.warning)


def _with_all(spec: DetectorSpec, read: DetectorWeights, stated: set[str], report: Callable[[str], None]) -> Detector:
    own = {"num_classes": read.num_classes, **(read.fields or {})}
    detector = Detector(spec.updated(**{field: value for field, value in own.items() if field not in stated}))
    state = dict(read.state)
    if detector.spec.num_classes == read.num_classes:
        detector.classes = read.classes
    else:
        state |= {name: value for name, value in detector.state_dict().items() if name.startswith("box_predictor.")}
        report(
            f"{read.origin}: the weights are for {read.num_classes} classes with the background; the predictor is freshly "
            f"initialised for {detector.spec.num_classes}, train it"
        )
    detector.load_state_dict(state)
    return detector.eval()


def _with_trunk(spec: DetectorSpec, weights: str | Path, stated: set[str]) -> Detector:
    plain = spec.plain_network
    read = read_weights(weights, plain)
    network, _ = network_from(read.state, read.spec, plain, origin=read.origin)
    images = read.preprocessing
    if images is not None and images.mean and images.std and len(images.mean) == plain.in_channels:
        given = {"image_mean": images.mean, "image_std": images.std}
        spec = spec.updated(**{field: value for field, value in given.items() if field not in stated})
    detector = Detector(spec)
    load_trunk(detector, network.state_dict())
    return detector


def load_trunk(detector: Detector, state: dict[str, Any]) -> None:
    """Copies the tensors of a network without head (our names) into the detector's network, and in layout c4 its box head."""
    own = detector.state_dict()
    placed = {f"network.{name}" if f"network.{name}" in own else f"box_head.{name}": value for name, value in state.items()}
    wanted = {name for name in own if name.startswith("network.") or (detector.neck is None and name.startswith("box_head."))}
    assert placed.keys() == wanted, sorted(placed.keys() ^ wanted)
    detector.load_state_dict(placed, strict=False)


def detector_layout(names: Iterable[str]) -> str | None:
    """Whose detector has tensors of these names: "resnets", "torchvision", "detectron2", or None: they are no detector's."""
    names = set(names)
    if "box_predictor.scores.weight" in names:
        return "resnets"
    if "rpn.head.cls_logits.weight" in names:
        return "torchvision"
    return "detectron2" if "proposal_generator.rpn_head.objectness_logits.weight" in names else None


def read_detector(weights: str | Path, spec: DetectorSpec) -> DetectorWeights | None:
    """The weights of a whole detector in a file, or under the label "coco-v1" (torchvision's); None where `weights` are others.

    Args:
        spec: the detector; its number of classes need not be the file's.

    Raises:
        ValueError: the file's tensors are not those of such a detector.
        resnets.weights.WeightsUnavailable: the label's file would have to be fetched and cannot be.
        OSError: the file cannot be read.
    """
    path = Path(weights).expanduser()
    if str(weights) == "coco-v1":
        path = fetched(release_for(spec).url)
    if not path.is_file():
        return None
    state = read_tensors(path)
    layout = detector_layout(state)
    if layout is None:
        return None
    predictor = _PREDICTORS[layout]
    try:
        if predictor not in state:
            raise UserError(f"there is no {predictor} among its tensors")
        sized = spec.updated(num_classes=len(state[predictor]))
        ours = convert(state, spec=sized, source=layout)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    release = release_in(path) if layout == "torchvision" else None
    if release is None:
        return DetectorWeights(str(path), ours, sized.num_classes)
    # COCO_V1 was trained before torchvision's frozen norms had an epsilon (vision#2933); it sets 0 when it loads it.
    fields = {"norm_epsilon": 0.0} if sized.norm == "frozen-batch" else {}
    return DetectorWeights(str(path), ours, sized.num_classes, tuple(release.meta["categories"][1:]), fields)
