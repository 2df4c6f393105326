"""The roofline of Williams et al. 2009: how many images per second a machine could make of a network, by its own measured rates.

A network's multiply-adds over the rate of large matrix products, and its bytes over the rate of a large copy: whichever takes longer
is the least time that an image can take. One fused multiply-add counts as one operation here, in both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..inspection.cost import network_cost
from ..inspection.traffic import Traffic, count_traffic
from ..networks import NetworkSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BYTES = {"fp32": 4, "bf16": 2}
"""A value's, by precision."""
_TRAINING = 3
"""Multiply-adds of a training step as multiples of a forward pass's: that, the data's gradients and the weights' gradients."""


@dataclass(frozen=True)
class MachineRates:
    """What a device does at best."""

    macs_per_second: Mapping[str, float]
    """Multiply-adds a second of a large matrix product, by precision."""
    copied_bytes_per_second: float
    """Of a large copy; a byte that is read and written counts twice."""

    def faster(self, other: MachineRates) -> MachineRates:
        """The better of two measurements of each rate: what held a machine up was something else on it."""
        return MachineRates(
            {name: max(rate, other.macs_per_second[name]) for name, rate in self.macs_per_second.items()},
            max(self.copied_bytes_per_second, other.copied_bytes_per_second),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"macs_per_second": dict(self.macs_per_second), "copied_bytes_per_second": self.copied_bytes_per_second}


@dataclass(frozen=True)
class Work:
    """What one image of a network costs."""

    macs: int
    """Multiply-adds of a forward pass."""
    traffic: Traffic

    def limit(self, rates: MachineRates, mode: str, precision: str, batch: int) -> float | None:
        """Images a second that the rates allow; None where the precision's rate was not measured.

        Training is counted with norms, ReLU and addition fused into passes of their own (`Traffic.training`).
        """
        if precision not in rates.macs_per_second:
            return None
        macs = self.macs * (_TRAINING if mode == "train" else 1)
        if mode == "train":
            moved = self.traffic.training(BYTES[precision], epilogue=False)
        else:
            moved = self.traffic.prediction(BYTES[precision], batch)
        return 1 / max(macs / rates.macs_per_second[precision], moved / rates.copied_bytes_per_second)


def work_of(spec: NetworkSpec, size: int) -> Work:
    """Counts an image of `size` pixels.

    Raises:
        ValueError: the image is too small for the network.
    """
    return Work(network_cost(spec, size).macs, count_traffic(spec, size))


def best_and_median(work: Callable[[], object], amount: float, repeats: int, device: str = "cpu") -> dict[str, float]:
    """`amount` per second, at best and in the median of the repeats, after one call that is not timed."""
    seconds = []
    for turn in range(repeats + 1):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        if turn:
            seconds.append(time.perf_counter() - started)
    return {"best": amount / min(seconds), "median": amount / statistics.median(seconds)}


def synchronize(device: str) -> None:
    """Waits for a GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def measure_rates(
    device: str, precisions: Sequence[str], *, threads: int | None = None, size: int | None = None, repeats: int = 4
) -> MachineRates:
    """The device's rates, at best. Products in fp32 on a GPU may use its shorter formats (TF32), as convolutions do by default.

    Args:
        threads: of torch in this process, which keeps them; None for its own.
        size: rows and columns of the matrices, and MiB of the copy; by default 2048, on a GPU 8192.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.set_float32_matmul_precision("high")
    size = size or (8192 if on_gpu else 2048)
    rates = {}
    for precision in precisions:
        left, right = (torch.randn(size, size, device=device).to(DTYPES[precision]) for _ in range(2))
        rates[precision] = best_and_median(lambda left=left, right=right: left @ right, size**3, repeats, device)["best"]  # type: ignore[misc]
    source = torch.ones(size << 18, device=device)
    target = torch.ones_like(source)
    copied = best_and_median(lambda: target.copy_(source), 2.0 * source.nbytes, repeats, device)["best"]
    return MachineRates(rates, copied)
