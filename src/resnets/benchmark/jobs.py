"""What each contestant of `resnets benchmark` does over and over: a forward pass, or a training step. Runs in the contestant's process.

Legend: b images of a batch, C channels, S height and width in pixels, K classes. Images come as (b, C, S, S) float32 in NumPy and are
brought to the device, in the memory layout that the contestant likes best, before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy
from numpy.typing import NDArray

from .contestants import EXPORTED, MODEL, PEER_ONNX, Contestant

Images = NDArray[numpy.float32]


class Job(Protocol):
    """A contestant at work."""

    def placed(self, images: Images) -> Any:
        """A batch where and how the contestant takes it."""

    def run(self, batch: Any) -> Any:
        """One forward pass or training step on a batch that `placed` gave; on a GPU it may return before it is done."""

    def logits(self, batch: Any) -> NDArray[Any]:
        """The answers (b, K) of a forward pass."""


def open_job(contestant: Contestant, folder: Path, *, threads: int, device: str, peers: dict[str, str]) -> Job:
    """Builds and loads what a contestant runs, from the files that benchmark_files.py wrote.

    Raises:
        ValueError, RuntimeError, ImportError, OSError: the package or runtime cannot.
    """
    if contestant.runtime == "torch":
        return _torch_job(contestant, folder, threads, device, peers)
    if contestant.file:
        return _Ours(folder / contestant.file, contestant.runtime, None, threads)
    if contestant.package == "resnets":
        return _Ours(folder / EXPORTED[contestant.runtime], contestant.runtime, contestant.precision, threads)
    if contestant.runtime == "onnxruntime":
        return _OnnxRuntime(folder / PEER_ONNX, threads)
    return _OpenVino(folder / PEER_ONNX, contestant.precision, threads)


class _Ours:
    """Our own prediction engine."""

    def __init__(self, network: Any, runtime: Any, precision: str | None, threads: int, device: str = "cpu") -> None:
        from ..deployment.engines.opening import open_engine

        self.engine = open_engine(network, engine=runtime, precision=precision, threads=threads)
        self.device = device

    def placed(self, images: Images) -> Any:
        import torch

        return torch.from_numpy(images).to(self.device)

    def run(self, batch: Any) -> Any:
        return self.engine.logits(batch)

    def logits(self, batch: Any) -> NDArray[Any]:
        return numpy.asarray(self.engine.logits(batch).cpu(), dtype=numpy.float32)


class _OnnxRuntime:
    """A peer's ONNX file in ONNX Runtime, in one process, with all graph optimisations (its default)."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def placed(self, images: Images) -> Any:
        return images

    def run(self, batch: Any) -> Any:
        return self.session.run(None, {self.input: batch})

    def logits(self, batch: Any) -> NDArray[Any]:
        return numpy.asarray(self.session.run(None, {self.input: batch})[0])


class _OpenVino:
    """A peer's ONNX file in OpenVINO, compiled for one request at a time with all threads, for each shape of the input."""

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        import openvino

        self.core = openvino.Core()
        self.model = self.core.read_model(str(path))
        self.settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.compiled: dict[tuple[int, ...], Any] = {}

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self.compiled:
            self.model.reshape(list(shape))
            self.compiled[shape] = self.core.compile_model(self.model, "CPU", self.settings).create_infer_request()
        return self.compiled[shape]

    def placed(self, images: Images) -> Any:
        return images

    def run(self, batch: Any) -> Any:
        return self._request(batch.shape).infer([batch], share_inputs=True, share_outputs=True)

    def logits(self, batch: Any) -> NDArray[Any]:
        return numpy.array(next(iter(self._request(batch.shape).infer([batch]).values())), dtype=numpy.float32)


def _torch_job(contestant: Contestant, folder: Path, threads: int, device: str, peers: dict[str, str]) -> Job:
    import torch

    from ..deployment.graph.folding import fold
    from ..weights.model_file import load_model, read_description
    from .files import peer_network

    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = not contestant.plain
    if not contestant.plain:
        torch.set_float32_matmul_precision("high")
    ours = contestant.package == "resnets"
    predicts = contestant.mode == "predict"
    spec = read_description(folder / MODEL).spec
    network: torch.nn.Module
    if ours:
        trained = load_model(folder / MODEL, device=device)
        if predicts and not contestant.plain and not contestant.graphs:
            name = "torch-compile" if contestant.compiled else "torch"
            return _Ours(trained, name, contestant.precision, threads, device)
        network = fold(trained)[0] if predicts and not contestant.plain else trained
    else:
        network = peer_network(contestant.package, peers[contestant.package], spec.num_classes, spec.in_channels, folder)
    return TorchJob(network.to(device), contestant, device, spec.num_classes)


class TorchJob:
    """A module in torch: forward pass or training step, eager or compiled.

    Attributes:
        step: on images and labels, where the contestant trains.
    """

    def __init__(self, network: Any, contestant: Contestant, device: str, num_classes: int) -> None:
        import torch

        self.device, self.num_classes = device, num_classes
        self.format = torch.contiguous_format if contestant.plain else torch.channels_last
        network = network.to(memory_format=self.format).train(contestant.mode == "train")
        bf16 = contestant.precision == "bf16"
        # What only predicts can be cast as a whole, which is faster than autocast; in training weights stay in float32.
        self.dtype = torch.bfloat16 if bf16 and contestant.mode == "predict" else torch.float32
        network = network.to(self.dtype)
        mixed = bf16 and contestant.mode == "train"
        self.autocast = lambda: torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=mixed)
        module = network
        if contestant.compiled:
            if contestant.mode == "predict" and device == "cpu":
                torch._inductor.config.freezing = True  # weights become constants: torch's own advice for inference
            module = torch.compile(network, mode="reduce-overhead" if contestant.graphs else None, dynamic=False)
        self.module = module
        self.step = self._training(network, contestant) if contestant.mode == "train" else None

    def _training(self, network: Any, contestant: Contestant) -> Callable[[Any, Any], Any]:
        """The step on images and labels; the learning rate is so small that the weights stay as good as they are."""
        import torch
        from torch.nn import functional

        if contestant.package == "resnets" and not contestant.plain:
            from ..classification.losses import Classifying
            from ..training.engine.objective import Inputs
            from ..training.engine.step import TrainingStep
            from ..training.optim.optimizers import build_optimizer
            from ..training.settings import Optimizer

            optimizer = build_optimizer(Optimizer(learning_rate=1e-6), network)
            step = TrainingStep(self.module, optimizer, objective=Classifying(), precision=contestant.precision)
            return lambda images, labels: step(Inputs(images, labels), step=1, progress=0.0, factor=1.0)
        settings: dict[str, Any] = {} if contestant.plain else {"nesterov": True, "fused": True}
        peers_optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4, **settings)

        def peers_step(images: Any, labels: Any) -> None:
            peers_optimizer.zero_grad(set_to_none=True)
            with self.autocast():  # type: ignore[no-untyped-call]
                loss = functional.cross_entropy(self.module(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            peers_optimizer.step()

        return peers_step

    def placed(self, images: Images) -> Any:
        import torch

        tensors = torch.from_numpy(images).to(self.device, self.dtype).contiguous(memory_format=self.format)
        return tensors, torch.arange(len(tensors), device=self.device) % self.num_classes

    def run(self, batch: Any) -> Any:
        import torch

        images, labels = batch
        if self.step is not None:
            return self.step(images, labels)
        with torch.inference_mode():
            return self.module(images)

    def logits(self, batch: Any) -> NDArray[Any]:
        return numpy.asarray(self.run(batch).float().cpu(), dtype=numpy.float32)
