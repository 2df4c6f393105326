"""OpenVINO: its intermediate representation, a pair of files (.xml the graph, .bin the weights), for CPUs.

Legend: N images of a batch, C channels, S spatial shape, K classes.
"""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ...core.errors import JobError, UserError
from ...core.limits import ACTIVATIONS, check_limit
from ...core.machine import total_memory
from ...core.reading import TABLE_LIMIT, read_file
from ..graph.description import KEYS, Description, from_strings
from ..graph.exported import OUTPUTS
from ..graph.names import EngineName
from .engine import Engine, needed

SUFFIXES = (".xml", ".bin")
PRECISIONS = ("fp32", "fp16")
"""fp16 is that of the stored weights. bf16 is no form of the file: OpenVINO computes in it where it is asked to and the processor can."""
_HINTS = {"bf16": "bf16"}  # everything else computes in float32, but for what an int8 graph says itself
_SECTION = "resnets"
_OPERATIONS = {
    "Abs", "Add", "AvgPool", "BatchNormInference", "Broadcast", "Clamp", "Concat", "Const", "Constant", "Convert", "Convolution",
    "Divide", "Exp", "FakeQuantize", "Gather", "GroupConvolution", "GroupNormalization", "Log", "MatMul", "Maximum", "MaxPool", "Minimum",
    "Multiply", "MVN", "Negative", "Pad", "Parameter", "Power", "ReduceMax", "ReduceMean", "ReduceSum", "ReLU", "Relu", "Reshape",
    "Result", "ShapeOf", "Sigmoid", "Slice", "Softmax", "SoftMax", "Split", "Sqrt", "Squeeze", "StridedSlice", "Subtract", "Swish",
    "Tanh", "TopK", "Transpose", "Unsqueeze", "VariadicSplit",
}  # fmt: skip
"""What our networks consist of. None of them repeats anything or opens a file; the sizes of their results are looked at."""
_DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_SHAPES = 2
"""Input shapes whose own compiled models are kept: of full batches, and of a last one."""


def converted(program: ExportedProgram, description: Description) -> Any:
    """An exported graph as OpenVINO's model, with the description in its rt_info.

    Raises:
        ValueError: openvino is missing.
    """
    needed("openvino", "openvino")
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(program)
    for output, name in zip(model.outputs, OUTPUTS[description.form.input], strict=True):
        output.get_tensor().set_names({name})
    describe(model, description)
    return model


def describe(model: Any, description: Description) -> None:
    """Puts the description into the rt_info of OpenVINO's model, in the place of an older one."""
    for key, value in description.strings().items():
        model.set_rt_info(value, [_SECTION, key])


def model_contents(model: Any, *, halve: bool = False) -> dict[str, bytes]:
    """OpenVINO's model as the content of its two files; `halve` stores float weights as fp16."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        try:
            openvino.save_model(model, path, compress_to_fp16=halve)
            return read_contents(path)
        except RuntimeError as error:  # a stream's error, which does not say which
            raise JobError(f"could not write the network's temporary files in {folder}: is there room? ({error})") from None


def serialized(program: ExportedProgram, description: Description) -> dict[str, bytes]:
    """The two files of an exported graph, suffix -> content; see `converted`."""
    return model_contents(converted(program, description), halve=description.form.precision == "fp16")


class OpenVinoEngine(Engine):
    """OpenVINO's model, compiled for this processor: once for inputs of any shape, and again for each shape that comes a second time,
    which takes a few hundredths of a second and saves a few hundredths of the time from then on."""

    name: EngineName = "openvino"

    def __init__(
        self,
        model: Any,
        description: Description,
        *,
        precision: str | None = None,
        threads: int | None = None,
        stranger: str = "",
    ) -> None:
        """Args:
        precision: "bf16" computes in bf16; None or the form's own as the form says.
        threads: None for as many as torch has.
        stranger: the file of a writer who is not trusted: its graph is looked at for each shape of inputs before it runs.

        Raises:
            ValueError: bf16 on a processor without it.
        """
        import openvino

        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError("this processor has no bf16 instructions for OpenVINO; use --precision fp32")
        own = description.form.precision
        if precision not in (None, own, "bf16"):
            raise UserError(f"this network was exported in {own}; OpenVINO computes it in {own} or bf16, not {precision}")
        self._settings = {
            "INFERENCE_PRECISION_HINT": _HINTS.get(precision or own, "f32"),
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "NUM_STREAMS": 1,  # one batch at a time, with all threads
        }
        super().__init__(description, f"openvino {openvino.__version__.partition('-')[0]}", precision or own)
        self.compiled = core.compile_model(model, "CPU", self._settings)
        self._core, self._model, self._stranger = core, model, stranger
        self._any_shape = self.compiled.create_infer_request()
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def outputs(self, inputs: Tensor) -> tuple[Tensor, ...]:
        request = self._request(tuple(inputs.shape))
        request.infer([inputs.cpu().contiguous().numpy()], share_inputs=True, share_outputs=True)
        # Copied: the request writes its next results into the same memory.
        return tuple(torch.from_numpy(request.get_tensor(name).data.copy()) for name in OUTPUTS[self.description.form.input])

    def _request(self, shape: tuple[int, ...]) -> Any:
        """What runs inputs of this shape: its own request from its second time on."""
        request = self._requests.pop(shape, None)
        if request is None:
            if self._stranger:
                check_results(self._model, shape, self.spec.num_classes, self._stranger)
            request = self._any_shape
        elif request is self._any_shape:
            model = self._model.clone()
            model.reshape(list(shape))
            request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        self._requests[shape] = request
        while len(self._requests) > _SHAPES:
            self._requests.popitem(last=False)
        return request


def open_contents(
    contents: Mapping[str, bytes], file: str, *, precision: str | None, threads: int | None, own: bool = False
) -> OpenVinoEngine:
    """The engine for the content of a pair of files, or of an ONNX file. `own` as in `torch_export`: without it the graph is looked at.

    Raises:
        ValueError: openvino is missing, the content is damaged or not a resnets model file, or it cannot run in that precision.
    """
    needed("openvino", "openvino")
    import openvino

    core = openvino.Core()
    try:
        if ".onnx" in contents:
            model, section = core.read_model(contents[".onnx"]), "framework"
        else:
            # In another encoding a declaration would be other bytes, which OpenVINO's reader of XML understands.
            if b"\0" in contents[".xml"] or not is_utf8(contents[".xml"]):
                raise UserError(f"{file} is no text in UTF-8, as which `resnets export` writes it")
            if _DECLARATION.search(contents[".xml"]):
                raise UserError(f"{file} declares a document type, in which entities can hide; `resnets export` writes none")
            model, section = core.read_model(contents[".xml"], contents[".bin"]), _SECTION
    except (RuntimeError, UnicodeDecodeError) as error:
        lines = [
            line for line in str(error).splitlines() if line.strip() and "Exception from" not in line and "Check '" not in line
        ]
        why = lines[-1].strip() if lines else "no reason given"
        raise UserError(f"{file} is no file that OpenVINO can run, or it is damaged: {why}") from None
    if not own:
        check_graph(model, file)
    try:
        strings = {key: model.get_rt_info([section, key]).astype(str) for key in KEYS if model.has_rt_info([section, key])}
    except (UnicodeDecodeError, RuntimeError) as error:
        raise UserError(f"the metadata of {file} is damaged: {' '.join(str(error).split())}") from None
    stranger = "" if own else file
    return OpenVinoEngine(model, from_strings(strings, file), precision=precision, threads=threads, stranger=stranger)


def check_graph(model: Any, file: str) -> None:
    """Looks at a stranger's graph before it is compiled, which computes what is constant in it.

    Raises:
        UserError: it has an operation that networks of ours do not have, or one with a result that fills the memory.
    """
    for operation in model.get_ops():
        kind = operation.get_type_name()
        if kind not in _OPERATIONS:
            raise UserError(
                f"{file} has the operation {kind!r}, which no network of resnets has; if you trust whoever wrote it, --trust (in "
                "Python trust=True) runs it"
            )
        for output in operation.outputs():
            sides = [side.get_length() for side in output.get_partial_shape() if side.is_static]
            check_limit(f"{file} has a result of at least this many values:", math.prod(sides), ACTIVATIONS)


def check_results(model: Any, shape: Sequence[int], classes: int, file: str) -> None:
    """Looks at every result of a stranger's graph for inputs of one shape: a size may follow from that of the inputs in any way.

    Raises:
        UserError: a result is larger than this machine's memory, has a size that only computing tells, or the last of them is not (N, K).
    """
    sized = model.clone()
    try:
        sized.reshape(list(shape))
    except (RuntimeError, UnicodeDecodeError) as error:
        raise UserError(
            f"the graph of {file} takes no inputs of shape {tuple(shape)}: {' '.join(str(error).split())[:300]}"
        ) from None
    for operation in sized.get_ops():
        for output in operation.outputs():
            sides = output.get_partial_shape()
            if sides.is_dynamic:
                raise UserError(f"the graph of {file} has a result whose size is unknown before it is computed; ours have none")
            size = math.prod(side.get_length() for side in sides) * max(1, output.get_element_type().size)
            check_limit(f"the graph of {file} has, for inputs of shape {tuple(shape)}, a result of bytes:", size, total_memory())
    found = [side.get_length() for side in sized.outputs[-1].get_partial_shape()]
    if found != [shape[0], classes]:
        raise UserError(f"the graph of {file} gives {found} for {shape[0]} images of {classes} classes")


def is_utf8(content: bytes) -> bool:
    """Whether bytes are text in UTF-8; OpenVINO's own messages break on others."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_contents(path: Path) -> dict[str, bytes]:
    """The content of a pair of files named by its .xml, as `open_contents` takes it.

    Raises:
        OSError: one of them is missing.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise FileNotFoundError(f"{path} needs its weights beside it: there is no {weights.name}")
    return {".xml": read_file(path, limit=TABLE_LIMIT), ".bin": read_file(weights, limit=TABLE_LIMIT)}
