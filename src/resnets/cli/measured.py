"""What `resnets evaluate` prints of a measured model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..training.published import known_place
from ..training.session import Result


@dataclass(frozen=True)
class Measured:
    """A model's result, and on what it was measured and how."""

    result: Result
    classes: tuple[str, ...]
    data: str
    about: Mapping[str, Any] = field(default_factory=dict)
    """How, for --json."""
    on: str = ""
    """On what, in words."""
    after: str = ""
    """How, in words."""


def data_of(given: str | None, path: Path, trained_with: Mapping[str, Any]) -> str:
    """The data that was asked for, or else what the model was trained on.

    Raises:
        ValueError: neither is known.
    """
    name = given or trained_with.get("data")
    if name is None:
        raise UserError(f"{path} does not say what it was trained on; name the data set with --data")
    return known_place(str(name), path)
