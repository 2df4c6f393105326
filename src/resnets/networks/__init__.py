"""The residual networks: spec and zoo (plain data, no torch), and the modules that are built from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .spec import NetworkSpec
from .zoo import FAMILIES, ROWS, ZooRow, get_row, get_spec, list_models

if TYPE_CHECKING:
    from .network import Network, ResidualUnit, build

__all__ = ["FAMILIES", "ROWS", "Network", "NetworkSpec", "ResidualUnit", "ZooRow", "build", "get_row", "get_spec", "list_models"]


def __getattr__(name: str) -> Any:
    if name in ("Network", "ResidualUnit", "build"):
        from . import network

        return getattr(network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
