"""Export: a network as a file for a runtime, left only where the runtime agrees with PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy_names

if TYPE_CHECKING:
    from .export import export_model

__all__ = ["export_model"]

_HOMES = {"export_model": "export"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
