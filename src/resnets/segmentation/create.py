"""`create_segmenter`: a segmenter by name or spec, with fresh or pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.errors import UserError
from .segmenter import Segmenter
from .spec import SegmenterSpec
from .weights import load_pretrained_segmenter
from .zoo import get_segmenter_spec


def create_segmenter(
    name_or_spec: str | SegmenterSpec,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    network_weights: str | Path | None = None,
    **overrides: Any,
) -> Segmenter:
    """A segmenter by name or spec, with other values for some fields; freshly initialised, or with pretrained weights.

    Args:
        name_or_spec: "fcn-resnet50", "deeplabv3-resnet101", HEAD-NETWORK for any network of the zoo, or a spec.
        num_classes: classes including the background, where they differ from the spec's or the weights'.
        weights: of the whole segmenter: "coco-with-voc-labels-v1" for those of torchvision, or the path of a file of torchvision's or
            ours. It is then in evaluation mode. With another number of classes the classifiers are fresh, and the logger
            "resnets" says so.
        network_weights: of the trunk alone, as `resnets.create_model` takes them: "imagenet1k-v2", a run directory, a file, ...
        overrides: fields of `SegmenterSpec`; for a name also fields of the trunk's `NetworkSpec`.

    Raises:
        ValueError: an unknown name, field or weights (the message names the nearest right one), a value that does not fit, or
            weights of another network.
        resnets.weights.WeightsUnavailable: the weights would have to be fetched and cannot be; the message says what to put where.
    """
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    if isinstance(name_or_spec, str):
        spec = get_segmenter_spec(name_or_spec, **overrides)
    else:
        spec = name_or_spec.updated(**overrides)
    if weights is not None and network_weights is not None:
        raise UserError(
            f"weights={str(weights)!r} are those of the whole segmenter and network_weights={str(network_weights)!r} those of its "
            "trunk; give one of the two"
        )
    if weights is not None:
        stated = "num_classes" in overrides or not isinstance(name_or_spec, str) or "num_classes=" in name_or_spec
        return load_pretrained_segmenter(spec, weights, keeps_classes=stated)
    segmenter = Segmenter(spec)
    if network_weights is not None:
        from ..weights.pretrained import load_pretrained

        segmenter.network.load_state_dict(load_pretrained(spec.trunk, network_weights).network.state_dict())
    return segmenter
