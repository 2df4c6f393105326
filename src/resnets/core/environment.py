"""What a run ran on: hardware and versions, for records and reports; and memory settings of this process."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .machine import processor_name, usable_cores


def describe_environment() -> dict[str, Any]:
    """Hardware, threads and versions as plain JSON values."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: installed_version(package) for package in ("torch", "torchvision", "resnets")},
    }


def installed_version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_large_buffers() -> None:
    """Lets this process keep freed memory for its next step.

    A training step on a CPU frees and takes the same large buffers over and over. glibc hands each back to the system, which clears
    every page of it anew; without mmap for large blocks and without trimming it keeps them. Without glibc nothing is changed.
    torch's own switch for huge pages (THP_MEM_ALLOC_ENABLE) is left alone: it made a fresh buffer of 75 MB ten times slower.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
