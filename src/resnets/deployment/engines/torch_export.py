"""torch.export: a .pt2 archive that torch runs without this package.

torch's own reader unpickles parts of an archive, evaluates its size expressions and calls whatever operators it names: reading one is
running a program. So an archive is read as data here: the network is built anew from the spec in its description, by our own code, and its
tensors are taken out of the archive as the raw bytes that they are. Only `--trust` hands the archive to torch.

Legend: N images of a batch, C channels, S spatial shape, K classes.
"""

from __future__ import annotations

import io
import json
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ...core.errors import UserError
from ...core.reading import TABLE_LIMIT, ZIP_ERRORS, read_file
from ...networks import build
from ..graph.description import Description, from_strings
from ..graph.exported import DTYPES, make_graph
from ..graph.folding import fold
from ..graph.names import EngineName
from .engine import Engine

SUFFIXES = (".pt2",)
PRECISIONS = ("fp32", "bf16", "fp16")
_STRINGS = "resnets.json"
_WEIGHTS = "data/weights/"
_CONFIG = f"{_WEIGHTS}model_weights_config.json"
_TAKE_OUT = "import sys, torch; torch.save(torch.export.load(sys.argv[1]).state_dict, sys.argv[2])"
_MOST_TEXT = 64 * 2**20
_TYPES = {5: torch.int64, 6: torch.float16, 7: torch.float32, 13: torch.bfloat16}
"""By the number that torch's schema gives them (torch._export.serde.schema.ScalarType): what our exports hold."""


def serialized(program: ExportedProgram, description: Description) -> dict[str, bytes]:
    """The archive of an exported graph, with the description among its extra files: suffix -> content."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # with the paths of this machine
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={_STRINGS: json.dumps(description.strings())})
    return {".pt2": file.getvalue()}


class TorchExportEngine(Engine):
    """An exported graph, or the network that it was made of, run by torch on the CPU."""

    name: EngineName = "torch-export"

    def __init__(self, program: ExportedProgram | nn.Module, description: Description, *, threads: int | None = None) -> None:
        super().__init__(description, f"torch {torch.__version__}", description.form.precision)
        if threads is not None:
            torch.set_num_threads(threads)
        self.module = program.module() if isinstance(program, ExportedProgram) else program

    @torch.inference_mode()
    def outputs(self, inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.module(inputs.cpu())
        return found if isinstance(found, tuple) else (found,)


def open_contents(
    contents: Mapping[str, bytes], file: str, *, precision: str | None, threads: int | None, own: bool = False
) -> TorchExportEngine:
    """The engine for an archive's content; `own` says that this process made it or that its writer is trusted, so
    that its graph itself may run.

    Raises:
        UserError: the content is damaged, was not written by `resnets export`, or is not in that precision.
    """
    content = contents[".pt2"]
    try:
        archive = Archive(content)
    except (*ZIP_ERRORS, OSError) as error:
        anew = f"resnets export MODEL --format torch-export --output {shlex.quote(file)}"
        raise UserError(f"{file} is damaged, or no .pt2 archive ({_line(error)}); write it anew from its model: {anew}") from None
    if f"extra/{_STRINGS}" not in archive.members:
        raise UserError(
            f"{file} was not written by `resnets export`, and its graph is a program; if you trust whoever wrote it, take its weights: "
            + weights_of(file)
        )
    try:
        strings = json.loads(archive.text(f"extra/{_STRINGS}"))
        if not isinstance(strings, dict):
            raise UserError("its description is no table")
    except (*ZIP_ERRORS, OSError) as error:
        raise UserError(f"the metadata of {file} is damaged: {_line(error)}") from None
    description = from_strings(strings, file)
    computes = description.form.precision
    if precision not in (None, computes):
        raise UserError(f"{file} computes in {computes}, which is fixed in it; ask for {computes}, or export it anew")
    if own:
        try:
            return TorchExportEngine(torch.export.load(io.BytesIO(content)), description, threads=threads)
        except Exception as error:  # whatever part of it is damaged: torch's reader has no error of its own
            raise UserError(f"{file} is damaged, or of another version of torch than {torch.__version__}: {_line(error)}") from None
    try:
        return TorchExportEngine(rebuilt(archive, description), description, threads=threads)
    except (*ZIP_ERRORS, TypeError) as error:
        raise UserError(
            f"{file} cannot be read as data: {_line(error)}. Its graph is a program; if you trust whoever wrote it, --trust (in "
            "Python trust=True) lets torch run it"
        ) from None


def weights_of(file: str) -> str:
    """The command that makes a model file of the tensors in an archive of somebody else; torch runs the program that it is."""
    path = Path(file)
    tensors, model = (shlex.quote(str(path.with_suffix(ending))) for ending in (".weights.pt", ".safetensors"))
    return f"python -c '{_TAKE_OUT}' {shlex.quote(file)} {tensors} && resnets convert {tensors} --to resnets --output {model}"


def read_contents(path: Path) -> dict[str, bytes]:
    """The content of a file, as `open_contents` takes it."""
    return {".pt2": read_file(path, limit=TABLE_LIMIT)}


class Archive:
    """The members of a .pt2 archive as bytes. Nothing of it is unpacked, and nothing is interpreted.

    Raises:
        zipfile.BadZipFile, UserError: it is no such archive, or its list of members is not what torch writes.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.zip = zipfile.ZipFile(io.BytesIO(content))
        members = self.zip.infolist()
        roots = {member.filename.partition("/")[0] for member in members}
        names = [member.filename.partition("/")[2] for member in members]
        if len(roots) != 1 or len({name.lower() for name in names}) != len(names):
            raise UserError("its members are not in one folder, or one is there twice")
        if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
            raise UserError("its members are compressed or encrypted, which torch never does")
        self.members = dict(zip(names, members, strict=True))
        if self.bytes("archive_format", 16) != b"pt2":
            raise UserError("its format is not pt2")

    def bytes(self, name: str, most: int) -> bytes:
        """A member of at most that many bytes, whose checksum is right."""
        member = self.members[name]
        if member.file_size > most:
            raise UserError(f"{name} has {member.file_size:,} bytes, more than {most:,}")
        return self.zip.read(member)

    def text(self, name: str) -> str:
        """A member that holds text."""
        return self.bytes(name, _MOST_TEXT).decode("utf-8")

    def tensor(self, entry: Any, like: Tensor) -> Tensor:
        """The tensor that an entry of the weights' table describes, out of the raw bytes of its member; `like` is what it has to be.

        Raises:
            UserError, KeyError, TypeError: the entry is not what torch writes of a plain tensor, or of another shape or type.
        """
        meta, name = entry["tensor_meta"], f"{_WEIGHTS}{entry['path_name']}"
        sizes, strides = _numbers(meta["sizes"]), _numbers(meta["strides"])
        (offset,) = _numbers([meta["storage_offset"]])
        dtype = _TYPES.get(meta["dtype"])
        if entry["use_pickle"] is not False or dtype is None:
            raise UserError(f"{name} is no plain tensor")
        if (tuple(sizes), dtype) != (tuple(like.shape), like.dtype):  # before anything of that size is made
            raise UserError(f"{name} is {sizes} {dtype}, and should be {list(like.shape)} {like.dtype}")
        content = self.bytes(name, TABLE_LIMIT)
        last = (
            offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) if like.numel() else offset - 1
        )
        if len(content) % dtype.itemsize or last >= len(content) // dtype.itemsize:
            raise UserError(f"{name} has {len(content):,} bytes, which are not those of a tensor of {sizes}")
        if not like.numel():
            return torch.empty_like(like)
        flat = torch.frombuffer(bytearray(content), dtype=dtype)
        return flat.as_strided(sizes, strides, offset).clone(memory_format=torch.contiguous_format)


def rebuilt(archive: Archive, description: Description) -> nn.Module:
    """The graph of a description, made by our own code, with the archive's tensors.

    Raises:
        UserError, KeyError, TypeError: the tensors are not those of the graph.
    """
    table = json.loads(archive.text(_CONFIG))["config"]
    dtype = DTYPES.get(description.form.precision)
    if dtype is None:
        raise UserError(f"its precision is {description.form.precision!r}")
    with torch.device("meta"):
        size = sum(value.numel() for value in build(description.spec).parameters()) * dtype.itemsize
    if size > 2 * len(archive.content) + 2**20:  # norms are folded, and nothing else is left out
        raise UserError(f"its network has {size:,} bytes of weights, and the file {len(archive.content):,}")
    network = build(description.spec).eval()
    if description.form.folded_norms:
        network, _ = fold(network)
    graph = make_graph(network.to(dtype), description, dtype)
    wanted = graph.state_dict()
    if table.keys() - wanted.keys():
        raise UserError(f"it holds {min(table.keys() - wanted.keys())}, which the network has not")
    tensors = {name: archive.tensor(entry, wanted[name]) for name, entry in table.items()}
    # What a graph computes for itself (the shift of pixels, counters of batches) may be absent: torch leaves out what it does not use.
    computed = ("num_batches_tracked", "shift", "scale")
    needed = {name for name in wanted if name.rpartition(".")[2] not in computed}
    if missing := sorted(needed - tensors.keys()):
        raise UserError(f"{missing[0]} is missing")
    graph.load_state_dict(tensors, strict=False)
    return graph.requires_grad_(False)


def _numbers(values: Any) -> list[int]:
    found = [value["as_int"] for value in values]
    if any(type(number) is not int or not 0 <= number < 2**40 for number in found):
        raise UserError(f"{found} are no sizes of a tensor")
    return found


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
