"""Seconds of one optimizer step, measured on this machine and kept, so that a plan is made from the same numbers every time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..classification.recipe import Recipe
from ..core.files import write_atomically
from ..core.precision import resolved_precision
from ..inspection.zoo_costs import count, zoo_cost
from ..networks.zoo import get_spec
from .tasks import Task

SECONDS, MOST_STEPS = 1.0, 12
"""A measurement lasts so long, or so many steps, after two steps of warming up."""


class MeasuredStepTime:
    """Measures each recipe's step once per machine and keeps it in a file.

    Args:
        file: JSON, from key to seconds.
        report: told before each measurement.
    """

    def __init__(self, file: Path, report: Callable[[str], None] = lambda _message: None) -> None:
        self.file, self.report = file, report
        self.known: dict[str, float] = {}

    def __call__(self, recipe: Recipe) -> float:
        """Seconds a step."""
        key = _key(recipe)
        if key not in self.known:
            self.known |= self._kept()
        if key not in self.known:
            self.report(f"measuring a step of {recipe.network}, batch {recipe.batch_size}")
            self.known |= {**self._kept(), key: measure_step(recipe)}
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, json.dumps(self.known, indent=1) + "\n")
        return self.known[key]

    def _kept(self) -> dict[str, float]:
        try:
            return dict(json.loads(self.file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}  # lost or damaged: measured anew


def _key(recipe: Recipe) -> str:
    """Network, recipe, machine and versions."""
    of_the_machine = [*_machine(), recipe.threads, recipe.device]
    step = recipe.updated(max_steps=None, epochs=1, seed=0, schedule={"warmup": 0.0})
    identity = Task(arm="", measurement="training", network=recipe.network, recipe=step).identity
    return hashlib.sha256(json.dumps([identity, of_the_machine], sort_keys=True).encode()).hexdigest()[:16]


@cache
def _machine() -> tuple[object, ...]:
    from ..core.environment import describe_environment

    environment = describe_environment()
    return tuple(environment[name] for name in ("processor", "cores", "gpu", "torch"))


@cache
def macs(network: str, input_size: int | None = None) -> int:
    """Multiply-adds of a network for one image, of its native size where none is given."""
    if input_size is None:
        return zoo_cost(network)[1]
    return count(get_spec(network, input_size=input_size))[1]


def measure_step(recipe: Recipe) -> float:
    """Median seconds of a training step on images of noise, with the recipe's network, precision and batch."""
    import statistics

    import torch
    from torch.nn import functional

    from ..data.datasets.catalogue import DATASETS
    from ..networks import build
    from ..training.optim.optimizers import build_optimizer

    info = DATASETS.get(recipe.data)
    channels, classes = (info.channels, len(info.classes)) if info else (3, 10)
    size = recipe.image_size or (info.size if info else 32)
    device = torch.device("cuda" if recipe.device == "auto" and torch.cuda.is_available() else recipe.device.replace("auto", "cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(get_spec(recipe.network, in_channels=channels, num_classes=classes)).to(device)
        images = torch.randn(recipe.batch_size, channels, size, size, device=device)
    if recipe.channels_last:
        network, images = network.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)
    precision, _ = resolved_precision(recipe.precision, device.type)
    labels = torch.arange(recipe.batch_size, device=device) % classes
    optimizer = build_optimizer(recipe.optimizer, network.train())
    times: list[float] = []
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    begun = time.perf_counter()
    while len(times) < 3 or (len(times) < MOST_STEPS + 2 and time.perf_counter() - begun < SECONDS):
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:] if len(times) < 6 else times[2:])
