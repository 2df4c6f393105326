"""Segmentation: a class for every pixel. Specs and names import no torch.

segmenter = resnets.segmentation.create_segmenter("fcn-resnet50", num_classes=11)
logits = segmenter(images)["out"]             # (N, C, H, W) normalised float32 to (N, 11, H, W)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names
from ..data.annotations.objects import IGNORED
from .spec import BACKGROUND, SegmenterSpec
from .zoo import get_segmenter_spec, list_segmenters

if TYPE_CHECKING:
    from .create import create_segmenter
    from .evaluate import SegmentationResult, evaluate_segmenter
    from .predict import SegmentedImage, segment, write_mask
    from .segmenter import Segmenter

__all__ = [
    "BACKGROUND", "IGNORED", "SegmentationResult", "SegmentedImage", "Segmenter", "SegmenterSpec", "create_segmenter",
    "evaluate_segmenter", "get_segmenter_spec", "list_segmenters", "segment", "write_mask",
]  # fmt: skip

_HOMES = {
    "SegmentationResult": "evaluate",
    "SegmentedImage": "predict",
    "Segmenter": "segmenter",
    "create_segmenter": "create",
    "evaluate_segmenter": "evaluate",
    "segment": "predict",
    "write_mask": "predict",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
