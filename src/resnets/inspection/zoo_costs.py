"""Parameters and multiply-adds of the zoo's rows, counted once and kept in zoo_costs.json, so that listing them loads no torch.

Each entry carries a digest of the spec that was counted: a row whose spec has changed since, and any network that is no row, is
counted anew. `python -m resnets.inspection.zoo_costs` writes the file; a test counts every row and compares.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from ..core.files import write_atomically
from ..networks import ROWS, NetworkSpec, get_spec

_FILE = "zoo_costs.json"


def spec_digest(spec: NetworkSpec) -> str:
    """A short digest of every field."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:16]


@cache
def _kept() -> dict[str, tuple[str, int, int]]:
    file = files(__package__) / _FILE
    return {name: tuple(entry) for name, entry in json.loads(file.read_text()).items()} if file.is_file() else {}


def zoo_cost(name: str) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image at the native size, of a network by name."""
    spec = get_spec(name)
    digest, parameters, macs = _kept().get(name, ("", 0, 0))
    if digest == spec_digest(spec):
        return parameters, macs
    return count(spec)


def count(spec: NetworkSpec) -> tuple[int, int]:
    """The same, counted now."""
    from .cost import network_cost

    cost = network_cost(spec)
    return cost.parameters, cost.macs


if __name__ == "__main__":
    counted = {name: (spec_digest(row.spec), *count(row.spec)) for name, row in ROWS.items()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in counted.items())
    write_atomically(Path(__file__).with_name(_FILE), f"{{\n{lines}\n}}\n")
