"""`open_engine`: a network ready to run in the fastest runtime of this machine, or in the one that is asked for.

Legend: N images of a batch, C channels, S spatial shape, K classes. Exported files are run by what runs their format; a run, a model
file, a name or a network is run by torch, or converted in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch

from ...core.errors import UserError
from ...core.precision import native_bf16
from ...core.reading import trusted
from ...networks import Network
from ..graph.description import Description, description_of
from ..graph.exported import DTYPES, check_exportable, make_graph, traced
from ..graph.folding import fold
from ..graph.names import ENGINES, EXPORTED, EngineName, is_exported
from .choice import Choice, choose_engine, fast_precision, installed
from .engine import Engine, EngineModule, TorchEngine
from .models import open_network

__all__ = ["ENGINES", "EXPORTED", "Engine", "EngineModule", "EngineName", "TorchEngine", "engine_for", "is_exported", "open_engine"]

_FORMS = {"onnxruntime": "onnx", "openvino": "openvino", "torch-export": "torch_export"}


def form_module(engine: str) -> ModuleType:
    """The module of an engine that runs exported graphs; loading it loads no runtime."""
    return import_module(f".{_FORMS[engine]}", __package__)


def open_engine(
    model: str | Path | Network,
    *,
    engine: Literal["auto"] | EngineName = "auto",
    precision: str | None = None,
    threads: int | None = None,
    device: str | torch.device = "cpu",
    count: int | None = None,
    exact: bool = False,
    trust: bool = False,
    report: Callable[[str], None] | None = None,
) -> Engine:
    """An engine for a network, in evaluation.

    Args:
        model: an exported file (.onnx, .xml, .pt2), a model file, a run directory, a name ("resnet50/imagenet1k-v2", "cifar-resnet20"),
            or a network.
        engine: one of `ENGINES`; "auto" takes the fastest that is installed for this network and that many images.
        precision: "fp32", "bf16" or "fp16"; None is fp32, or what an exported file was exported in; "auto" is bf16 where the processor
            computes in it and the engine gains by it, else as None.
        threads: of the processor; None for torch's number.
        device: where torch runs it ("cpu", "cuda", a device); the other engines run on the CPU.
        count: how many images there will be; None for many.
        exact: with the engine torch, results equal to those of training's evaluation to the bit, at its speed.
        trust: you trust whoever wrote the exported file, as --trust (RESNETS_TRUST=1) says: torch runs the graph of a .pt2 file, which is
            a program, instead of rebuilding the network from its description, and OpenVINO runs any graph.
        report: is told, in one line, which engine was chosen and why.

    Raises:
        ValueError: no such engine or model, a missing package (the message names the extra), a damaged file, or a precision that the
            engine does not have.
        OSError: the file cannot be read.
    """
    if engine not in ("auto", *ENGINES):
        raise UserError(f"there is no engine {engine!r}; choose auto or one of {', '.join(ENGINES)}")
    if not isinstance(model, Network) and is_exported(model):
        return _open_exported(Path(model), engine, precision, threads, trust, report)
    if isinstance(model, Network):
        network, description = model, description_of(model)
    else:
        network, description = open_network(model, device=device)
    where = next(network.parameters()).device
    if engine == "auto":
        choice = choose_engine(network.spec, where, precision, count)
    else:
        choice = Choice(engine, fast_precision(engine, where) if precision == "auto" else precision or "fp32", "as asked")
    if report is not None:
        report(choice.sentence())
    return engine_for(network, choice.engine, precision=choice.precision, threads=threads, exact=exact, description=description)


def engine_for(
    network: Network,
    engine: EngineName,
    *,
    precision: str = "fp32",
    threads: int | None = None,
    exact: bool = False,
    description: Description | None = None,
) -> Engine:
    """The network in an engine, converted in memory where that is not torch; the arguments are those of `open_engine`."""
    about = description or description_of(network)
    if engine in ("torch", "torch-compile"):
        compiled = engine == "torch-compile"
        return TorchEngine(network, precision=precision, threads=threads, exact=exact, compiled=compiled, description=about)
    form: Any = form_module(engine)
    # OpenVINO computes a float32 graph in bf16; for the others the graph itself is in the precision.
    graph_precision = "fp32" if engine == "openvino" else precision
    if graph_precision not in form.PRECISIONS:
        raise UserError(f"the engine {engine} runs networks in {' or '.join(form.PRECISIONS)}, not {precision}")
    folded, folding = fold(network)
    about = about.in_form(input="images", precision=graph_precision, folded_norms=len(folding.folded))
    check_exportable(about)
    dtype = DTYPES[graph_precision]
    program = traced(make_graph(folded.cpu().to(dtype), about, dtype), about)
    if engine == "openvino":
        from .openvino import OpenVinoEngine, converted

        wanted = None if precision == graph_precision else precision
        return OpenVinoEngine(converted(program, about), about, precision=wanted, threads=threads)
    opened: Engine = form.open_contents(
        form.serialized(program, about), "the network in memory", precision=None, threads=threads, own=True
    )
    return opened


def _open_exported(
    path: Path, engine: str, precision: str | None, threads: int | None, trust: bool, report: Callable[[str], None] | None
) -> Engine:
    able = EXPORTED[path.suffix.lower()]
    if engine == "auto":
        found = next((name for name in able if installed(name)), able[0])
        reason = f"what is installed for {path.suffix} files" if len(able) > 1 else f"what runs {path.suffix} files"
    elif engine in able:
        found, reason = next(name for name in able if name == engine), "as asked"
    else:
        raise UserError(
            f"{path} is run by {' or '.join(able)}, not by {engine}; other engines take the model file it was made from"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    form: Any = form_module(found)
    reader: Any = form if path.suffix.lower() in form.SUFFIXES else form_module(able[0])
    wanted = precision
    if precision == "auto":
        wanted = "bf16" if found == "openvino" and native_bf16("cpu") else None
    opened: Engine = form.open_contents(
        reader.read_contents(path), str(path), precision=wanted, threads=threads, own=trust or trusted()
    )
    if report is not None:
        report(Choice(found, opened.precision, reason).sentence())
    return opened
