"""torch.export: a .pt2 archive that torch runs without this package.

Legend: N pictures of a batch, C channels, S spatial shape, K classes.
torch's own reader unpickles some parts of an archive and evaluates its size expressions. What `resnets export` writes needs none of
that, so that `check_archive` refuses an archive that would.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ..graph.description import Description, from_strings
from ..graph.names import EngineName
from .engine import Engine

SUFFIXES = (".pt2",)
PRECISIONS = ("fp32", "bf16", "fp16")
_STRINGS = "resnets.json"
_TARGETS = ("torch.ops.aten.", "_operator.")
_WORDS = (
    "Symbol Integer Rational Float Add Mul Pow Mod Max Min floor ceiling true false Equality Unequality GreaterThan LessThan "
    "StrictGreaterThan StrictLessThan And Or Not FloorDiv CleanDiv CeilDiv PythonMod IntTrueDiv TruncToInt FloorToInt CeilToInt "
    "positive nonnegative integer True False"
)
_EXPRESSION = re.compile(rf"(?:\b(?:{_WORDS.replace(' ', '|')})\b|'[su]\d+'|\b[su]\d+\b|\d+|[-+*/(),= ])*")
"""What torch writes of sizes: their symbols, whole numbers and arithmetic."""


def serialized(program: ExportedProgram, description: Description) -> dict[str, bytes]:
    """The archive of an exported graph, with the description among its extra files: suffix -> content."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={_STRINGS: json.dumps(description.strings())})
    return {".pt2": file.getvalue()}


class TorchExportEngine(Engine):
    """An exported graph, run by torch on the CPU."""

    name: EngineName = "torch-export"

    def __init__(self, program: ExportedProgram, description: Description, *, threads: int | None = None) -> None:
        super().__init__(description, f"torch {torch.__version__}", description.form.precision)
        if threads is not None:
            torch.set_num_threads(threads)
        self.module = program.module()

    @torch.inference_mode()
    def outputs(self, inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.module(inputs.cpu())
        return found if isinstance(found, tuple) else (found,)


def open_contents(contents: Mapping[str, bytes], file: str, *, precision: str | None, threads: int | None) -> TorchExportEngine:
    """The engine for an archive's content.

    Raises:
        ValueError: the content is damaged or none of ours, would run code when it is read, or is not in that precision.
    """
    content = contents[".pt2"]
    try:
        strings = check_archive(content)
    except (zipfile.BadZipFile, KeyError, ValueError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{file} is no archive of `resnets export`, or it is damaged: {' '.join(str(error).split())}") from None
    description = from_strings(strings, file)
    computes = description.form.precision
    if precision not in (None, computes):
        raise ValueError(f"{file} computes in {computes}, which is fixed in it; ask for {computes}, or export it anew")
    try:
        program = torch.export.load(io.BytesIO(content))
    except Exception as error:  # whatever part of it is damaged: torch's reader has no error of its own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{file} is damaged, or of another version of torch than {torch.__version__}: {first}") from None
    return TorchExportEngine(program, description, threads=threads)


def read_contents(path: Path) -> dict[str, bytes]:
    """The content of a file, as `open_contents` takes it."""
    return {".pt2": path.read_bytes()}


def check_archive(content: bytes) -> dict[str, str]:
    """The strings among an archive's extra files, once it is certain that reading the rest runs no code.

    Raises:
        ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError: it is damaged, or it might.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} does not have its checksum")
        members = {name.partition("/")[2]: name for name in archive.namelist()}
        if archive.read(members["archive_format"]) != b"pt2":
            raise ValueError("its format is not pt2")
        strings = json.loads(archive.read(members[f"extra/{_STRINGS}"]))
        if not isinstance(strings, dict):
            raise ValueError("its description is no table")
        for short, name in members.items():
            if short.startswith("data/aotinductor"):
                raise ValueError("it holds machine code")
            if short.startswith("data/sample_inputs/"):
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
            elif short.endswith(".json") and short.startswith(("data/", "models/")):
                for key, value in _entries(json.loads(archive.read(name))):
                    _check_entry(short, key, value)
    return strings


def _check_entry(member: str, key: str, value: Any) -> None:
    if key == "use_pickle" and value is not False:
        raise ValueError(f"{member} names a pickle")
    if key == "expr_str" and not _EXPRESSION.fullmatch(str(value)):
        raise ValueError(f"{member} has the size {value!r}, which is not plain arithmetic")
    if key == "target" and isinstance(value, str) and not value.startswith(_TARGETS):
        raise ValueError(f"{member} calls {value!r}, which is no operation on tensors")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All pairs of key and value in a JSON value, to its depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)
