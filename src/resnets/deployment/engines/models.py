"""What a user may name as a model: a run, a model file, pretrained weights, or a network of the zoo."""

from __future__ import annotations

from pathlib import Path

import torch

from ...core.errors import UserError
from ...networks import Network, build, get_spec
from ...networks.zoo import split_name
from ..graph.description import Description, description_of


def open_network(model: str | Path, *, device: str | torch.device = "cpu") -> tuple[Network, Description]:
    """The network that `model` names, in evaluation mode, and what is known of it.

    Args:
        model: a run directory; a model file; pretrained weights by their full name ("resnet50/imagenet1k-v2", "timm/NAME",
            "transformers/OWNER/NAME"); or a network of the zoo by name, which is then freshly initialised.

    Raises:
        ValueError: nothing has that name, or the file is not a resnets model file.
        WeightsUnavailable: the weights would have to be fetched and cannot be.
        OSError: the file cannot be read.
    """
    path, text = Path(model), str(model)
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.is_file():
            raise UserError(f"the folder {model} holds no model.safetensors; is its run finished? resnets train --resume {model}")
    if path.is_file():
        from ...weights.model_file import load_model, read_description

        if path.suffix != ".safetensors":
            raise UserError(f"{path} is no model file of ours (.safetensors); resnets convert {path} --to resnets makes one of it")
        about = read_description(path)
        network = load_model(path, device=device)
        return network, Description(about.spec, about.classes, about.preprocessing, about.metrics, about.provenance)
    if path.is_absolute() or path.suffix in (".safetensors", ".onnx", ".xml", ".pt2") or text.startswith("."):
        raise FileNotFoundError(f"there is no run directory or model file {path}")
    if "/" in text.partition(":")[0]:
        return _pretrained(text, device)
    # A plain name is the network itself; its weights are as good as none, but its speed is that of a trained one.
    network = build(get_spec(text)).eval().to(device)
    return network, description_of(network, provenance={"network": split_name(text)[0], "weights": "fresh"})


def _pretrained(name: str, device: str | torch.device) -> tuple[Network, Description]:
    from ...weights.adapt import network_from
    from ...weights.catalogue import get_weights
    from ...weights.pretrained import read_weights

    package = name.partition("/")[0]
    read = read_weights(name, None if package in ("timm", "transformers") else get_weights(name).spec)
    network, _ = network_from(read.state, read.spec, read.spec, origin=read.origin, input_weights=None)
    network.classes, network.preprocessing = read.classes, read.preprocessing
    return network.eval().to(device), description_of(network, read.metrics, read.provenance)
