"""The model file: safetensors whose header says everything needed to use the network.

The header holds the spec, class names, preprocessing, metrics and provenance (recipe, data, versions) as JSON. Nothing in it runs
code on load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..data.preprocessing import Preprocessing
from ..files import write_atomically
from ..networks import Network, NetworkSpec, build

FORMAT = "resnets 1"


@dataclass(frozen=True)
class ModelDescription:
    """What a model file says about its network, besides the weights."""

    spec: NetworkSpec
    classes: tuple[str, ...]
    """Class names in the logits' order."""
    preprocessing: Preprocessing
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, on which data."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights come from: network name, recipe, data, versions."""


def save_model(network: Network, path: Path, description: ModelDescription) -> None:
    """Writes the network's state and its description, whole or not at all.

    Raises:
        ValueError: the number of class names is not the number of logits.
        OSError: the file cannot be written.
    """
    if len(description.classes) != description.spec.num_classes:
        raise ValueError(f"{len(description.classes)} class names for {description.spec.num_classes} logits")
    header = {
        "format": FORMAT,
        "spec": description.spec.model_dump_json(),
        "classes": json.dumps(description.classes),
        "preprocessing": description.preprocessing.model_dump_json(),
        "metrics": json.dumps(description.metrics),
        "provenance": json.dumps(description.provenance),
    }
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomically(path, save(state, metadata=header))


def read_description(path: Path) -> ModelDescription:
    """The header of a model file; the weights are not read.

    Raises:
        ValueError: the file is none of ours, or damaged; the message names it.
        OSError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a model file, or it is damaged: {error}") from None
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} is a safetensors file, but not a model that `resnets train` wrote: its header has no {FORMAT!r}")
    try:
        return ModelDescription(
            spec=NetworkSpec.model_validate_json(header["spec"]),
            classes=tuple(json.loads(header["classes"])),
            preprocessing=Preprocessing.model_validate_json(header["preprocessing"]),
            metrics=json.loads(header["metrics"]),
            provenance=json.loads(header["provenance"]),
        )
    except (KeyError, ValidationError, json.JSONDecodeError) as error:
        raise ValueError(f"the header of {path} is damaged: {' '.join(str(error).split())}") from None


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> Network:
    """The network in a model file, in evaluation mode, with `.classes`, `.preprocessing` and `.spec`.

    Raises:
        ValueError: the file is none of ours, damaged, or its weights do not fit its spec.
        OSError: no such file.
    """
    path = Path(path)
    description = read_description(path)
    with torch.device("meta"):
        network = build(description.spec)
    state: dict[str, torch.Tensor] = {}
    with safe_open(path, framework="pt", device=str(device)) as file:
        for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
            state[name] = file.get_tensor(name)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} do not fit its spec: {' '.join(str(error).split())}") from None
    network.classes, network.preprocessing = description.classes, description.preprocessing
    network.requires_grad_(True)
    return network.eval()
