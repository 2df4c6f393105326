"""What a run began with, its data and its machine, and what is another when it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..core.environment import describe_environment
from ..core.errors import UserError
from ..core.files import write_atomically
from ..core.machine import instruction_sets
from ..data.loaders.inventories import inventory_of
from ..data.sources.inventory import Inventory, compare, read_inventory, write_inventory
from .run_directory import RunDirectory
from .session import OpenSession

_VECTORS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
"""The instruction sets by which kernels are chosen."""
_DECIDING = {
    "threads": "threads", "processes": "processes", "processor": "", "instruction_sets": "", "gpu": "", "torch": "", "python": "",
}  # fmt: skip
"""What the bits of a result may depend on, and how a number of it is called."""


def write_origin(run: RunDirectory, session: OpenSession) -> None:
    """Writes what the run begins with; raises OSError."""
    write_inventory(run.data, _inventory(session, None))
    write_atomically(run.environment, json.dumps(environment_of(session), indent=1) + "\n")


def check_origin(
    run: RunDirectory,
    session: OpenSession,
    report: Callable[[str], None],
    *,
    changed_data: bool = False,
    read_only: bool = False,
) -> None:
    """Compares the session's data and machine with the run's, and keeps those that it goes on with, unless `read_only`.

    Raises:
        ValueError: the data is another, and `changed_data` is not set.
        OSError: they cannot be written.
    """
    if words := machine_differences(run, session):
        report(f"bits may differ: {words}")
    then = read_inventory(run.data)
    now = _inventory(session, then)
    if then is not None:
        difference = compare(then, now)
        if difference and not changed_data:
            raise UserError(
                f"the data of {run.path} is not what it was: {difference}; put it back, or go on with what is there: "
                f"resnets {session.recipe.command} --resume {run.path} --changed-data"
            )
        if difference:
            report(f"the data is not what it was: {difference}; going on with it, as asked for")
        elif difference.touched:
            report(f"the data was copied or touched ({difference.touched:,} files of another time) and has the same content")
    if not read_only:
        if now != then:
            write_inventory(run.data, now)
        write_atomically(run.environment, json.dumps(environment_of(session), indent=1) + "\n")


def environment_of(session: OpenSession) -> dict[str, Any]:
    """`describe_environment`, with the processes and instruction sets."""
    sets = sorted(instruction_sets() & set(_VECTORS))
    return {**describe_environment(), "processes": session.world.size, "instruction_sets": " ".join(sets)}


def machine_differences(run: RunDirectory, session: OpenSession) -> str:
    """In what the machine differs from the run's, as far as results may depend on it; nothing where nothing is known."""
    try:
        then = dict(json.loads(run.environment.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return ""
    now = environment_of(session)
    return "; ".join(
        f"{_words(key, unit, then[key])} then, {now[key] or 'none'} now"
        for key, unit in _DECIDING.items()
        if key in then and then[key] != now[key]
    )


def _words(key: str, unit: str, value: Any) -> str:
    if unit:
        return f"{value} {unit if value != 1 else unit.removesuffix('es' if unit.endswith('sses') else 's')}"
    return f"{key.replace('_', ' ')} {value or 'none'}"


def _inventory(session: OpenSession, known: Inventory | None) -> Inventory:
    unused = {name for name, _ in session.feed.unreadable()}
    return inventory_of(session.feed.sources, unused, known)
