"""Packages that come with an extra: imported when they are needed, or an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import UserError


def arrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        UserError: they are not installed.
    """
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise UserError("Parquet files are read and written by the package pyarrow: pip install 'resnets[datasets]'") from None
