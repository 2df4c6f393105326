"""What the contestants of `resnets benchmark` read: the same weights in every package's layout, and the same images.

Legend: N images, C channels, S height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..core.errors import UserError
from ..data.decoding.formats import open_image
from ..data.decoding.preprocessing import Preprocessing
from ..deployment.prediction.predict import find_images, read_image
from ..networks import Network
from ..training.engine.recalibration import recalibrate
from ..weights.layouts import convert
from ..weights.model_file import ModelDescription, save_model
from .contestants import IMAGES, MODEL, PEER_ONNX

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OPSET = 18


@dataclass(frozen=True)
class Subject:
    """The network that is measured, and how it is called elsewhere."""

    name: str
    network: Network
    size: int
    """S of the images."""
    peers: Mapping[str, str]
    """Package -> the package's name for it."""


def preprocessing_of(network: Network, size: int) -> Preprocessing:
    """The network's own, at another size; ImageNet's where it knows none."""
    if network.preprocessing is not None:
        own: Preprocessing = network.preprocessing
        return own if own.size == size else own.model_copy(update={"size": size, "resize": None, "mean_picture": ""})
    channels = network.spec.in_channels
    if channels not in (1, 3):
        raise UserError(f"images have 1 or 3 channels, but the network takes {channels}; there is nothing to benchmark it on")
    mean, std = (_MEAN, _STD) if channels == 3 else ((0.449,), (0.226,))
    return Preprocessing(size=size, channels=channels, mean=mean, std=std)


def benchmark_images(preprocessing: Preprocessing, count: int, folders: Sequence[Path]) -> Tensor:
    """`count` images (N, C, S, S), float32, as the network's input: those in files and folders, again from the first where they are
    fewer; without any, parts of a photograph that comes with matplotlib.

    Raises:
        ValueError: a path without images, or a file that is none.
    """
    if folders:
        files = find_images(folders)[:count]
        read = torch.cat([read_image(file, preprocessing) for file in files])
        return read[torch.arange(count) % len(read)]
    import matplotlib.cbook
    import PIL.Image

    opened: Any = matplotlib.cbook.get_sample_data("grace_hopper.jpg")
    with opened as file:
        photograph = open_image(file).convert("RGB")
    random = numpy.random.default_rng(0)
    made = []
    for _ in range(count):
        side = random.uniform(0.15, 0.9) * min(photograph.size)
        left, top = random.uniform(0, photograph.width - side), random.uniform(0, photograph.height - side)
        box = (left, top, left + side, top + side)
        size = preprocessing.size
        made.append(preprocessing.image(photograph.resize((size, size), PIL.Image.Resampling.BILINEAR, box)))
    return torch.cat(made)


def write_subject(subject: Subject, images: Tensor, folder: Path, *, fresh: bool) -> None:
    """Puts the weights in all layouts and the images into `folder`.

    Args:
        fresh: the weights are initial ones: the norms' statistics are set to those of the images, without which the logits of a deep
            network would tell no images apart, and agreement would mean nothing.
    """
    network = subject.network
    if fresh:
        recalibrate(network, torch.split(images, 8))
    classes = network.classes or tuple(f"class {number}" for number in range(network.spec.num_classes))
    description = ModelDescription(network.spec, classes, preprocessing_of(network, subject.size))
    save_model(network.eval(), folder / MODEL, description)
    for package in subject.peers:
        state = convert(network.state_dict(), source="resnets", target=package, spec=network.spec)
        save_file({name: value.contiguous() for name, value in state.items()}, folder / f"{package}.safetensors")
    numpy.save(folder / IMAGES, images.numpy())


def peer_network(package: str, name: str, num_classes: int, in_channels: int, folder: Path) -> nn.Module:
    """The peer's own module with the weights in `folder`, in evaluation mode."""
    network: nn.Module
    if package == "torchvision":
        import torchvision

        network = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    else:
        import timm

        network = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)
    network.load_state_dict(load_file(folder / f"{package}.safetensors"))
    return network.eval()


def write_peer_onnx(subject: Subject, folder: Path) -> None:
    """torchvision's module as an ONNX file with a free batch, through torch's own exporter with its own settings."""
    spec = subject.network.spec
    peer = peer_network("torchvision", subject.peers["torchvision"], spec.num_classes, spec.in_channels, folder)
    example = torch.zeros(2, spec.in_channels, subject.size, subject.size)
    torch.onnx.export(
        peer,
        (example,),
        folder / PEER_ONNX,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
