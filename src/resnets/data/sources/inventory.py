"""What data consisted of when a run began: names, sizes, times and contents, and how another day's data differs from it.

Sizes and times are cheap and say at once that nothing happened. Where a time is another one the content decides, so that a copy on
another machine is the same data. Contents are read of sets that are small, and of some files of others.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...core.files import write_atomically
from ...core.machine import usable_cores

READ_WHOLE = 1 << 30
"""Bytes of a set up to which the content of each file is read."""
_SAMPLE = 256
"""Files of a larger set whose content is read, evenly over all."""
_NAMED = 3


class Item(NamedTuple):
    """One file, or one array."""

    size: int
    """Bytes; -1 where it is missing."""
    time: int
    """Nanoseconds of its last change; 0 for an array."""
    digest: str
    """Of its content; empty where that was not read."""
    mark: str
    """What else is known of it, such as its class; empty for nothing."""


Inventory = dict[str, Item]
"""By name, in order."""


class Listed(NamedTuple):
    """A file that belongs to data."""

    name: str
    path: Path
    mark: str = ""


@dataclass(frozen=True)
class Difference:
    """How data differs from what it was."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    touched: int
    """Files of another time and the same content, or of a set that was copied whole and whose content is the same wherever it is known."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        kinds = (("added", self.added), ("removed", self.removed), ("changed", self.changed))
        return ", ".join(f"{len(names):,} {kind} ({_some(names)})" for kind, names in kinds if names)


def take_inventory(files: Iterable[Listed], known: Mapping[str, Item] | None = None) -> Inventory:
    """Looks at the files. With `known`, an earlier inventory, those contents are read that it knows and whose times are others."""
    listed = list(files)
    states = [_state(entry.path) for entry in listed]
    if known is None:
        whole = sum(max(0, size) for size, _ in states) <= READ_WHOLE
        step = 1 if whole else max(1, len(listed) // _SAMPLE)
        wanted = set(range(0, len(listed), step))
    else:
        wanted = {i for i, entry in enumerate(listed) if _to_be_read(known.get(entry.name), states[i])}
    with ThreadPoolExecutor(usable_cores()) as pool:
        digests = dict(zip(sorted(wanted), pool.map(lambda i: _digest(listed[i].path), sorted(wanted)), strict=True))
    found: Inventory = {}
    for i, (entry, (size, time)) in enumerate(zip(listed, states, strict=True)):
        before = None if known is None else known.get(entry.name)
        digest = digests.get(i, before.digest if before is not None and before[:2] == (size, time) else "")
        found[entry.name] = Item(size, time, digest, entry.mark)
    return found


def array(content: memoryview, mark: str = "") -> Item:
    """Of an array in memory."""
    return Item(content.nbytes, 0, hashlib.sha256(content).hexdigest()[:16], mark)


def compare(then: Inventory, now: Inventory) -> Difference:
    """What was added, removed and changed."""
    common = [name for name in then if name in now]
    changed, undecided, touched = [], [], 0
    for name in common:
        before, after = then[name], now[name]
        if (before.size, before.mark) != (after.size, after.mark):
            changed.append(name)
        elif before.time != after.time or (before.digest and after.digest and before.digest != after.digest):
            if not before.digest or not after.digest:
                undecided.append(name)
            elif before.digest != after.digest:
                changed.append(name)
            else:
                touched += 1
    # All times are others: a copy of the whole, and the contents that are known vouch for the rest.
    if len(undecided) + touched == len(common) and touched:
        touched += len(undecided)
    else:
        changed += undecided
    return Difference(
        tuple(name for name in now if name not in then), tuple(name for name in then if name not in now), tuple(changed), touched
    )


def write_inventory(path: Path, inventory: Inventory) -> None:
    """Writes it, whole or not at all; raises OSError."""
    write_atomically(path, gzip.compress(json.dumps({"format": 1, "items": inventory}).encode(), mtime=0))


def read_inventory(path: Path) -> Inventory | None:
    """What was written; None where there is none or it is damaged, so that there is nothing to compare with."""
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        return {name: Item(*item) for name, item in content["items"].items()}
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _to_be_read(before: Item | None, state: tuple[int, int]) -> bool:
    return before is not None and bool(before.digest) and before.size == state[0] and before.time != state[1]


def _state(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return ""


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
