"""The model file: safetensors whose header says everything needed to use the network.

The header holds what kind of model it is, the spec, class names, preprocessing, metrics and provenance (recipe, data, versions) as JSON.
Nothing in it runs code on load.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ..core.errors import UserError
from ..core.files import write_atomically
from ..core.text import texts, to_json
from ..data.decoding.preprocessing import Preprocessing
from ..networks import Network, NetworkSpec, build
from ..networks.zoo import explain

FORMAT = "resnets 1"

AnySpec = TypeVar("AnySpec", bound=BaseModel)
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)

_COMMANDS = {"classifier": "predict", "detector": "detect", "segmenter": "segment"}
"""Which command takes models of which kind."""


@dataclass(frozen=True)
class ModelDescription(Generic[AnySpec]):
    """What a model file says about its network, besides the weights."""

    spec: AnySpec
    classes: tuple[str, ...]
    """Class names in the logits' order; of a detector or segmenter without the background."""
    preprocessing: Preprocessing
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, on which data."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights come from: network name, recipe, data, versions."""


@dataclass(frozen=True)
class ModelKind(Generic[AnySpec, AnyNetwork]):
    """What the networks in model files are for; those of any kind have `classes` and `preprocessing`."""

    name: str
    """As the header says it."""
    spec: type[AnySpec]
    build: Callable[[AnySpec], AnyNetwork]
    num_names: Callable[[AnySpec], int]
    """How many class names go with a spec."""

    def save(self, network: AnyNetwork, path: Path, description: ModelDescription[AnySpec]) -> None:
        """Writes the network's state and its description, whole or not at all.

        Raises:
            ValueError: the number of class names is not what the spec has logits for.
            OSError: the file cannot be written.
        """
        if len(description.classes) != (expected := self.num_names(description.spec)):
            raise UserError(f"{len(description.classes)} class names for {expected} logits")
        header = {
            "format": FORMAT,
            "kind": self.name,
            "spec": description.spec.model_dump_json(),
            "classes": to_json(description.classes),
            "preprocessing": description.preprocessing.model_dump_json(),
            "metrics": to_json(description.metrics),
            "provenance": to_json(description.provenance),
        }
        state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        write_atomically(path, save(state, metadata=header))

    def describe(self, path: Path) -> ModelDescription[AnySpec]:
        """The header of a model file; the weights are not read.

        Raises:
            ValueError: the file is not a resnets model file, of another kind, or damaged; the message names it.
            OSError: no such file.
        """
        header = read_header(path)
        found = header.get("kind", CLASSIFIER.name)
        if found != self.name:
            command = _COMMANDS.get(found)
            raise UserError(f"{path} is a {found}, not a {self.name}" + (f"; use it with resnets {command}" if command else ""))
        try:
            description = ModelDescription(
                spec=self.spec.model_validate_json(header["spec"]),
                classes=texts(json.loads(header["classes"]), "class names"),
                preprocessing=Preprocessing.model_validate_json(header["preprocessing"]),
                metrics=json.loads(header["metrics"]),
                provenance=json.loads(header["provenance"]),
            )
        except ValidationError as error:
            raise UserError(f"the header of {path} is damaged: {explain(error)}") from None
        except (KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"the header of {path} is damaged: {' '.join(str(error).split())}") from None
        if len(description.classes) != (expected := self.num_names(description.spec)):
            raise UserError(f"the header of {path} has {len(description.classes)} class names for {expected} logits")
        return description

    def load(self, path: str | Path, *, device: str | torch.device = "cpu") -> AnyNetwork:
        """The network in a model file, in evaluation mode, with `.classes`, `.preprocessing` and `.spec`.

        Raises:
            ValueError: the file is not a resnets model file, of another kind, damaged, or its weights do not fit its spec.
            OSError: no such file.
        """
        path = Path(path)
        description = self.describe(path)
        with torch.device("meta"):
            network = self.build(description.spec)
        # Shapes first: a header that contradicts its tensors is refused before any of them is read.
        wanted = {name: list(value.shape) for name, value in network.state_dict().items()}
        if (found := tensor_shapes(path)) != wanted:
            raise UserError(f"the weights in {path} do not fit its spec: {_first_difference(found, wanted)}")
        state: dict[str, torch.Tensor] = {}
        with safe_open(path, framework="pt", device=str(device)) as file:
            for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                state[name] = file.get_tensor(name)
        try:
            network.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise UserError(f"the weights in {path} do not fit its spec: {' '.join(str(error).split())}") from None
        network.classes, network.preprocessing = description.classes, description.preprocessing  # type: ignore[assignment]
        network.requires_grad_(True)
        return network.to(device).eval()  # what is no part of the state was made elsewhere


CLASSIFIER: ModelKind[NetworkSpec, Network] = ModelKind("classifier", NetworkSpec, build, lambda spec: spec.num_classes)
"""Networks that name what is on an image."""


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in a safetensors file, by name; none of them is read."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)


def _first_difference(found: Mapping[str, list[int]], wanted: Mapping[str, list[int]]) -> str:
    name = next(name for name in (*wanted, *found) if found.get(name) != wanted.get(name))
    if name not in found:
        return f"{name} is missing"
    return f"{name} is {found[name]}, and should {f'be {wanted[name]}' if name in wanted else 'not be there'}"


def read_header(path: Path) -> dict[str, str]:
    """The header of a model file of any kind, as it is stored.

    Raises:
        ValueError: the file is not a resnets model file, or damaged; the message names it.
        OSError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"{path} is not a model file, or it is damaged: {error}") from None
    if header.get("format") != FORMAT:
        raise UserError(f"{path} is a safetensors file, but not a model that `resnets train` wrote: its header has no {FORMAT!r}")
    return header


def save_model(network: Network, path: Path, description: ModelDescription[NetworkSpec]) -> None:
    """Writes a classifier's model file; see `ModelKind.save`."""
    CLASSIFIER.save(network, path, description)


def read_description(path: Path) -> ModelDescription[NetworkSpec]:
    """The header of a classifier's model file; see `ModelKind.describe`."""
    return CLASSIFIER.describe(path)


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> Network:
    """The classifier in a model file; see `ModelKind.load`."""
    return CLASSIFIER.load(path, device=device)
