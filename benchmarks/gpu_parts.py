"""The parts of benchmarks/gpu.py, each in a process of its own: one JSON object per row on standard output.

    python benchmarks/gpu_parts.py training --seconds 200 --device cuda

In every part the contestants run in one process and take turns, in an order that turns from round to round, on the same images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

import resnets
from resnets.benchmark.contestants import Contestant
from resnets.benchmark.jobs import TorchJob
from resnets.benchmark.roofline import MachineRates, measure_rates, synchronize, work_of
from resnets.classification.losses import Classifying
from resnets.core.environment import keep_large_buffers
from resnets.data.augmentation import batch as augmentation
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.loaders.resident import ResidentLoader
from resnets.data.sampling.order import EpochOrder
from resnets.deployment.engines.engine import TorchEngine
from resnets.training.engine.objective import Inputs
from resnets.training.engine.step import TrainingStep
from resnets.training.norms.fused_norms import fuse_norms
from resnets.training.optim.optimizers import build_optimizer
from resnets.training.settings import Optimizer

ROUNDS = 5
SETTINGS: dict[str, dict[str, bool]] = {"eager": {}, "compiled": {"compiled": True}, "graphs": {"compiled": True, "graphs": True}}


class Part:
    """What all parts share: the device, the clock, and where rows go."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device, self.tiny = str(options.device), bool(options.tiny)
        self.deadline = time.monotonic() + options.seconds
        self.seconds = float(options.seconds)
        self.on_gpu = self.device.startswith("cuda")
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")

    def row(self, **values: Any) -> None:
        """One row of the record."""
        print(json.dumps(values), flush=True)

    def has_time(self, name: str, share: float = 0.35) -> bool:
        """Whether that share of the part's time is left; says so in a row where it is not."""
        left = self.deadline - time.monotonic()
        if left < share * self.seconds:
            self.row(left_out=name, reason=f"{left:.0f} of {self.seconds:.0f} s left")
            return False
        return True

    def settings(self) -> Iterator[str]:
        """Eager, compiled and, on a GPU, CUDA graphs, as long as there is time."""
        for setting in SETTINGS:
            if (setting != "graphs" or self.on_gpu) and (setting == "eager" or self.has_time(setting)):
                yield setting

    def rates(self) -> MachineRates:
        """The device's own."""
        return measure_rates(self.device, ("bf16",), size=256 if self.tiny else None)

    def speed(self, jobs: dict[str, Callable[[], int]]) -> dict[str, dict[str, Any]]:
        """Images a second of each job, a call of which returns how many it did: all rounds and their median. The first calls, which
        compile and plan, are not timed."""
        calls, speeds = {}, {name: [] for name in jobs}
        for name, job in jobs.items():
            for _ in range(1 if self.tiny else 3):
                started = time.perf_counter()
                job()
                synchronize(self.device)
            calls[name] = max(1, round((0.01 if self.tiny else 1.5) / (time.perf_counter() - started)))
        order = list(jobs)
        for turn in range(2 if self.tiny else ROUNDS):
            for name in islice(cycle(order), turn % len(order), turn % len(order) + len(order)):
                started, images = time.perf_counter(), 0
                for _ in range(calls[name]):
                    images += jobs[name]()
                synchronize(self.device)
                speeds[name].append(images / (time.perf_counter() - started))
        return {name: {"images_per_second": statistics.median(values), "rounds": values} for name, values in speeds.items()}

    def peak(self) -> int | None:
        """Most bytes of GPU memory since the last question."""
        if not self.on_gpu:
            return None
        most = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return most


def ratio(measured: dict[str, dict[str, Any]], ours: str, peer: str) -> float:
    """Median over the rounds of our speed as a multiple of the peer's."""
    return statistics.median(a / b for a, b in zip(measured[ours]["rounds"], measured[peer]["rounds"], strict=True))


def resident(
    part: Part, count: int, channels: int, size: int, batch: int, padding: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless training batches of random uint8 images that are on the device: normalised, mirrored, and shifted by up to `padding`."""
    pixels = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, device=part.device)
    labels = torch.arange(count, device=part.device) % 10

    def before(images: torch.Tensor, indices: torch.Tensor, epoch: int, draws: Any) -> torch.Tensor:
        if padding:
            images = augmentation.random_crop(images, padding, "zeros", draws)
        return augmentation.random_horizontal_flip(images, draws)

    preprocessing = Preprocessing(size=size, channels=channels, mean=(0.45,) * channels, std=(0.225,) * channels)
    order = EpochOrder(count, batch, seed=0)
    loader = ResidentLoader(pixels, labels, preprocessing, order, augment=(before, lambda images, _draws: images))
    for epoch in range(1_000_000):
        for made in loader.epoch(epoch):
            yield made.images, made.labels


def trainer(part: Part, package: str, network: nn.Module, setting: str) -> TorchJob:
    """The package's training step in bf16, channels last."""
    contestant = Contestant(package, "torch", "train", "bf16", **SETTINGS[setting])  # type: ignore[arg-type]
    return TorchJob(network.to(part.device), contestant, part.device, 10)


def stepping(job: TorchJob, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Callable[[], int]:
    """One step on the next batch."""

    def step() -> int:
        images, labels = next(batches)
        assert job.step is not None
        job.step(images, labels)
        return len(images)

    return step


def training(part: Part) -> None:
    """ResNet-50 at 224 pixels, ours and timm's module in the same settings, on batches that are there and on resident uint8 images."""
    import timm

    name, size, batch = ("resnet18", 32, 2) if part.tiny else ("resnet50", 224, 256)
    rates, work = part.rates(), work_of(resnets.get_spec(name), size)
    part.row(machine=rates.as_json(), network=name, size=size, batch=batch, macs=work.macs)
    megabytes = {kind: work.traffic.training(2, epilogue=kind == "epilogue") / 1e6 for kind in ("separate", "epilogue")}
    part.row(
        megabytes_an_image=megabytes,
        about="bytes that a training step in bf16 has to move: separate, with norm, ReLU and addition fused into a pass of their own; "
        "epilogue, with the norms' sums made inside the convolutions (resnets.inspection.traffic)",
    )
    for setting in part.settings():
        networks = {"resnets": resnets.create_model(name), "timm": timm.create_model(name)}
        if setting == "eager" and part.on_gpu:
            networks["resnets-fused-norms"] = resnets.create_model(name)
            fuse_norms(networks["resnets-fused-norms"])
        steps = {}
        for package, network in networks.items():
            job = trainer(part, package.partition("-")[0], network, setting)
            fixed = job.placed(numpy.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(numpy.float32))
            steps[f"{package}, synthetic"] = stepping(job, iter(lambda fixed=fixed: fixed, None))
            steps[f"{package}, resident"] = stepping(job, resident(part, 8 * batch, 3, size, batch, 0))
        measured = part.speed(steps)
        for engine, values in measured.items():
            speed = values["images_per_second"]
            values["share_of_matrix_rate"] = speed * 3 * work.macs / rates.macs_per_second["bf16"]
            values["share_of_copy_limit"] = {
                kind: speed * 1e6 * size_ / rates.copied_bytes_per_second for kind, size_ in megabytes.items()
            }
            values["limit_images_per_second"] = work.limit(rates, "train", "bf16", batch)
            if engine.startswith("resnets"):
                values["ratio_to_timm"] = ratio(measured, engine, f"timm, {engine.partition(', ')[2]}")
        part.row(setting=setting, precision="bf16", engines=measured, peak_memory_bytes=part.peak())


def prediction(part: Part) -> None:
    """ResNet-50 at 224 pixels in bf16, at batch 1 and at a large one."""
    import timm

    name, size = ("resnet18", 32) if part.tiny else ("resnet50", 224)
    rates, work = part.rates(), work_of(resnets.get_spec(name), size)
    part.row(machine=rates.as_json(), network=name, size=size, macs=work.macs)
    for batch in (1, 4 if part.tiny else 256):
        for setting in part.settings():
            if setting == "graphs" and batch > 1:
                continue  # they spare the time between kernels, of which a large batch has none
            contestant = Contestant("timm", "torch", "predict", "bf16", **SETTINGS[setting])
            peer = TorchJob(timm.create_model(name).to(part.device), contestant, part.device, 1000)
            arrays = numpy.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(numpy.float32)
            placed = peer.placed(arrays)
            engine = TorchEngine(resnets.create_model(name).to(part.device), precision="bf16")
            if SETTINGS[setting]:
                engine.network = torch.compile(
                    engine.network, mode="reduce-overhead" if setting == "graphs" else None, dynamic=False
                )  # type: ignore[assignment]
            images = torch.from_numpy(arrays).to(part.device, memory_format=torch.channels_last)

            def ours(engine: TorchEngine = engine, images: torch.Tensor = images) -> int:
                return len(engine.logits(images))

            def theirs(peer: TorchJob = peer, placed: Any = placed) -> int:
                return len(peer.run(placed))

            measured = part.speed({"resnets": ours, "timm": theirs})
            for values in measured.values():
                values["share_of_limit"] = values["images_per_second"] / work.limit(rates, "predict", "bf16", batch)  # type: ignore[operator]
            measured["resnets"]["ratio_to_timm"] = ratio(measured, "resnets", "timm")
            part.row(batch=batch, setting=setting, precision="bf16", engines=measured, peak_memory_bytes=part.peak())


def small(part: Part) -> None:
    """ResNet-18 and WRN-28-10 on images of 32 pixels; timm's ResNet-18 with its stem replaced, as is usual for them."""
    import timm

    batch = 4 if part.tiny else 512
    networks = {"resnet18:stem=cifar,num_classes=10,input_size=32": "resnet18", "wrn-28-10": None}
    if part.tiny:
        networks = {"wrn-10-1": None}
    for name, peer_name in networks.items():
        rates, work = part.rates(), work_of(resnets.get_spec(name), 32)
        for setting in part.settings():
            makers = {"resnets": resnets.create_model(name)}
            if peer_name is not None:
                peer = timm.create_model(peer_name, num_classes=10)
                peer.conv1, peer.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
                makers["timm"] = peer
            jobs = {
                package: stepping(trainer(part, package, network, setting), resident(part, 16 * batch, 3, 32, batch, 4))
                for package, network in makers.items()
            }
            measured = part.speed(jobs)
            for values in measured.values():
                values["share_of_limit"] = values["images_per_second"] / work.limit(rates, "train", "bf16", batch)  # type: ignore[operator]
            if "timm" in measured:
                measured["resnets"]["ratio_to_timm"] = ratio(measured, "resnets", "timm")
            part.row(network=name, batch=batch, setting=setting, precision="bf16", engines=measured, peak_memory_bytes=part.peak())


def recipe(part: Part) -> None:
    """A whole run of the fast recipe through the command."""
    name, more = ("digits", ["--epochs", "1", "--network", "cifar-resnet8"]) if part.tiny else ("fashion-mnist", [])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "resnets", "train", name, *more, "--device", part.device, "--no-report", "--json"]
        done = subprocess.run([*command, "--output", str(Path(folder) / "run")], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"resnets train {name}: {done.stderr.strip().splitlines()[-1]}")
    last = json.loads(done.stdout.splitlines()[-1])
    part.row(recipe=name, **{key: last[key] for key in ("top1", "training_seconds", "images_per_second")})


def depth(part: Part) -> None:
    """Networks of 20 to 1001 layers on random images of Fashion-MNIST's shape: the speed of some hundred steps, and nothing learned."""
    names = [f"cifar-resnet{depth}" for depth in ((8,) if part.tiny else (20, 32, 44, 56, 110))]
    batch = 8 if part.tiny else 128
    for name in [*names, "cifar-preact-resnet14" if part.tiny else "cifar-preact-resnet1001"]:
        for setting in ("eager", "graphs") if part.on_gpu else ("eager",):
            if not part.has_time(f"{name}, {setting}", 0.1):
                continue
            network = (
                resnets.create_model(name, in_channels=1, input_size=28).to(part.device, memory_format=torch.channels_last).train()
            )
            # Kernels replayed without compiling them anew, which a thousand layers would take too long for.
            module: Any = torch.compile(network, backend="cudagraphs") if setting == "graphs" else network
            step = TrainingStep(
                module, build_optimizer(Optimizer(learning_rate=1e-3), network), objective=Classifying(), precision="bf16"
            )
            batches = resident(part, 16 * batch, 1, 28, batch, 4)

            def once(step: TrainingStep = step, batches: Iterator[tuple[torch.Tensor, torch.Tensor]] = batches) -> int:
                images, labels = next(batches)
                step(Inputs(images, labels), step=1, progress=0.0, factor=1.0)
                return len(images)

            measured = part.speed({"resnets": once})["resnets"]
            step.check()
            part.row(network=name, batch=batch, setting=setting, precision="bf16", **measured, peak_memory_bytes=part.peak())


def detection(part: Part) -> None:
    """Training steps of a detector beside torchvision's, on random scenes; left out where the detection room is not there."""
    if find_spec("resnets.detection") is None:
        part.row(left_out="detection", reason="resnets.detection is not installed")
        return
    import torchvision

    from resnets.detection import create_detector

    name, size, batch = ("resnet18-fpn", 64, 1) if part.tiny else ("resnet50-fpn", 320, 16)
    sizes = {"min_size": size, "max_size": 2 * size}
    detectors = {"resnets": create_detector(name, num_classes=11, **{**sizes, "min_size": (size,)})}
    if not part.tiny:
        make = torchvision.models.detection.fasterrcnn_resnet50_fpn
        detectors["torchvision"] = make(weights=None, weights_backbone=None, num_classes=11, trainable_backbone_layers=5, **sizes)
    images = [torch.rand(3, size, size, device=part.device) for _ in range(batch)]
    boxes = torch.tensor([[4.0, 4.0, 28.0, 28.0], [30.0, 20.0, 60.0, 56.0]], device=part.device) * (size / 64)
    targets = [{"boxes": boxes, "labels": torch.tensor([1, 2], device=part.device)} for _ in images]
    jobs = {}
    for engine, detector in detectors.items():
        detector = detector.to(part.device).train()
        optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=1e-6, momentum=0.9)

        def once(detector: nn.Module = detector, optimizer: torch.optim.Optimizer = optimizer) -> int:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(part.device.partition(":")[0], torch.bfloat16):
                losses = detector(images, targets)
            sum(losses.values()).backward()
            optimizer.step()
            return batch

        jobs[engine] = once
    measured = part.speed(jobs)
    if "torchvision" in measured:
        measured["resnets"]["ratio_to_torchvision"] = ratio(measured, "resnets", "torchvision")
    part.row(detector=name, size=size, batch=batch, precision="bf16", engines=measured, peak_memory_bytes=part.peak())


PARTS = {part.__name__: part for part in (training, prediction, small, recipe, depth, detection)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --tiny runs on a CPU")
    keep_large_buffers()
    if options.tiny:
        torch.compiler.set_stance("force_eager")  # compiling tiny networks takes longer than all the rest
    PARTS[options.part](Part(options))


if __name__ == "__main__":
    main()
