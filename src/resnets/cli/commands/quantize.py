"""resnets quantize: a trained network in eight-bit integers, within a budget of accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ...core.errors import UserError
from ...deployment.graph.names import ENDINGS, is_exported
from ...reports.tables import percent, print_table, table
from ..command import Command
from ..options import messages, print_json, results
from .export import default_output

_SHOWN = 10
"""How many of the ranked layers the table shows."""


@dataclass
class QuantizeOptions:
    """Options of `resnets quantize`."""

    model: tyro.conf.Positional[str]
    """A run directory, a model file, or pretrained weights by name (resnet50/imagenet1k-v2, timm/NAME)."""
    data: str | None = None
    """Data set by name, or a folder or CSV of images whose classes are called as the model's are; unset: what it was trained on. Its
    training images calibrate, its test images measure."""
    max_drop: float = 0.3
    """Percentage points of top-1 accuracy that may be lost; the layers that cost most stay in float until it holds."""
    format: Literal["openvino", "onnx"] = "openvino"
    """openvino for CPUs (by nncf), onnx for onnxruntime (QDQ)."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The new file (.xml with its .bin, or .onnx); unset: beside the model, or named like it in this folder, with -int8."""
    data_folder: Path | None = None
    """Folder that holds the data set's files."""
    exclude: Path | None = None
    """List of images of a folder to leave out, such as `resnets data check` writes."""
    calibration: int = 300
    """Training images that show the ranges of the maps."""
    limit: int | None = None
    """Measure on that many test images only, drawn at random by a fixed seed; unset: on all."""
    flips: Annotated[bool | None, tyro.conf.arg(metavar="{True,False}")] = None
    """Measure with the logits of each image and its mirror image averaged; unset: as in training."""
    batch_size: int = 250
    """Images a batch of the measurement."""
    size: Literal["dynamic", "fixed"] = "dynamic"
    """Whether the file takes images of any size, or of the network's own alone."""
    json: bool = False
    """One object on standard output: the report without its environment."""


def run(options: QuantizeOptions) -> int:
    """Carries out the command."""
    if is_exported(options.model):
        raise UserError(f"{options.model} is an exported file already; quantize the model file or the run that it was made from")
    from ...core.claims import hold_file
    from ...core.environment import keep_large_buffers
    from ...core.files import clear_leftovers

    keep_large_buffers()
    from ...deployment.engines.models import open_network
    from ...deployment.quantization.budget import check_request, quantize_model
    from ...deployment.quantization.data import open_quantization_data
    from ...training.published import recipe_behind

    def report(words: str) -> None:
        messages().print(words, soft_wrap=True, markup=False)

    plain = default_output(options.model, options.format)
    output = options.output or plain.with_name(f"{plain.stem}-int8{ENDINGS[options.format]}")
    check_request(output, options.format, options.max_drop)  # before images are read
    network, description = open_network(options.model)
    if description.provenance.get("weights") == "fresh":
        raise UserError(
            f"{options.model} names no weights: an untrained network has no accuracy to keep; name a run or a model file"
        )
    file = Path(options.model) / "model.safetensors" if Path(options.model).is_dir() else Path(options.model)
    data = open_quantization_data(
        description,
        options.data,
        folder=options.data_folder,
        calibration=options.calibration,
        limit=options.limit,
        exclude=options.exclude,
        flips=options.flips,
        batch_size=options.batch_size,
        run=Path(options.model) if Path(options.model).is_dir() else None,
        recipe=recipe_behind(file, description.provenance.get("recipe", {})),
        report=report,
    )
    with hold_file(output, report):
        for suffix in (".xml", ".bin", ".onnx"):
            clear_leftovers(output.with_suffix(suffix))
        made = quantize_model(
            network,
            output,
            data,
            format=options.format,
            max_drop=options.max_drop,
            fixed_size=options.size == "fixed",
            description=description,
            report=report,
        )
    if options.json:
        about = {"path": str(made.path), "files": [str(path) for path in made.files], "format": options.format}
        size = sum(path.stat().st_size for path in made.files[:-1])
        print_json({**about, "bytes": size, **{key: value for key, value in made.record.items() if key != "environment"}})
        return 0
    _print(made.record)
    results().print(
        f"{options.model} to {' and '.join(str(path) for path in made.files[:-1])}; the trials and the ranking: {made.files[-1]}",
        soft_wrap=True,
        markup=False,
    )
    return 0


def _print(record: dict[str, Any]) -> None:
    console = results()
    layers, held = record["ranking"]["layers"], set(record["float_layers"])
    rows = [(row["layer"], f"{row['error']:.2e}", "float" if row["layer"] in held else "int8") for row in layers[:_SHOWN]]
    title = "Layers by blame" if len(layers) <= _SHOWN else f"Layers by blame, {_SHOWN} of {len(layers)}"
    print_table(console, table(title, ("layer", "error alone in int8", "kept in"), rows))
    before, after = record["before"], record["after"]
    measured = [
        ("float32", percent(before["top1"]), f"{before['loss']:.4f}"),
        ("int8", percent(after["top1"]), f"{after['loss']:.4f}"),
    ]
    print_table(console, table("", ("network", "accuracy", "loss"), measured))
    images = record["measured_on"]
    integer, total = record["convolutions"]["integer"], record["convolutions"]["total"]
    console.print(
        f"{images['images']}, {images['num_images']:,} images{' (mirror images averaged)' if record['flips'] else ''}: "
        f"{abs(record['drop']):.2f} points {'gained' if record['drop'] < 0 else 'lost'}, where {record['max_drop']:g} may be lost; "
        f"{record['runtime']} computes {integer} of {total} convolutions in integers, "
        f"{len(held)} of {len(layers)} layers stay in float",
        soft_wrap=True,
        markup=False,
    )


COMMAND = Command("quantize", QuantizeOptions, "Write a trained network as int8, within a budget of accuracy.", run)
