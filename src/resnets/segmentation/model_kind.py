"""The model file of a segmenter, see `weights.model_file`."""

from __future__ import annotations

from ..weights.model_file import ModelKind
from .segmenter import Segmenter
from .spec import SegmenterSpec

SEGMENTER: ModelKind[SegmenterSpec, Segmenter] = ModelKind("segmenter", SegmenterSpec, Segmenter, lambda spec: spec.num_classes - 1)
"""Networks that name a class for each pixel."""
