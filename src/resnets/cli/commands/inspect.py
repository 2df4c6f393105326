"""resnets inspect: how responses and gradients propagate through networks, unit by unit, at initialisation or trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from ...core.errors import UserError
from ...reports import plots
from ...reports.tables import print_table, table
from ..command import Command
from ..options import messages, print_json, results

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.datasets.catalogue import ImageArrays
    from ...inspection.signal import SignalReport, UnitSignal
    from ...networks import Network

ROWS = 20
"""About as many units are shown of a longer network."""


@dataclass
class InspectOptions:
    """Options of `resnets inspect`."""

    names: tyro.conf.Positional[tuple[str, ...]]
    """Networks, by name (freshly initialised; fields may follow: cifar-preact-resnet110:shortcut_scale=0.5), run directory or model file."""
    data: Literal["auto", "digits", "normal"] = "auto"
    """Images: the handwritten digits of the package, resized, or independent normal numbers (with random classes). auto: of a trained
    model the data set that it was trained on, where that is on this machine; else the digits where the network takes two-dimensional
    images of one or three channels."""
    batch_size: int = 16
    """Images in the one batch that is measured."""
    input_size: int | None = None
    """Height and width in pixels; unset: the network's own."""
    seed: int = 0
    """Of the initial weights, the choice of the images and what dropout draws."""
    evaluation: bool = False
    """Measure with running statistics and without dropout, instead of as in a training step."""
    all: bool = False
    """Show every unit, not about 20 of a long network."""
    plot: Path | None = None
    """Also draw the curves into this file (.png, .svg, .pdf)."""
    json: bool = False
    """One object a network on standard output."""


def run(options: InspectOptions) -> int:
    """Carries out the command."""
    if not options.names:
        raise UserError("name at least one network: resnets inspect cifar-plain56 cifar-resnet56")
    if options.batch_size < 2:
        raise UserError(f"--batch-size is at least 2, for the batch norms' statistics, not {options.batch_size}")
    if options.input_size is not None and options.input_size < 1:
        raise UserError(f"--input-size is a number of pixels, not {options.input_size}")
    if options.seed < 0:
        raise UserError(f"--seed is 0 or more, not {options.seed}")
    if options.plot is not None:
        plots.image_format(options.plot)
    measured = []
    for name in options.names:
        report, about = _measure(name, options)
        measured.append((name, [_as_dict(unit) for unit in report.units]))
        if options.json:
            print_json({"name": name, **about, "loss": _finite(report.loss), "units": measured[-1][1]})
        else:
            _print(name, about, report, everything=options.all)
    if options.plot is not None:
        plots.save(plots.signal_curves(measured), options.plot)
        if not options.json:
            results().print(f"curves drawn into {options.plot}", soft_wrap=True)
    return 0


def _measure(name: str, options: InspectOptions) -> tuple[SignalReport, dict[str, Any]]:
    """The measurements, and what was measured, in words and numbers."""
    import torch

    from ...inspection.signal import measure_signal

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network, state, recipe = _network(name)
        native: int = network.preprocessing.size if network.preprocessing else network.spec.input_size
        size = options.input_size or native
        images, labels, data = _images(network, size, recipe, options)
        try:
            report = measure_signal(network, images, labels, training=not options.evaluation)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{name} cannot take images of {size} pixels ({reason}); try another --input-size") from None
    mode = "running statistics" if options.evaluation else "training step"
    about = {"state": state, "data": data, "batch_size": options.batch_size, "input_size": size, "seed": options.seed, "mode": mode}
    return report, about


def _network(name: str) -> tuple[Network, str, Mapping[str, Any]]:
    """The network of a zoo name, or the trained one of a path; which of the two it is; and the recipe that trained it, if one did."""
    from ...networks import build, get_spec
    from ...training.published import recipe_behind
    from ...weights.model_file import load_model, read_description
    from ..model_path import model_path

    path = Path(name)
    if path.exists() or path.suffix == ".safetensors" or len(path.parts) > 1:
        file = model_path(path)
        return load_model(file), "trained", recipe_behind(file, read_description(file).provenance.get("recipe") or {})
    return build(get_spec(name)), "initialisation", {}


def _images(network: Network, size: int, recipe: Mapping[str, Any], options: InspectOptions) -> tuple[Tensor, Tensor, str]:
    """The seeded batch: images as the network takes them, (N, C, size, ...) float32, labels (N,), and the name of the data."""
    import torch

    spec = network.spec
    if not spec.num_classes:
        raise UserError("a network with num_classes=0 has no loss whose gradient could be measured; set num_classes")
    generator = torch.Generator().manual_seed(options.seed)
    takes_images = spec.dims == 2 and spec.in_channels in (1, 3)
    if options.data == "digits" and not takes_images:
        raise UserError(
            f"the digits are images of one or three channels, but the network takes {spec.in_channels} channels "
            f"in {spec.dims} dimensions; use --data normal"
        )
    if options.data == "normal" or not takes_images:
        images = torch.randn(options.batch_size, spec.in_channels, *(size,) * spec.dims, generator=generator)
        return images, torch.randint(spec.num_classes, (options.batch_size,), generator=generator), "normal"
    from ...data.datasets.catalogue import load
    from ...data.decoding.preprocessing import Preprocessing

    arrays = _own_data(network, recipe) if options.data == "auto" else None
    arrays = load("digits", "train") if arrays is None else arrays
    if options.batch_size > len(arrays):
        raise UserError(
            f"--batch-size {options.batch_size} is more than the {len(arrays)} images of {arrays.name}; use --data normal"
        )
    chosen = torch.randperm(len(arrays), generator=generator)[: options.batch_size]
    channels = arrays.images.shape[1]
    images = arrays.images[chosen]
    if channels < spec.in_channels:
        images = images.expand(-1, spec.in_channels, -1, -1)
    elif channels > spec.in_channels:
        images = images.float().mean(dim=1, keepdim=True)
    if network.preprocessing is not None:
        prepare = network.preprocessing
        if size != prepare.size and prepare.mean_picture:
            raise UserError(f"the network's preprocessing has a mean for each of {prepare.size} pixels; leave --input-size out")
        prepare = prepare if size == prepare.size else prepare.model_copy(update={"size": size, "resize": None})
    else:
        prepare = Preprocessing(
            size=size, channels=spec.in_channels, mean=arrays.mean * spec.in_channels, std=arrays.std * spec.in_channels
        )
    return prepare(images), arrays.labels[chosen] % spec.num_classes, arrays.name


def _own_data(network: Network, recipe: Mapping[str, Any]) -> ImageArrays | None:
    """The images that the network was trained on; None, with a message, where they are not on this machine, and where that is unknown."""
    from ...data.datasets.catalogue import DATASETS, load
    from ...data.errors import DataError

    name = recipe.get("data")
    if name is None:
        if network.classes is not None:
            messages().print("the model file does not say what the network was trained on; measured on the digits", soft_wrap=True)
        return None
    why = "it is none of the data sets by name"
    if name in DATASETS:
        try:
            arrays = load(name, "train", recipe.get("data_folder"), offline=True, report=lambda _: None)
        except DataError:
            why = f"it is not on this machine (resnets data get {name})"
        else:
            if arrays.classes == network.classes:
                return arrays
            why = "its classes are not the network's"
    messages().print(f"the network was trained on {name}, but {why}; measured on the digits instead", soft_wrap=True)
    return None


def _as_dict(unit: UnitSignal) -> dict[str, Any]:
    """JSON has no infinities: what is not finite becomes null."""
    return {
        "name": unit.name,
        "response_std": _finite(unit.response_std),
        "layers": [{"name": layer.name, "response_std": _finite(layer.response_std)} for layer in unit.layers],
        "branch_ratio": _finite(unit.branch_ratio),
        "gradient": _finite(unit.gradient),
        "shortcut_gradient": _finite(unit.shortcut_gradient),
        "shortcut_product": _finite(unit.shortcut_product),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _print(name: str, about: dict[str, Any], report: SignalReport, *, everything: bool) -> None:
    units = report.units
    shown = range(len(units)) if everything else chosen_rows([unit.name.partition(".")[0] for unit in units])
    rows = [
        (
            units[i].name,
            _responses(units[i]),
            _number(units[i].branch_ratio),
            _number(units[i].gradient),
            _number(units[i].shortcut_gradient),
            _number(units[i].shortcut_product),
        )
        for i in shown
    ]
    console = results()
    title = (
        f"{name}, {about['state']}: {about['batch_size']} images ({about['data']}, {about['input_size']} pixels, "
        f"seed {about['seed']}), {about['mode']}, loss {report.loss:.4g}"
    )
    columns = ("unit", "std of responses", "|F|/|h|", "|dE/dx|", "by shortcuts alone", "product of λ")
    print_table(console, table(title, columns, rows))
    if len(rows) < len(units):
        console.print(f"{len(rows)} of {len(units)} units; --all shows every one", soft_wrap=True)


def chosen_rows(stages: list[str]) -> list[int]:
    """The units to show, by the stage of each: all of a short network, else about 20 evenly spaced and both ends of every stage."""
    if len(stages) <= ROWS + 4:
        return list(range(len(stages)))
    ends = {i for i, stage in enumerate(stages) if i in (0, len(stages) - 1) or stages[i - 1] != stage or stages[i + 1] != stage}
    between = max(2, ROWS - len(ends))
    return sorted(ends | {round(i * (len(stages) - 1) / (between + 1)) for i in range(1, between + 1)})


def _responses(unit: UnitSignal) -> str:
    """Of up to three layers each; of the many of an Inception branch the smallest and the largest."""
    values = [layer.response_std for layer in unit.layers]
    return "  ".join(map(_number, values)) if len(values) <= 3 else f"{_number(min(values))} to {_number(max(values))}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


COMMAND = Command("inspect", InspectOptions, "Measure responses and gradients of every residual unit on one batch.", run)
