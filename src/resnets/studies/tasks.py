"""A task: one measurement of one arm with one seed, as data, with the key under which its result is kept.

The key is a digest of everything that decides the result: network, recipe, data, seed, kind of measurement, and FORMAT. Fields that have
their default value are left out of it, so that a new field with a default makes no finished run worthless; whoever changes what a
default means, or how something is measured, raises FORMAT.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..classification.recipe import Recipe
from ..networks.spec import NetworkSpec
from ..networks.zoo import get_spec
from .experiment import Measurement

FORMAT = 1

_NOT_DECISIVE = {"name", "network", "data_folder", "output", "report", "log_every", "checkpoint_every", "threads"}
"""Fields of a recipe that change nothing about the trained network, and the network, which its spec stands for."""


class Task(BaseModel):
    """One measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    measurement: Measurement
    network: str
    seed: int = 0
    recipe: Recipe | None = None
    """Of what is trained first; None where nothing is."""
    data: str | None = None
    """Images for a signal at initialisation."""

    @property
    def spec(self) -> NetworkSpec | None:
        """The network's spec; None for another package's."""
        return None if "/" in self.network else get_spec(self.network)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result, as plain values."""
        spec = self.spec
        recipe = None if self.recipe is None else self.recipe.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_DECISIVE)
        return {
            "format": FORMAT,
            "measurement": self.measurement,
            "network": self.network if spec is None else spec.model_dump(mode="json", exclude_defaults=True),
            "recipe": recipe,
            "data": self.data,
            "seed": self.seed,
        }

    @property
    def key(self) -> str:
        """A digest of it, 16 characters."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]
