"""How a reference's definitions are written down: families of networks that share fields, and remarks. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..networks import NetworkSpec


@dataclass(frozen=True)
class Remark:
    """A difference from every network of ours that is no value of a field."""

    what: str
    ours: str
    theirs: str
    source: str
    only: tuple[str, ...] = ()
    """The family's networks that it concerns; empty for all."""


@dataclass(frozen=True)
class Family:
    """Networks of one reference that share their fields."""

    source: str
    """Where the definition is; also the source of every field that `sources` does not name."""
    networks: Mapping[str, Mapping[str, Any]]
    """The reference's own names, each with the fields in which it differs from the rest of the family."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    admits: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unstated: frozenset[str] = frozenset()
    remarks: tuple[Remark, ...] = ()

    def spec(self, name: str) -> NetworkSpec:
        """One of its networks."""
        return NetworkSpec(**{**self.fields, **self.networks[name]})
