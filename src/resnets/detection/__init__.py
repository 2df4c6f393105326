"""Object detection with Faster R-CNN on residual networks. Importing this package loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .spec import DetectorSpec, TestTime
from .zoo import get_detector_spec, list_detectors

if TYPE_CHECKING:
    from .detector import Detector
    from .weights import create_detector

__all__ = ["Detector", "DetectorSpec", "TestTime", "create_detector", "get_detector_spec", "list_detectors"]

_HOMES = {"Detector": "detector", "create_detector": "weights"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
