"""resnets export: a network as a file for another runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ...deployment.graph.names import ENDINGS, Format
from ..command import Command
from ..options import messages, print_json, results


@dataclass
class ExportOptions:
    """Options of `resnets export`."""

    model: tyro.conf.Positional[str]
    """A run directory, a model file, pretrained weights by name (resnet50/imagenet1k-v2, timm/NAME), or a network of the zoo, which is
    then untrained."""
    format: Format
    """onnx for onnxruntime and many others, openvino for CPUs, torch-export for PyTorch without this package."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The new file (.onnx, .xml with its .bin, .pt2); unset: beside the model, or named like it in this folder."""
    uint8: Annotated[bool, tyro.conf.arg(aliases=["--pictures"])] = False
    """The graph takes uint8 images (N, height, width, channels) of the network's size, as decoders give them, normalises them itself and
    gives labels (int64) and probabilities in the place of logits."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of weights and arithmetic: fp32 anywhere; fp16 in all formats (OpenVINO: how weights are stored); bf16 for torch-export."""
    size: Literal["dynamic", "fixed"] = "dynamic"
    """Whether the file takes images of any size, or of the network's own alone, as some devices need it."""
    json: bool = False
    """One object on standard output."""


def run(options: ExportOptions) -> int:
    """Carries out the command."""
    from ...core.claims import hold_file
    from ...core.files import clear_leftovers
    from ...deployment.engines.models import open_network
    from ...deployment.export.export import check_output, export_model

    def report(words: str) -> None:
        messages().print(words, soft_wrap=True, markup=False)

    output = options.output or default_output(options.model, options.format)
    check_output(output, options.format)
    network, description = open_network(options.model)
    if description.provenance.get("weights") == "fresh":
        messages().print(f"{options.model} names no weights: the exported network is untrained, fit for measuring speed only")
    with hold_file(output, report):
        for suffix in (output.suffix, ".bin"):
            clear_leftovers(output.with_suffix(suffix))
        exported = export_model(
            network,
            output,
            format=options.format,
            uint8=options.uint8,
            precision=options.precision,
            fixed_size=options.size == "fixed",
            description=description,
            report=report,
        )
    if options.json:
        form = exported.description.form
        print_json(
            {
                "path": str(exported.path),
                "files": [str(path) for path in exported.files],
                "format": options.format,
                "bytes": sum(path.stat().st_size for path in exported.files[:-1]),
                "form": form.model_dump(mode="json"),
                "parity": exported.parity.as_json(),
            }
        )
    else:
        results().print(
            f"{options.model} to {' and '.join(str(path) for path in exported.files[:-1])}; the comparison with PyTorch: {exported.files[-1]}",
            soft_wrap=True,
            markup=False,
        )
    return 0


def default_output(model: str, format: Format) -> Path:
    """Where the file goes: in the run's folder, beside the model file, or in the working directory under the model's name."""
    path = Path(model)
    if path.is_dir():
        return path / f"model{ENDINGS[format]}"
    if path.is_file():
        return path.with_suffix(ENDINGS[format])
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in model)
    return Path(plain + ENDINGS[format])


COMMAND = Command("export", ExportOptions, "Write a network for another runtime, checked there against PyTorch.", run)
