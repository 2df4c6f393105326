"""Parameters and multiply-adds as the papers print them, beside ours. Data is published_costs.yaml; importing this loads no torch.

A paper prints two or three digits. Ours agrees with them if it rounds to the printed number or is within 1 % of it; every printed
number with which it does not has a reason. One fused multiply-add counts as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from ..networks import get_spec
from .zoo_costs import zoo_cost

TOLERANCE = 0.01
"""Share of the printed number by which ours may differ."""
QUANTITIES: dict[str, str] = {"parameters": "parameters", "macs": "multiply-adds"}


@dataclass(frozen=True)
class PublishedCost:
    """One printed number."""

    network: str
    """The network of the zoo that it is about, fields of its spec included."""
    quantity: Literal["parameters", "macs"]
    printed: str
    """As printed there: 3.8e9, 0.27M."""
    source: str
    reason: str | None = None
    """Why ours is another; None where the two agree."""

    @property
    def value(self) -> float:
        """The printed number."""
        return float(self._decimal())

    @property
    def rounding(self) -> float:
        """The most by which a number that was rounded to the printed digits can differ from it: half a unit of the last one."""
        exponent = self._decimal().as_tuple().exponent
        assert isinstance(exponent, int)
        return 0.5 * 10.0**exponent

    def _decimal(self) -> Decimal:
        return Decimal(self.printed.replace("M", "e6"))

    def ours(self) -> int:
        """The same of our network, at its native size."""
        return zoo_cost(self.network)[0 if self.quantity == "parameters" else 1]

    def agrees(self, ours: int) -> bool:
        """Whether our number is the printed one, as far as its digits go."""
        return abs(ours - self.value) <= max(self.rounding, TOLERANCE * self.value)

    def sentence(self) -> str:
        """Both numbers in words, and the reason where they differ."""
        ours = self.ours()
        told = (
            f"{self.printed} {QUANTITIES[self.quantity]} in {self.source}; ours {ours:,} ({100 * (ours / self.value - 1):+.1f} %)"
        )
        return f"{told}: {self.reason}" if self.reason else told


@cache
def published_costs() -> tuple[PublishedCost, ...]:
    """All printed numbers, paper by paper."""
    rows = yaml.safe_load((files(__package__) / "published_costs.yaml").read_text("utf-8"))["costs"]
    return tuple(
        PublishedCost(row["network"], quantity, str(row[quantity]), row["source"], row.get("reason"))  # type: ignore[arg-type]
        for row in rows
        for quantity in QUANTITIES
        if quantity in row
    )


def published_for(name: str) -> tuple[PublishedCost, ...]:
    """The printed numbers of the network of that name, however its fields are written."""
    spec = get_spec(name)
    return tuple(cost for cost in published_costs() if get_spec(cost.network) == spec)
