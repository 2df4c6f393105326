"""Quantization after training: eight-bit integers within a measured budget of accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy_names

if TYPE_CHECKING:
    from .budget import quantize_model

__all__ = ["quantize_model"]

_HOMES = {"quantize_model": "budget"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
