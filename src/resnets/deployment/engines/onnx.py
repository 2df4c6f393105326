"""ONNX: written by torch's exporter, run by onnxruntime.

Legend: N images of a batch, C channels, S spatial shape, K classes.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ...core.errors import UserError
from ...core.reading import TABLE_LIMIT, read_file
from ..graph.description import Description, from_strings
from ..graph.exported import OUTPUTS
from ..graph.names import EngineName
from .engine import Engine, needed

SUFFIXES = (".onnx",)
PRECISIONS = ("fp32", "fp16")
"""onnxruntime's CPU kernels know no bf16 convolution."""
_LOCATION = re.compile(rb"[\x00\x08]location")
"""The key of a name of external data, as protobuf writes it: the length, 8, and the text. A length may be written in more bytes than it
needs, of which the last is then 0."""


def serialized(program: ExportedProgram, description: Description) -> dict[str, bytes]:
    """The ONNX file of an exported graph, with the description in its metadata: suffix -> content.

    Raises:
        ValueError: onnx or onnxscript is missing.
    """
    needed("onnx", "export")
    needed("onnxscript", "export")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # the exporter tells its steps there
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[description.form.input],
            output_names=list(OUTPUTS[description.form.input]),
        )
    assert exported is not None
    model: Any = exported.model_proto
    model.producer_name = "resnets"
    for part in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
        model.graph,
    ):
        part.ClearField("metadata_props")  # the exporter's traces, with the paths of this machine
    for key, value in description.strings().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return {".onnx": model.SerializeToString()}


class OnnxRuntimeEngine(Engine):
    """An ONNX graph in onnxruntime, on the CPU."""

    name: EngineName = "onnxruntime"

    def __init__(self, session: Any, description: Description, precision: str) -> None:
        import onnxruntime

        super().__init__(description, f"onnxruntime {onnxruntime.__version__}", precision)
        self.session = session

    def outputs(self, inputs: Tensor) -> tuple[Tensor, ...]:
        fed = {self.session.get_inputs()[0].name: inputs.cpu().contiguous().numpy()}
        return tuple(torch.from_numpy(output) for output in self.session.run(OUTPUTS[self.description.form.input], fed))


def open_contents(
    contents: Mapping[str, bytes], file: str, *, precision: str | None, threads: int | None, own: bool = False
) -> OnnxRuntimeEngine:
    """The engine for a file's content. `own` as in `torch_export`, where it matters.

    Raises:
        ValueError: onnxruntime is missing, the content is damaged or not a resnets model file, or it is not in that precision.
    """
    needed("onnxruntime", "export")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3  # errors only: they come as exceptions, too
    try:
        session = onnxruntime.InferenceSession(contents[".onnx"], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no class of their own in common
        raise UserError(f"{file} is no ONNX file that onnxruntime can run, or it is damaged: {_first_line(error)}") from None
    try:
        strings = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise UserError(f"the metadata of {file} is damaged: it is not UTF-8") from None
    description = from_strings(strings, file)
    computes = description.form.precision
    if precision not in (None, computes):
        raise UserError(f"{file} computes in {computes}, and onnxruntime cannot change that; ask for {computes}, or export it anew")
    return OnnxRuntimeEngine(session, description, computes)


def read_contents(path: Path) -> dict[str, bytes]:
    """The content of a file, as `open_contents` takes it.

    Raises:
        UserError: it names data in other files, which a runtime would read wherever they are.
    """
    content = read_file(path, limit=TABLE_LIMIT)
    check_whole(content, path)
    return {".onnx": content}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check_whole(content: bytes, path: Path) -> None:
    """Raises:
    UserError: the graph names data in other files. Both runtimes follow such names, up and out of the folder; what `resnets export` writes
        has everything inside. The key of such a name is in the bytes of any graph that has one, in subgraphs too, so that none is parsed
        here.
    """
    if _LOCATION.search(content):
        raise UserError(
            f"{path} keeps data in other files, which are not followed; save it as one: onnx.save(onnx.load(FILE), ONE)"
        )
