"""INT8 for onnxruntime: the graph gets pairs of QuantizeLinear and DequantizeLinear (QDQ), which onnxruntime joins with what is between
them into integer operations when it opens the file.

Legend: N images, C channels, S spatial shape. Weights are int8, symmetric, by output channel; maps uint8, for which the processors'
instructions (VNNI and the like: unsigned by signed) are made, between the means over images of their least and greatest values. On
x86 processors without VNNI sums of two products may saturate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..engines.engine import Engine, needed
from ..engines.onnx import open_contents, serialized
from ..graph.description import Description
from .graph import Convolutions, Form, Operation, kept_in_float, quiet

PACKAGES = {"onnx": "export", "onnxscript": "export", "onnxruntime": "export"}
"""What has to be installed, and the extra that brings it."""
OPERATIONS = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Pad")
"""What becomes integer. The head's mean does not: its map is small."""
_LAYERS, _PASSING = ("Conv", "Gemm", "MatMul"), ("Relu", "MaxPool", "Identity")
_INTEGER, _FLOAT = ("QLinearConv", "ConvInteger", "NhwcQLinearConv"), ("Conv", "FusedConv", "NhwcFusedConv")


class OnnxForm(Form):
    """See `quantization_graph.Form`.

    Args:
        network: prepared, the graph of which `program` is.
        calibration: (N, C, *S) float32.

    Raises:
        ValueError: onnx, onnxscript or onnxruntime is missing.
    """

    makers = True

    def __init__(self, network: nn.Module, program: ExportedProgram, description: Description, calibration: Tensor) -> None:
        for package, extra in PACKAGES.items():
            needed(package, extra)
        contents = serialized(program, description)
        self.engine = open_contents(contents, "the network in float32", precision=None, threads=None)
        self.model = _preprocessed(contents[".onnx"])
        self.operations = _operations(self.model, {name for name, _ in network.named_modules()})
        self.calibration, self.ranges = calibration, None

    def quantized(self, float_layers: Collection[str]) -> dict[str, bytes]:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        if self.ranges is None:
            self.ranges = _ranges(self.model, self.calibration, self.engine.description.form.input)
        kept = kept_in_float(self.operations, float_layers, makers=self.makers)
        with quiet():
            quantizer: Any = QDQQuantizer(
                _copy(self.model),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=self.ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=sorted(kept),
                op_types_to_quantize=list(OPERATIONS),
                extra_options={},
            )
            quantizer.quantize_model()
        return {".onnx": quantizer.model.model.SerializeToString()}

    def described(self, contents: dict[str, bytes], description: Description) -> dict[str, bytes]:
        import onnx

        model = onnx.load_from_string(contents[".onnx"])
        model.producer_name = "resnets"
        del model.metadata_props[:]
        for key, value in description.strings().items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
        return {".onnx": model.SerializeToString()}

    def opened(self, contents: dict[str, bytes], file: str) -> Engine:
        return open_contents(contents, file, precision=None, threads=None)

    def convolutions(self, contents: dict[str, bytes], engine: Engine) -> Convolutions:
        return executed(contents[".onnx"])


def executed(content: bytes) -> Convolutions:
    """The convolutions of the graph that onnxruntime makes of a file for this processor, by what kind of operation they are."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "executed.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3  # it warns that such a file is for this processor alone, which is why it is wanted
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        kinds = [node.op_type for node in onnx.load(path).graph.node]
    integer = sum(kind in _INTEGER for kind in kinds)
    return Convolutions(integer, integer + sum(kind in _FLOAT for kind in kinds))


def _preprocessed(content: bytes) -> Any:
    """The graph with known shapes, constants computed and nothing that does nothing, as the quantizer wants it."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quiet():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(content)
        # The exporter has written the shapes down already, with names for the free ones, so that symbols need no second inference.
        quant_pre_process(before, after, skip_symbolic_shape=True)
        return onnx.load(after)


def _ranges(model: Any, calibration: Tensor, name: str) -> Any:
    """Least and greatest value of every map: means over the images, which one odd image does not stretch."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Tensor] = iter(torch.split(calibration, 1))

        def get_next(self) -> dict[str, Any] | None:
            images = next(self.left, None)
            return None if images is None else {name: images.contiguous().numpy()}

    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "graph.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            path,
            list(OPERATIONS),
            augmented_model_path=str(Path(folder) / "watched.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"moving_average": True},
        )
        with torch.inference_mode():
            calibrator.collect_data(Images())
        return calibrator.compute_data()


def _copy(model: Any) -> Any:
    copied = type(model)()
    copied.CopyFrom(model)
    return copied


def _operations(model: Any, modules: Collection[str]) -> tuple[Operation, ...]:
    """The graph's operations; a layer's weights still have the module's name."""
    makers = {output: node.name for node in model.graph.node for output in node.output}
    found = []
    for node in model.graph.node:
        layer = None
        if node.op_type in _LAYERS:
            names = (name.removeprefix("network.").removesuffix(".weight") for name in node.input[1:])
            layer = next((name for name in names if name in modules), None)
        kind = "layer" if layer else "passing" if node.op_type in _PASSING else "other"
        inputs = tuple(makers[name] for name in node.input if name in makers)
        found.append(Operation(node.name, kind, inputs, layer))  # type: ignore[arg-type]
    return tuple(found)


def settings() -> Mapping[str, str]:
    """What a record says of the method."""
    return {"method": "onnxruntime QDQ", "weights": "int8, symmetric, by output channel", "maps": "uint8, by map"}
