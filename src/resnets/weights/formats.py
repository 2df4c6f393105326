"""What a file is by its first bytes, and what to do with one that holds no tensors that can be read here."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy

from ..core.errors import UserError
from ..core.reading import TABLE_LIMIT, ZIP_ERRORS

_SIGNATURES = (
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras writes them",
        "save its arrays with numpy.savez(FILE.npz, **weights) by the program that made it",
    ),
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip FILE.gz"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2 FILE.bz2"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it with unxz FILE.xz"),
    (b"GGUF", "a GGUF file", "convert it to .safetensors with the program that made it"),
    (b"<!DOCTYPE", "a web page, not the file it should be", "fetch it again from the address of the file itself"),
    (b"<html", "a web page, not the file it should be", "fetch it again from the address of the file itself"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "run git lfs pull where it was cloned"),
)


def check_format(content: bytes, path: Path) -> None:
    """Raises:
    UserError: the file is of a known kind that holds no tensors for us, or is empty; the message says which, and the command that helps.
    """
    if not content:
        raise UserError(f"{path} is empty")
    for start, what, help_ in _SIGNATURES:
        if content.startswith(start):
            raise UserError(f"{path} is {what}; {help_}")
    if content[4:8] == b"TFL3":
        raise UserError(f"{path} is a TFLite model, whose weights may be quantized; convert the model that it was made of")
    if (content.startswith(b"\x08") and b"pytorch" in content[:64]) or (content[:1] == b"\x08" and path.suffix == ".onnx"):
        raise UserError(
            f"{path} is an ONNX graph; run it as it is with resnets predict {path} IMAGE, or convert the weights it was made of"
        )
    if content.startswith(b"PK"):
        _check_zip(content, path)


def _check_zip(content: bytes, path: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (*ZIP_ERRORS, OSError) as error:
        raise UserError(f"{path} is a damaged zip: {error}") from None
    if any(name.endswith("archive_format") for name in names):
        raise UserError(
            f"{path} is a graph of torch.export; run it as it is with resnets predict {path} IMAGE, or convert the weights it was made of"
        )
    if any(name.endswith((".keras", "model.weights.h5")) for name in names):
        raise UserError(
            f"{path} is a Keras model; save its arrays with numpy.savez(FILE.npz, **weights) by the program that made it"
        )


def is_safetensors(content: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a table, and the table."""
    size = int.from_bytes(content[:8], "little")
    return content[8:9] == b"{" and size <= len(content) - 8


def is_npz(content: bytes) -> bool:
    """Whether a file is a zip of numpy arrays."""
    if not content.startswith(b"PK"):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return bool(archive.namelist()) and all(name.endswith(".npy") for name in archive.namelist())


def numpy_tables(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The arrays of an .npz file by name, in one table.

    Raises:
        UserError: it is damaged, or holds objects, which are never read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > TABLE_LIMIT:
                raise UserError("it unpacks to far more than its size")
        with numpy.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return [("", {name: arrays[name] for name in arrays.files})]
    except (*ZIP_ERRORS, OSError) as error:
        raise UserError(f"it is no file of plain arrays: {' '.join(str(error).split())}") from None
