"""torchvision's names of a segmenter's tensors."""

from __future__ import annotations

from functools import lru_cache

import torch

from ..core.errors import UserError
from ..weights.layouts.engine import Renaming, foreign_names, own_names
from ..weights.layouts.table import beneath
from ..weights.layouts.torchvision import table
from .segmenter import Segmenter
from .spec import SegmenterSpec

_FCN = {"{head}.layer.conv": "{theirs}.0", "{head}.layer.norm": "{theirs}.1", "{head}.classifier": "{theirs}.4"}


def _fcn_rows(ours: str, theirs: str) -> dict[str, str]:
    return {key.format(head=ours): value.format(theirs=theirs) for key, value in _FCN.items()}


def _deeplab_rows(num_rates: int) -> dict[str, str]:
    branches, pooled = "head.pyramid.branches.", num_rates + 1
    return {
        f"{branches}{pooled}.layer.conv": f"classifier.0.convs.{pooled}.1",  # after the pool, which counts as a layer there
        f"{branches}{pooled}.layer.norm": f"classifier.0.convs.{pooled}.2",
        branches + "{branch}.conv": "classifier.0.convs.{branch}.0",
        branches + "{branch}.norm": "classifier.0.convs.{branch}.1",
        "head.pyramid.project.conv": "classifier.0.project.0",
        "head.pyramid.project.norm": "classifier.0.project.1",
        "head.layer.conv": "classifier.1",
        "head.layer.norm": "classifier.2",
        "head.classifier": "classifier.4",
    }


@lru_cache(maxsize=16)
def _shapes(spec: SegmenterSpec) -> dict[str, torch.Size]:
    with torch.device("meta"):
        segmenter = Segmenter(spec)
    return {name: value.shape for name, value in segmenter.state_dict().items()}


def names_in(layout: str, spec: SegmenterSpec) -> Renaming:
    """Where each tensor of the spec's segmenter is in a layout: "resnets" or "torchvision".

    Raises:
        ValueError: another layout; torchvision has no such trunk, or no such head.
    """
    if layout == "resnets":
        return own_names(_shapes(spec), "segmenter")
    if layout != "torchvision":
        raise UserError(f"there is no layout {layout!r} of segmenters; the layouts are resnets and torchvision")
    if spec.skips or spec.subpixels > 1:
        raise UserError(
            f"torchvision's segmenters have no skips={spec.skips} and subpixels={spec.subpixels}; set skips=0 and subpixels=1"
        )
    rows = {
        **beneath(table(spec.trunk), "network.", "backbone."),
        **(_fcn_rows("head", "classifier") if spec.head == "fcn" else _deeplab_rows(len(spec.pyramid_rates))),
        **_fcn_rows("auxiliary", "aux_classifier"),
    }
    return foreign_names("torchvision", "segmenter", _shapes(spec), rows)
