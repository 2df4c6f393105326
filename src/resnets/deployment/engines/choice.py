"""Which engine is the fastest here: what is installed, what the processor can, and how much work there is.

A conversion takes seconds before the first image and has to be earned: the rule compares them with the seconds that the faster
engine saves. Its figures are processor seconds of one thread, measured with resnet18 and resnet50 at 224 pixels on an AMD EPYC (Zen 4) with
torch 2.15, onnxruntime 1.31 and OpenVINO 2026.4; elsewhere they are a guess of the right size, and `resnets benchmark` says what is
true.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from ...core.precision import resolved_precision
from ...inspection.cost import network_cost
from ...networks import NetworkSpec
from ..graph.names import EngineName

FEW = 64
"""Fewer images than this stay with torch, whatever the network."""
_TORCH_RATE = 29e9
"""Multiply-adds a second and thread of torch in fp32, one image at a time: 65 ms for resnet18, 139 ms for resnet50."""
_CONVERSION_SECONDS = (3.0, 0.05)
"""Seconds of a conversion: for the first use of torch.export, and for each convolution of the network."""
_SAVED = {"openvino": 0.43, "onnxruntime": 0.42}
"""Engines, the preferred one first, and the share of torch's time that they saved with resnet50 in fp32 (79 and 81 ms)."""


@dataclass(frozen=True)
class Choice:
    """An engine, a precision and the reason in words."""

    engine: EngineName
    precision: str
    reason: str

    def sentence(self) -> str:
        """One line for people."""
        return f"engine: {self.engine}, {self.precision} ({self.reason})"


def installed(engine: str) -> bool:
    """Whether the package of an engine is here."""
    return find_spec(engine) is not None if engine in ("onnxruntime", "openvino") else True


def fast_precision(engine: str, device: torch.device) -> str:
    """The precision "auto" for an engine: bf16 where it runs faster for it, else fp32."""
    able = engine != "onnxruntime" and (device.type == "cpu" or engine.startswith("torch"))
    return resolved_precision("auto", device.type)[0] if able else "fp32"


def choose_engine(spec: NetworkSpec, device: torch.device, precision: str | None = None, count: int | None = None) -> Choice:
    """The engine that should have `count` images (None: many) done first.

    `precision` is that of `open_engine`: None for fp32, "auto" for the fastest one.
    """

    def choice(engine: EngineName, reason: str) -> Choice:
        return Choice(engine, fast_precision(engine, device) if precision == "auto" else precision or "fp32", reason)

    if device.type != "cpu":
        return choice("torch", f"the network is on {device.type}")
    if count is not None and count < FEW:
        return choice("torch", f"a conversion pays from {FEW} images on")
    able: list[EngineName] = [
        engine
        for engine in ("openvino", "onnxruntime")
        if installed(engine) and (engine == "openvino" or (precision in (None, "fp32", "fp16", "auto") and _can_write_onnx()))
    ]
    if spec.head != "classes" or not spec.num_classes:
        return choice("torch", "the network has no class logits that others could give")
    if precision == "fp16" and "openvino" in able:
        able.remove("openvino")
    if not able:
        return choice("torch", "neither openvino nor onnxruntime is installed; pip install 'resnets[openvino]' is faster")
    best = able[0]
    if count is None:
        return choice(best, "the fastest that is installed")
    cost = network_cost(spec)
    saved = _SAVED[best] * cost.macs * count / (_TORCH_RATE * torch.get_num_threads())
    start, each = _CONVERSION_SECONDS
    conversion = start + each * num_convolutions(spec)
    words = f"converting takes about {conversion:.0f} s and saves about {saved:.0f} s of {count:,} images"
    return choice(best if saved > conversion else "torch", words)


def num_convolutions(spec: NetworkSpec) -> int:
    """Convolutions of the network, which is built without memory for it."""
    from ...networks import build
    from ...networks.initialization import CONVOLUTION_TYPES

    with torch.device("meta"):
        return sum(isinstance(module, CONVOLUTION_TYPES) for module in build(spec).modules())


def _can_write_onnx() -> bool:
    return find_spec("onnx") is not None and find_spec("onnxscript") is not None
