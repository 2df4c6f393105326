"""Export: a network as a file for a runtime, which is left only where that runtime gives what PyTorch gives.

Legend: N images of a batch, C channels, S spatial shape, K classes. The file says itself what it is (`description`), and the report
of the comparison is beside it as FILE.parity.json.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...core.deprecation import renamed_argument
from ...core.environment import describe_environment, installed_version
from ...core.errors import UserError
from ...core.files import write_together
from ...core.text import to_json
from ...networks import Network
from ..engines.engine import Engine
from ..engines.opening import form_module
from ..graph.description import Description, description_of
from ..graph.exported import DTYPES, check_exportable, make_graph, native_size, traced
from ..graph.folding import fold
from ..graph.names import ENDINGS, ENGINE_OF, Format
from .parity import Parity, ParityFailure, compare

PACKAGES = ("resnets", "torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "numpy")
"""Packages whose versions a file and its report name, where they are installed."""


@dataclass(frozen=True)
class Exported:
    """What an export left."""

    path: Path
    """The file to open; OpenVINO's weights are beside it."""
    files: tuple[Path, ...]
    """All files, the report of the comparison last."""
    description: Description
    parity: Parity


def check_output(output: Path, format: Format) -> None:
    """Raises:
    UserError: the file's ending is not that of the format.
    FileNotFoundError: there is no folder for it.
    """
    if output.suffix != ENDINGS[format]:
        raise UserError(f"--output {output}: a file for {format} ends in {ENDINGS[format]}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} to write {output.name} to")


@renamed_argument("pictures", "uint8", until="0.3")
def export_model(
    network: Network,
    output: str | Path,
    *,
    format: Format,
    uint8: bool = False,
    precision: str = "fp32",
    fixed_size: bool = False,
    description: Description | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Writes a network's file, with batch norms folded and any number of images, and the report of its comparison.

    Args:
        network: it stays as it is.
        output: the file; ".onnx", ".xml" or ".pt2" as the format has it.
        uint8: take uint8 images and give labels and probabilities, see `Form.input`.
        precision: of weights and arithmetic: "fp32"; "fp16" (OpenVINO: of the stored weights); "bf16" for torch-export.
        fixed_size: bind the file to the network's own size; otherwise it takes any.
        description: what to say of the network, by default what it knows of itself.
        report: is told what was done, in sentences.

    Raises:
        ValueError: a network, form or ending that does not go; a missing package.
        ParityFailure: the runtime does not give what PyTorch gives; no file is left.
        OSError: the file cannot be written.
    """
    output = Path(output)
    form: Any = form_module(ENGINE_OF[format])
    check_output(output, format)
    if precision not in form.PRECISIONS:
        raise UserError(f"--format {format} has no precision {precision}; choose {' or '.join(form.PRECISIONS)}")
    known = description or description_of(network)
    folded, folding = fold(network)
    report(folding.sentence())
    about = known.in_form(
        input="uint8" if uint8 else "images",
        precision=precision,
        size=native_size(known) if fixed_size else None,
        folded_norms=len(folding.folded),
        versions={name: found for name in PACKAGES if (found := installed_version(name)) is not None},
    )
    check_exportable(about)
    # OpenVINO halves the weights itself when it writes them, and computes with them in what the machine has.
    dtype = torch.float32 if format == "openvino" else DTYPES[precision]
    graph = make_graph(folded.cpu().to(dtype), about, dtype)
    contents: dict[str, bytes] = form.serialized(traced(graph, about), about)
    engine: Engine = form.open_contents(contents, str(output), precision=None, threads=None, own=True)
    parity = compare(network, engine)
    report(parity.sentence())
    if not parity.passed:
        raise ParityFailure(
            f"{engine.version} does not give what PyTorch gives, so that {output} was not written: {parity.sentence()}"
        )
    return _write(output, contents, about, engine, parity)


def _write(output: Path, contents: dict[str, bytes], about: Description, engine: Engine, parity: Parity) -> Exported:
    record = {
        "file": output.name,
        "runtime": engine.version,
        **parity.as_json(),
        "form": about.form.model_dump(mode="json"),
        "environment": describe_environment(),
    }
    # The graph last: whoever finds it finds its weights and its report, too.
    files: dict[Path, bytes | str] = {output.with_suffix(suffix): content for suffix, content in contents.items()}
    graph = files.pop(output)
    beside = output.with_name(f"{output.name}.parity.json")
    files = {**files, beside: to_json(record, indent=1) + "\n", output: graph}
    write_together(files)
    paths = (output, *(path for path in files if path not in (output, beside)), beside)
    return Exported(output, paths, about, parity)
