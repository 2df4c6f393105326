"""The model file of a detector, see `weights.model_file`."""

from __future__ import annotations

from ..weights.model_file import ModelKind
from .detector import Detector
from .spec import DetectorSpec

DETECTOR: ModelKind[DetectorSpec, Detector] = ModelKind("detector", DetectorSpec, Detector, lambda spec: spec.num_classes - 1)
"""Networks that say what is where on an image."""
