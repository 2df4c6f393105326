"""`create_model(..., weights=...)`: a network with the weights that a name, a file or a folder stands for."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError
from ..networks import Network, NetworkSpec
from .adapt import InputWeights, adapted_preprocessing, network_from
from .foreign_file import LoadedWeights, read_foreign

_LOG = logging.getLogger("resnets")


@dataclass(frozen=True)
class Pretrained:
    """A network with pretrained weights, and what was done to make them fit."""

    network: Network
    weights: LoadedWeights
    notes: tuple[str, ...]
    """What a user should know, in sentences: a new head, an adapted first layer, an assumption."""


def read_weights(weights: str | Path, spec: NetworkSpec | None = None) -> LoadedWeights:
    """The weights that `weights` names, as they are.

    Args:
        weights: a label or name of the catalogue ("imagenet1k-v2", "resnet50/imagenet1k-v2"), "timm/NAME" or
            "transformers/OWNER/NAME" on the hub, a model file or run directory of ours, another package's file, or a folder in
            timm's or transformers' format.
        spec: the network for which they are wanted; a label of the catalogue and a file of bare tensors need it.

    Raises:
        ValueError: nothing has that name, or what has it is no weights of such a network.
        WeightsUnavailable: they would have to be fetched and cannot be.
        OSError: a file cannot be read.
    """
    text = str(weights)
    package, _, rest = text.partition("/")
    if isinstance(weights, str) and package in ("timm", "transformers") and rest:
        from .hub import read_from_hub

        return read_from_hub(package, rest)
    path = Path(weights).expanduser()
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path, spec)
    from .catalogue import find_weights, list_weights

    entry = find_weights(text, spec) if spec is not None else None
    if entry is None:
        labels = list(dict.fromkeys(name.rpartition("/")[2] for name in list_weights()))
        near = difflib.get_close_matches(text.lower(), labels + list_weights(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"weights={text!r} is neither a file or folder nor a name: {hint}Names are {', '.join(labels)} (list_weights() has all), "
            "timm/NAME and transformers/OWNER/NAME"
        )
    from .download import fetched

    read = read_foreign(fetched(entry.url), layout="torchvision", network=entry.spec)
    return LoadedWeights(
        entry.name, read.spec, read.state, "torchvision", entry.classes, entry.preprocessing, entry.metrics, entry.provenance
    )


def _from_folder(folder: Path) -> LoadedWeights:
    from .hub import read_folder

    ours = folder / "model.safetensors"
    if not (folder / "config.json").is_file():
        if not ours.is_file():
            raise UserError(
                f"the folder {folder} holds neither model.safetensors of ours nor config.json with model.safetensors or "
                "pytorch_model.bin, as timm and transformers write them"
            )
        return _from_file(ours, None)
    return read_folder(folder)


def _from_file(path: Path, spec: NetworkSpec | None) -> LoadedWeights:
    from .model_file import load_model, read_description

    if is_our_model(path):
        description, network = read_description(path), load_model(path)
        return LoadedWeights(
            str(path), description.spec, network.state_dict(), "resnets", description.classes, description.preprocessing,
            description.metrics, description.provenance,
        )  # fmt: skip
    return read_foreign(path, network=spec)


def is_our_model(path: Path) -> bool:
    """Whether the file is a model file of ours, which says itself what network it holds.

    Raises:
        ValueError: a damaged safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    from .model_file import FORMAT

    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return bool((file.metadata() or {}).get("format") == FORMAT)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file, or it is damaged: {error}") from None


def load_pretrained(
    spec: NetworkSpec,
    weights: str | Path,
    *,
    input_weights: InputWeights | None = None,
    stated: frozenset[str] = frozenset({"num_classes", "in_channels"}),
) -> Pretrained:
    """The network of `spec` with pretrained weights, in evaluation mode, with `.classes` and `.preprocessing` where they are known.

    Args:
        weights: as in `read_weights`.
        input_weights: how the first layer is adapted to another number of input channels, see `adapted_input`.
        stated: which of num_classes and in_channels the caller chose; one that is not among them follows the weights.

    Raises:
        ValueError, WeightsUnavailable, OSError: as `read_weights` and `network_from`.
    """
    if input_weights not in (None, "sum", "repeat"):
        raise UserError(f"input_weights={input_weights!r} is no way to adapt the first layer; choose 'sum' or 'repeat'")
    read = read_weights(weights, spec)
    follows = {field: getattr(read.spec, field) for field in ("num_classes", "in_channels") if field not in stated}
    if not follows.get("num_classes", 1):
        del follows["num_classes"]  # a backbone's file has no head: the network keeps its own, freshly initialised
    target = spec.updated(**follows)
    network, changed = network_from(read.state, read.spec, target, origin=read.origin, input_weights=input_weights)
    notes = [*read.notes, *changed]
    network.classes = read.classes if read.spec.num_classes == target.num_classes else None
    network.preprocessing = adapted_preprocessing(read.preprocessing, target.in_channels)
    if network.preprocessing is not read.preprocessing:
        how = (
            "left unset: images have 1 or 3"
            if network.preprocessing is None
            else "adapted, with the mean of the means and of the stds"
        )
        notes.append(f"{read.origin}: preprocessing for {target.in_channels} channels was {how}")
    for note in notes:
        _LOG.warning(note)  # INFO would reach nobody who did not configure logging, and a fresh head predicts nothing yet
    return Pretrained(network.eval(), read, tuple(notes))
