"""Object detection with Faster R-CNN on residual networks. Importing this package loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names
from .spec import DetectorSpec, TestTime
from .zoo import get_detector_spec, list_detectors

if TYPE_CHECKING:
    from .detector import Detector
    from .weights import create_detector

__all__ = ["Detector", "DetectorSpec", "TestTime", "create_detector", "get_detector_spec", "list_detectors"]

_HOMES = {"Detector": "detector", "create_detector": "weights"}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
