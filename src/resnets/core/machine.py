"""What this machine has and can do: cores, memory, instruction sets. The one place that asks; it loads no torch.

A container's limits count, not the host's: control groups (v1 and v2) bound cores and memory of all that runs in them. Every function
takes the root of the file system, so that tests can show it another machine.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from .errors import UserError

_ROOT = Path("/")
_UNKNOWN_MEMORY = 4_000_000_000
"""Bytes taken as free where the system does not say."""
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Features of processors that multiply bfloat16 numbers: AVX-512 BF16 and AMX on x86, BF16 on Arm."""


def usable_cores(root: Path = _ROOT) -> int:
    """Cores that this process may keep busy, at least 1: those it may run on, within the CPU quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return max(1, cores if quota is None else min(cores, int(quota + 0.5)))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores' worth of time that the control group of this process gets, or None where it is not bounded."""
    found: list[float] = []
    for group in _groups(root, "cpu"):
        stated = _read(group / "cpu.max")  # v2: "QUOTA PERIOD" in microseconds
        if stated:
            quota, _, period = stated.partition(" ")
        else:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if _is_number(quota) and _is_number(period) and int(quota) > 0 and int(period) > 0:
            found.append(int(quota) / int(period))
    return min(found, default=None)


def total_memory(root: Path = _ROOT) -> int:
    """Bytes of memory that this machine or container has."""
    found = [bytes_ for _, bytes_ in _memory_limits(root)]
    if (stated := _meminfo(root).get("MemTotal")) is not None:
        found.append(stated)
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=_UNKNOWN_MEMORY)


def free_memory(root: Path = _ROOT) -> int:
    """Bytes of memory that this process may still take: what the system can give, or what is left of its container's limit."""
    found = []
    if (stated := _meminfo(root).get("MemAvailable")) is not None:
        found.append(stated)
    else:
        found.append(total_memory(root) // 2)  # macOS does not say how much is free
    for group, limit in _memory_limits(root):
        used = _read(group / "memory.current") or _read(group / "memory.usage_in_bytes")
        if _is_number(used):
            # Cached files count as used, and the system drops those that nobody looked at lately before it refuses memory.
            found.append(max(0, limit - int(used) + _droppable(group)))
    return min(found)


@lru_cache(maxsize=8)
def instruction_sets(root: Path = _ROOT) -> frozenset[str]:
    """The processor's features by their Linux names ("avx2", "avx512_bf16", "amx_tile"); empty where the system does not say."""
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(values.split())
    return frozenset()


def multiplies_bf16(root: Path = _ROOT) -> bool:
    """Whether the processor multiplies bfloat16 numbers itself; where it does not, bf16 is emulated and slower than fp32."""
    return not _BF16.isdisjoint(instruction_sets(root))


def processor_name(root: Path = _ROOT) -> str:
    """The processor's marketing name, as far as the system tells."""
    for line in _read(root / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def process_peak() -> int:
    """Most bytes of memory that this process has had.

    Raises:
        ValueError: the system does not say.
    """
    try:
        import resource
    except ImportError:
        raise UserError(
            "this system does not say how much memory per process had; try batches with resnets train --max-steps 3"
        ) from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that bound this process, from its own to the root; v2 and v1."""
    mounted = root / "sys/fs/cgroup"
    seen: set[Path] = set()
    own = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines() if line.count(":") >= 2]
    places = [(mounted, path) for _, names, path in own if not names]
    places += [(mounted / controller, path) for _, names, path in own if controller in names.split(",")]
    for base, path in (*places, (mounted, "/"), (mounted / controller, "/")):
        below = path.strip("/")
        group = base / below if ".." not in below.split("/") else base
        while True:
            if group not in seen and group.is_dir():
                seen.add(group)
                yield group
            if group == base:
                break
            group = group.parent


def _memory_limits(root: Path) -> Iterator[tuple[Path, int]]:
    for group in _groups(root, "memory"):
        limit = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
        if _is_number(limit) and int(limit) < 2**60:  # v1 writes a number near 2^63 for "no limit"
            yield group, int(limit)


def _droppable(group: Path) -> int:
    for line in _read(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and _is_number(value):
            return int(value)
    return 0


def _meminfo(root: Path) -> dict[str, int]:
    """Bytes by name."""
    pairs = (line.partition(":") for line in _read(root / "proc/meminfo").splitlines())
    return {name: int(value.split()[0]) * 1024 for name, _, value in pairs if value.split() and _is_number(value.split()[0])}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _read(path: Path) -> str:
    """A small file of the system, or nothing where it is missing or forbidden."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
