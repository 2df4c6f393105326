"""resnets convert: weights from one package's layout to another's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ...core.errors import UserError
from ..command import Command
from ..options import messages, print_json, results

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.decoding.preprocessing import Preprocessing
    from ...weights.foreign_file import LoadedWeights

Target = Literal["resnets", "torchvision", "timm", "transformers", "detectron2"]
Source = Literal["resnets", "torchvision", "timm", "transformers", "detectron2", "caffe"]


@dataclass
class ConvertOptions:
    """Options of `resnets convert`."""

    file: tyro.conf.Positional[Path]
    """A model file or run directory of ours; another package's .safetensors, .pth, .pt, .bin or .pkl; or a folder of timm's or
    transformers' files. Nothing in it is run."""
    to: Target
    """Layout of the new file."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The new file. resnets: .safetensors, with the network's description; other layouts: .safetensors, or .pth, .pt or .bin for a
    plain dict of tensors."""
    source: Annotated[Source | None, tyro.conf.arg(name="from")] = None
    """Layout of the file; unset: recognised by the tensors' names."""
    network: str | None = None
    """The network, by its name here or in the file's package; unset: recognised by the tensors."""
    prefix: str = ""
    """The prefix of the network's tensors in a larger model, such as "backbone.bottom_up."; others are left out."""
    classes: Path | None = None
    """For --to resnets: a text file with a class name a line; unset: the file's own, ImageNet's where there are 1000, or numbers."""
    json: bool = False
    """One object on standard output."""


def run(options: ConvertOptions) -> int:
    """Carries out the command."""
    _check_ending(options.output, options.to)
    from ...weights.layouts import convert

    read = _read(options)
    notes = list(read.notes)
    if options.to == "resnets":
        notes += _write_ours(read, options.output, options.classes)
    else:
        if options.classes is not None:
            raise UserError(f"--classes has no place in a file for {options.to}; only --to resnets keeps class names")
        state = convert(dict(read.state), spec=read.spec, source="resnets", target=options.to)
        _write_foreign(state, options.output)
    for note in notes:
        messages().print(note, soft_wrap=True, markup=False)
    parameters = sum(value.numel() for value in read.state.values())
    if options.json:
        print_json(
            {
                "path": str(options.output),
                "from": read.layout,
                "to": options.to,
                "tensors": len(read.state),
                "values": parameters,
                "spec": read.spec.model_dump(mode="json"),
                "notes": notes,
            }
        )
    else:
        results().print(
            f"{options.file} ({read.layout}) to {options.output} ({options.to}): {len(read.state)} tensors, {parameters:,} values",
            soft_wrap=True,
            markup=False,
        )
    return 0


def _check_ending(path: Path, layout: str) -> None:
    allowed = (".safetensors",) if layout == "resnets" else (".safetensors", ".pth", ".pt", ".bin")
    if path.suffix not in allowed:
        raise UserError(f"--output {path}: a file for {layout} ends in {' or '.join(allowed)}")


def _read(options: ConvertOptions) -> LoadedWeights:
    from ...weights.foreign_file import read_foreign
    from ...weights.pretrained import is_our_model, read_weights

    path = options.file
    if not path.exists():
        raise UserError(f"there is no file or folder {path}")
    if path.is_dir() or is_our_model(path):
        read = read_weights(path)
        for option, given in (("--network", options.network), ("--prefix", options.prefix)):
            if given:
                raise UserError(f"{option} {given} has no use here: {path} says itself which network it holds")
        if options.source not in (None, read.layout):
            raise UserError(f"--from {options.source}: {path} is in the layout of {read.layout}")
        return read
    return read_foreign(path, layout=options.source, network=options.network, prefix=options.prefix)


def _write_foreign(state: dict[str, Tensor], path: Path) -> None:
    """Writes a plain dict of tensors, whole or not at all."""
    import torch
    from safetensors.torch import save

    from ...core.files import atomic, write_atomically

    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if path.suffix == ".safetensors":
        write_atomically(path, save(tensors, metadata={"format": "pt"}))  # transformers refuses a file that does not say so
    else:
        with atomic(path) as file:
            torch.save(tensors, file)


def _write_ours(read: LoadedWeights, path: Path, classes_file: Path | None) -> list[str]:
    """Writes a model file; what had to be assumed for it, in sentences."""
    import torch

    from ...networks import build
    from ...weights.hub import imagenet_classes
    from ...weights.model_file import ModelDescription, save_model

    spec, notes = read.spec, []
    classes = read.classes
    if classes_file is not None:
        classes = tuple(line for line in classes_file.read_text("utf-8").splitlines() if line.strip())
        if len(classes) != spec.num_classes:
            raise UserError(f"{classes_file} has {len(classes)} class names, but the network has {spec.num_classes} logits")
    elif classes is None and spec.num_classes == 1000:
        classes = imagenet_classes()
        notes.append("the file names no classes; as there are 1000, they are assumed to be ImageNet-1K's in their usual order")
    elif classes is None:
        classes = tuple(str(i) for i in range(spec.num_classes))
        if classes:
            notes.append("the file names no classes; they are called by their numbers (--classes FILE names them)")
    preprocessing = read.preprocessing
    if preprocessing is None:
        preprocessing = _usual_preprocessing(spec.in_channels, spec.input_size)
        notes.append(f"the file does not say how images are prepared; the usual way was taken: {preprocessing!r}")
    with torch.device("meta"):
        network = build(spec)
    network.load_state_dict(dict(read.state), assign=True)
    provenance = {**read.provenance, "converted_from": read.layout, "assumed": notes}
    save_model(network, path, ModelDescription(spec, classes, preprocessing, read.metrics, provenance))
    return notes


def _usual_preprocessing(channels: int, size: int) -> Preprocessing:
    """ImageNet's, for the network's number of channels and size in pixels."""
    from ...data.decoding.preprocessing import Preprocessing
    from ...weights.adapt import adapted_preprocessing
    from ...weights.catalogue import get_weights

    usual = adapted_preprocessing(get_weights("resnet18/imagenet1k-v1").preprocessing, channels)
    if usual is None:
        raise UserError(
            f"the network takes {channels} channels, and a model file describes images of 1 or 3; "
            "convert it to another layout, or load it with create_model(..., weights=FILE)"
        )
    resize = None if size <= 64 else round(size / 0.875)
    return Preprocessing.model_validate({**usual.model_dump(), "size": size, "resize": resize})


COMMAND = Command("convert", ConvertOptions, "Turn weights from one package's layout into another's.", run)
