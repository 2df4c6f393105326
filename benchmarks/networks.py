"""Forward passes and training steps of our networks against torchvision's and timm's own modules, interleaved in one process.

    python benchmarks/networks.py                                   # eager and compiled, results/networks-cpu.json
    python benchmarks/networks.py --networks resnet18 --modes eager --rounds 3

Every engine gets the same weights, memory layout, precision, batch and threads. A round times each engine once, in an order that
turns from round to round; the ratio of a round is the peer's time over ours, and the record holds them all.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from resnets.core.environment import describe_environment, keep_large_buffers

keep_large_buffers()

import timm
import torch
import torchvision
from records import write_record
from torch import nn

import resnets
from resnets.weights.layouts import convert

NETWORKS = {"resnet18": "resnet18", "resnet50": "resnet50", "resnext50-32x4d": "resnext50_32x4d"}
"""Our names and the peers', which agree on them."""


def engines(name: str) -> dict[str, nn.Module]:
    """The three modules with the same weights."""
    torch.manual_seed(0)
    ours = resnets.create_model(name)
    peers = {"torchvision": torchvision.models.get_model(NETWORKS[name]), "timm": timm.create_model(NETWORKS[name])}
    for layout, peer in peers.items():
        peer.load_state_dict(convert(ours.state_dict(), source="resnets", target=layout, spec=ours.spec))
    return {"ours": ours, **peers}


def job(network: nn.Module, images: torch.Tensor, kind: str, precision: str, compiled: bool) -> Callable[[], None]:
    """One forward pass in evaluation mode, or one step (forward, loss, backward, SGD with momentum) in training mode."""
    network.train(kind == "train").to(memory_format=torch.channels_last)
    run = torch.compile(network) if compiled else network
    labels = torch.arange(len(images), device=images.device) % 1000
    autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16")
    if kind == "predict":

        def predict() -> None:
            with torch.inference_mode(), autocast:
                run(images)

        return predict
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            logits = run(images)
        nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def timed(work: Callable[[], None], repeats: int, device: str) -> float:
    """Seconds of one call, over `repeats`."""
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def measure(name: str, kind: str, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the record."""
    images = torch.randn(options.batch, 3, options.size, options.size, generator=torch.Generator().manual_seed(1))
    images = images.to(options.device, memory_format=torch.channels_last)
    modules = {engine: module.to(options.device) for engine, module in engines(name).items()}
    jobs = {engine: job(module, images, kind, options.precision, mode == "compiled") for engine, module in modules.items()}
    for work in jobs.values():
        timed(work, 2, options.device)  # warm-up; compiles
    order, seconds = list(jobs), {engine: [] for engine in jobs}
    for turn in range(options.rounds):
        for engine in itertools.islice(itertools.cycle(order), turn % len(order), turn % len(order) + len(order)):
            seconds[engine].append(timed(jobs[engine], options.repeats, options.device))
    ratios = {
        peer: statistics.median(theirs / ours for theirs, ours in zip(seconds[peer], seconds["ours"], strict=True))
        for peer in jobs
        if peer != "ours"
    }
    row = {"network": name, "mode": kind, "compiled": mode == "compiled", "ratio": ratios, "seconds": seconds}
    print({key: row[key] for key in ("network", "mode", "compiled", "ratio")}, file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--modes", nargs="*", default=["eager", "compiled"], choices=["eager", "compiled"])
    parser.add_argument("--kinds", nargs="*", default=["predict", "train"], choices=["predict", "train"])
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    rows = []
    for mode, name, kind in itertools.product(options.modes, options.networks, options.kinds):
        rows.append(measure(name, kind, mode, options))
        torch.compiler.reset()
    settings = {key: vars(options)[key] for key in ("precision", "batch", "size", "rounds", "repeats", "device")}
    about = "ratio: median over rounds of the peer's time divided by ours; above 1 ours is faster"
    record = {
        "about": about,
        "settings": settings,
        "peers": {"torchvision": torchvision.__version__, "timm": timm.__version__},
        "rows": rows,
    }
    print(write_record(f"networks-{'cpu' if describe_environment()['gpu'] is None else 'gpu'}", record))


if __name__ == "__main__":
    main()
