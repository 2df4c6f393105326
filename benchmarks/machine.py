"""The machine's own limits: matrix rate in fp32 and bf16, and copy rate. Ratios between recipes are read against them.

python benchmarks/machine.py        # results/machine-cpu.json
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from records import write_record

SIZE, REPEATS = 3072, 12


def best_and_median(work: Callable[[], object], amount: float) -> dict[str, float]:
    """`amount` per second, at best and in the median of the repeats."""
    work()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return {"best": amount / min(seconds), "median": amount / statistics.median(seconds)}


def main() -> None:
    measured = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
        measured[f"{name}_matrix_gflops"] = best_and_median(lambda left=left, right=right: left @ right, 2 * SIZE**3 / 1e9)
    source, target = torch.ones(1 << 28), torch.ones(1 << 28)
    measured["copy_gigabytes"] = best_and_median(lambda: target.copy_(source), 2 * source.nbytes / 1e9)
    about = f"products of {SIZE} x {SIZE} matrices, two operations a multiply-add; a copy counts its reads and its writes"
    print(write_record("machine-cpu", {"about": about, **measured}))


if __name__ == "__main__":
    main()
