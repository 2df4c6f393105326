"""Engines: one contract for every runtime, and `open_engine`, which chooses one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy_names

if TYPE_CHECKING:
    from .engine import Engine, EngineModule, TorchEngine
    from .opening import engine_for, open_engine

__all__ = ["Engine", "EngineModule", "TorchEngine", "engine_for", "open_engine"]

_HOMES = {"Engine": "engine", "EngineModule": "engine", "TorchEngine": "engine", "engine_for": "opening", "open_engine": "opening"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
