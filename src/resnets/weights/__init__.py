"""Model files, and weights from and to other libraries. Importing this package loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names

if TYPE_CHECKING:
    from .catalogue import CatalogueEntry, get_weights, list_weights
    from .download import WeightsUnavailable
    from .foreign_file import LoadedWeights, read_foreign
    from .layouts import convert
    from .model_file import ModelDescription, load_model, save_model
    from .pretrained import Pretrained, load_pretrained

__all__ = [
    "CatalogueEntry", "LoadedWeights", "ModelDescription", "Pretrained", "WeightsUnavailable", "convert", "get_weights",
    "list_weights", "load_model", "load_pretrained", "read_foreign", "save_model",
]  # fmt: skip

_HOMES = {
    "CatalogueEntry": "catalogue",
    "LoadedWeights": "foreign_file",
    "ModelDescription": "model_file",
    "Pretrained": "pretrained",
    "WeightsUnavailable": "download",
    "convert": "layouts",
    "get_weights": "catalogue",
    "list_weights": "catalogue",
    "load_model": "model_file",
    "load_pretrained": "pretrained",
    "read_foreign": "foreign_file",
    "save_model": "model_file",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
