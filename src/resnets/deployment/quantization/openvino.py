"""INT8 for OpenVINO, by nncf: the graph gets FakeQuantize operations, which OpenVINO turns into integer arithmetic where it compiles it.

Legend: N images, C channels, S spatial shape. Weights are int8, symmetric, by output channel; maps uint8 (or int8 where they have
negative values) between the means over images of their least and greatest values; biases are corrected for the error's mean
(Nagel 2019, 1906.04721 §4.2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..engines.engine import needed
from ..engines.openvino import OpenVinoEngine, converted, describe, model_contents, open_contents
from ..graph.description import Description
from .graph import Convolutions, Form, Operation, import_nncf, kept_in_float, quiet

PACKAGES = {"openvino": "openvino", "nncf": "openvino"}
"""What has to be installed, and the extra that brings it."""
_LAYERS = ("Convolution", "GroupConvolution", "MatMul")
_PASSING = ("Relu", "MaxPool")
_INTEGERS = ("i8", "u8")


class OpenVinoForm(Form):
    """See `quantization_graph.Form`.

    Args:
        network: prepared, the graph of which `program` is.
        calibration: (N, C, *S) float32.

    Raises:
        ValueError: openvino or nncf is missing.
    """

    makers = False  # its integer convolutions put out whatever their readers want

    def __init__(self, network: nn.Module, program: ExportedProgram, description: Description, calibration: Tensor) -> None:
        for package, extra in PACKAGES.items():
            needed(package, extra)
        with quiet():
            self.model = converted(program, description)
        self.engine = OpenVinoEngine(self.model, description)
        self.operations = _operations(self.model, network)
        self.samples = [images.unsqueeze(0).contiguous().numpy() for images in calibration]

    def quantized(self, float_layers: Collection[str]) -> dict[str, bytes]:
        nncf = import_nncf()
        kept = kept_in_float(self.operations, float_layers, makers=self.makers)
        with quiet():
            model = nncf.quantize(
                self.model.clone(),
                nncf.Dataset(self.samples),
                preset=nncf.QuantizationPreset.MIXED,  # sums have maps with uneven ranges
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(self.samples),
                ignored_scope=nncf.IgnoredScope(names=sorted(kept)) if kept else None,
            )
        return model_contents(model)

    def described(self, contents: dict[str, bytes], description: Description) -> dict[str, bytes]:
        import openvino

        model = openvino.Core().read_model(contents[".xml"], contents[".bin"])
        describe(model, description)
        return model_contents(model)

    def opened(self, contents: dict[str, bytes], file: str) -> OpenVinoEngine:
        return open_contents(contents, file, precision=None, threads=None)

    def convolutions(self, contents: dict[str, bytes], engine: Any) -> Convolutions:
        return executed(engine)


def executed(engine: OpenVinoEngine) -> Convolutions:
    """The convolutions of the compiled model by the number format of the kernel that runs them, as OpenVINO tells it."""
    formats = []
    for op in engine.compiled.get_runtime_model().get_ordered_ops():
        about = op.get_rt_info()
        if about["layerType"].astype(str) in ("Convolution", "GroupConvolution"):
            formats.append(about["runtimePrecision"].astype(str))
    return Convolutions(sum(name in _INTEGERS for name in formats), len(formats))


def _operations(model: Any, network: nn.Module) -> tuple[Operation, ...]:
    """The model's operations; layers are found by their weights, since the conversion forgets the modules' names."""
    constant: set[str] = set()
    unclaimed = [(name, _flat(weight)) for name, module in network.named_modules() if (weight := _weight(module)) is not None]
    found: list[Operation] = []
    for op in model.get_ordered_ops():
        kind, name = op.get_type_name(), op.get_friendly_name()
        sources = [value.get_node().get_friendly_name() for value in op.input_values()]
        if kind in ("Parameter", "Result"):
            continue
        if all(source in constant for source in sources):  # constants, and what is computed of them
            constant.add(name)
            continue
        inputs = tuple(source for source in sources if source not in constant and source not in _parameters(model))
        layer = None
        if kind in _LAYERS:
            layer = _claimed(op, unclaimed)
        # An Add with a constant is the bias of the layer before it.
        passes = kind in _PASSING or (kind == "Add" and len(sources) - len(set(sources) & constant) == 1)
        found.append(Operation(name, "layer" if layer else "passing" if passes else "other", inputs, layer))
    return tuple(found)


def _parameters(model: Any) -> frozenset[str]:
    return frozenset(parameter.get_friendly_name() for parameter in model.get_parameters())


def _weight(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight", None)
    return weight.detach() if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)) and weight is not None else None


def _flat(weight: Tensor) -> np.ndarray[Any, Any]:
    return weight.contiguous().flatten().numpy()


def _claimed(op: Any, unclaimed: list[tuple[str, np.ndarray[Any, Any]]]) -> str | None:
    """The name of the layer that has the operation's weights, which is taken out of the list."""
    source = op.input_value(1).get_node()
    while source.get_type_name() != "Constant":
        if not source.input_values():
            return None
        source = source.input_value(0).get_node()
    values = source.get_data()
    for place, (name, weight) in enumerate(unclaimed):
        for candidate in (values, values.T) if values.ndim == 2 else (values,):
            if candidate.size == weight.size and np.array_equal(candidate.reshape(-1), weight):
                del unclaimed[place]
                return name
    return None


def settings() -> Mapping[str, str]:
    """What a record says of the method."""
    return {"method": "nncf.quantize", "weights": "int8, symmetric, by output channel", "maps": "uint8 or int8, by map"}
