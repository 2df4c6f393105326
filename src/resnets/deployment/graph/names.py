"""Names of engines, formats and files: what the command line knows of them before it loads any."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

EngineName = Literal["torch", "torch-compile", "onnxruntime", "openvino", "torch-export"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
Format = Literal["onnx", "openvino", "torch-export"]
ENGINE_OF: dict[Format, EngineName] = {"onnx": "onnxruntime", "openvino": "openvino", "torch-export": "torch-export"}
"""The runtime that checks a format's files."""
EXPORTED: dict[str, tuple[EngineName, ...]] = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".pt2": ("torch-export",),
}
"""Endings of exported files, and the engines that run them, the preferred one first."""
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
"""What a format's file ends in; OpenVINO's weights are beside it in a .bin."""


def is_exported(path: str | Path) -> bool:
    """Whether the path is an exported file, going by its ending."""
    return Path(path).suffix.lower() in EXPORTED and not Path(path).is_dir()
