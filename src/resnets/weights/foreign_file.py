"""Checkpoints of other packages, read without running anything in them: tensors, layout, and the network that they belong to.

Read are .safetensors, .npz, torch.save's files of any kind (.pth, .pt, .ckpt, .bin; whole modules and TorchScript too) and pickles of numpy
arrays (.pkl of detectron2 and Caffe2). Network and layout are found by the tensors' names, whatever precedes them; every tensor of the
network has to have its place, or it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..core.errors import UserError
from ..core.reading import TABLE_LIMIT, read_file
from ..data.decoding.preprocessing import Preprocessing
from ..networks import ROWS, NetworkSpec, build, get_spec
from . import caffe
from .adapt import first_layer
from .formats import check_format, is_npz, is_safetensors, numpy_tables
from .layouts import LAYOUTS, convert, layout_keys
from .torch_file import read_torch, tables


@dataclass(frozen=True)
class LoadedWeights:
    """The weights of a network under our names, and what their file says of it."""

    origin: str
    """What the weights are called in messages."""
    spec: NetworkSpec
    state: Mapping[str, Tensor]
    layout: str = "resnets"
    """The layout of the file."""
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What a user should know about the reading."""


def read_tables(path: Path) -> list[tuple[str, dict[str, Tensor]]]:
    """Every table of tensors in a file, by the path of keys that leads to it. Nothing in the file is run.

    Raises:
        UserError: not a file of tensors, or damaged; a known format of another kind is named, with what to do instead.
        OSError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    content = read_file(path, limit=TABLE_LIMIT)
    check_format(content, path)
    if path.suffix == ".safetensors" or is_safetensors(content):
        try:
            return [("", dict(load(content)))]
        except (SafetensorError, ValueError, KeyError) as error:  # the last two: a type that torch has not
            raise UserError(f"{path} is not a safetensors file, or it is damaged: {error}") from None
    try:
        found = numpy_tables(content) if is_npz(content) else list(tables(read_torch(content)))
    except UserError as error:
        raise UserError(f"{path} is no file of tensors that can be read as data: {error}. Nothing of it was run") from None
    if not found:
        raise UserError(f"{path} holds no tensors; a state dict is wanted, or a file that has one in it. Nothing of it was run")
    return [(where, {key: torch.as_tensor(value) for key, value in table.items()}) for where, table in found]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The largest table of tensors in a file, without what DistributedDataParallel and torch.compile put before every name.

    Raises:
        UserError, OSError: as `read_tables`.
    """
    found = [(where, table) for where, table in read_tables(path) if not _OTHER_KINDS.search(where)] or read_tables(path)
    state = dict(max(found, key=lambda each: len(each[1]))[1])
    state.pop("n_averaged", None)
    while True:
        outer = next((p for p in ("module.", "_orig_mod.") if all(key.startswith(p) for key in state)), None)
        if outer is None:
            return state
        state = {key.removeprefix(outer): value for key, value in state.items()}


_OTHER_KINDS = re.compile(r"optim|scheduler|scaler|loss", re.IGNORECASE)
_AVERAGED = re.compile(r"ema|averag|swa|teacher|encoder_k|key_encoder|momentum", re.IGNORECASE)
_ANCHORS = (
    "layer1.0.conv1.weight", "stages.0.blocks.0.conv1.weight", "conv2_x.0.residual.conv1.weight",
    "encoder.stages.0.layers.0.layer.0.convolution.weight",
    "res2.0.conv1.weight", "stages.0.blocks.0.conv1.conv.weight", "features.0.conv.weight", "conv2d_1a.conv.weight", "res2_0_branch2a_w",
)  # fmt: skip
"""A name of each layout that tells where a network begins, whatever precedes it."""


@dataclass(frozen=True)
class Candidate:
    """A network's tensors in a file."""

    where: str
    """The keys that lead to its table, and the prefix of its names there."""
    state: Mapping[str, Tensor]
    averaged: bool
    """Whether it is an average, or the second of two networks that learn together."""


def candidates(found: Sequence[tuple[str, Mapping[str, Tensor]]]) -> list[Candidate]:
    """The networks in a file's tables, by the names of their tensors: the one that learns before averages, the larger before the smaller."""
    made: list[Candidate] = []
    for where, table in found:
        if _OTHER_KINDS.search(where):
            continue
        prefixes = {key[: -len(anchor)] for key in table for anchor in _ANCHORS if key == anchor or key.endswith(f".{anchor}")}
        for prefix in sorted(prefixes, key=len):
            state = {
                key.removeprefix(prefix): value for key, value in table.items() if key.startswith(prefix) and key != "n_averaged"
            }
            if prefix.endswith("resnet.") and any(key.startswith("encoder.stages.") for key in state):
                prefix = prefix.removesuffix("resnet.")  # transformers' own names begin with it
                state = {key.removeprefix(prefix): value for key, value in table.items() if key.startswith(prefix)}
            elif any(key.startswith("encoder.stages.") for key in state):
                state = {f"resnet.{key}": value for key, value in state.items()}
            averaged = bool(_AVERAGED.search(where + prefix)) or "n_averaged" in table
            made.append(Candidate(where + prefix, state, averaged))
    return sorted(made, key=lambda each: (each.averaged, -len(each.state)))


def chosen(found: Sequence[tuple[str, Mapping[str, Tensor]]], path: Path, which: str | None) -> tuple[Candidate, list[str]]:
    """The network to read, and what is to be said of the choice.

    Raises:
        UserError: `which` names none of them, or there is none.
    """
    networks = candidates(found)
    if not networks:
        names = [key for _, table in found for key in table][:5]
        raise UserError(f"{path}: names of no known layout: {', '.join(names)}, ... Nothing of it was run")
    if which is not None:
        fitting = [each for each in networks if which in each.where or (which in ("ema", "averaged") and each.averaged)]
        if not fitting:
            raise UserError(f"--which {which}: {path} has {' and '.join(repr(each.where) for each in networks)}")
        networks = [fitting[0], *(each for each in networks if each is not fitting[0])]
    one, *others = networks
    notes = []
    if one.where or others:
        notes.append(
            f"{path}: a network was found under {one.where!r}" if one.where else f"{path}: the network by its plain names was taken"
        )
    if others:
        listed = ", ".join(f"{each.where!r}{' (averaged)' if each.averaged else ''}" for each in others)
        notes.append(f"{path}: there are others: {listed}; --which NAME takes one of them")
    return one, notes


def one_linear_head(state: Mapping[str, Tensor], without_head: bool = False) -> tuple[dict[str, Tensor], str | None]:
    """The tensors with a head of one linear layer under its plain name, such as fc.1.weight of a dropout and a layer, and what was done.

    Raises:
        UserError: the head has several layers.
    """
    state = dict(state)
    for name in ("fc", "classifier", "head.fc", "head", "linear"):
        inner = sorted(
            {
                key[len(name) + 1 :].rpartition(".")[0]
                for key in state
                if re.fullmatch(rf"{re.escape(name)}\.[\w.]+\.(weight|bias)", key)
            }
        )
        inner = [
            each for each in inner if f"{name}.{each}.weight" in state and (name, each) not in (("head", "fc"), ("classifier", "1"))
        ]
        if without_head:
            state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
        elif len(inner) > 1:
            layers = ", ".join(f"{name}.{each}" for each in inner)
            raise UserError(f"its head has {len(inner)} layers ({layers}); --without-head takes the rest of the network")
        elif inner and f"{name}.weight" not in state:
            for kind in ("weight", "bias"):
                if (value := state.pop(f"{name}.{inner[0]}.{kind}", None)) is not None:
                    state[f"{name}.{kind}"] = value
            return state, f"the head is {name}.{inner[0]}"
    return state, "the head was left out" if without_head else None


def detect_layout(keys: Mapping[str, Tensor]) -> str:
    """The layout of a state dict: "resnets", "torchvision", "timm", "transformers", "detectron2" or "caffe".

    timm's plain ResNets have torchvision's names, and count as that.

    Raises:
        ValueError: names of no layout, with some of them.
    """
    if caffe.is_caffe(keys):
        return "caffe"
    if any(key.startswith("conv2_x.") for key in keys):
        return "resnets"
    if any(key.startswith("resnet.encoder.stages.") for key in keys):
        return "transformers"
    if "stem.conv1.weight" in keys and any(key.startswith("res2.") for key in keys):
        return "detectron2"
    if any(key.startswith(("stages.0.blocks.0.", "features.0.conv.", "conv2d_1a.conv.")) for key in keys):
        return "timm"
    if any(key.startswith("layer1.0.") for key in keys):
        pooled = keys.get("layer2.0.downsample.1.weight", torch.empty(0)).dim() == 4  # ResNet-D: a pool precedes the projection
        deep = "conv1.0.weight" in keys
        return "timm" if pooled or deep or any(".se." in key for key in keys) else "torchvision"
    prefixes = ("backbone.bottom_up.", "backbone.", "model.", "encoder.")
    inside = next((p for p in prefixes for key in keys if key.startswith(p)), None)
    hint = f"; perhaps the network's names follow the prefix {inside!r}: resnets convert FILE --prefix {inside}" if inside else ""
    raise UserError(f"names of no known layout: {', '.join(list(keys)[:5])}, ...{hint}")


def detect_spec(layout: str, state: Mapping[str, Tensor], name: str | None = None) -> NetworkSpec:
    """The spec whose tensors in `layout` are exactly those of `state`, with its number of classes and input channels.

    Args:
        name: the network, by its name in the zoo or in the package; None tries the package's networks and the zoo's.

    Raises:
        ValueError: no network fits (the message says how the named one does not), or several that compute different things.
    """
    peers = dict(LAYOUTS[layout].peers) if layout in LAYOUTS else {}
    if layout == "torchvision":
        peers = {**LAYOUTS["timm"].peers, **peers}  # timm's plain ResNets have torchvision's names
    if name is not None:
        plain = LAYOUTS[layout].plain(name) if layout in LAYOUTS else name
        return _sized(layout, get_spec(peers.get(plain, name) if name not in ROWS else name), state)
    names = list(dict.fromkeys([*peers.values(), *ROWS]))
    fitting: dict[str, NetworkSpec] = {}
    for candidate in names:
        # The zoo's other rows are asked only where none of the package's own networks fits.
        if fitting and candidate not in peers.values():
            break
        spec = get_spec(candidate)
        first = state.get("conv1.weight")
        if layout == "torchvision" and first is not None and tuple(first.shape[2:]) == (3, 3) and spec.stem == "imagenet":
            spec = spec.updated(stem="cifar")  # its shape tells; that no pool follows is how everybody has it
        if _units(layout, state) == spec.blocks:
            try:
                sized = _sized(layout, spec, state)
                convert(state, spec=sized, source=layout)
            except ValueError:
                continue  # another network of as many units
            fitting[candidate] = sized
    if len(fitting) == 1 or len({spec.updated(norm="batch") for spec in fitting.values()}) == 1:
        return next(iter(fitting.values()))
    if fitting:
        raise UserError(f"these tensors are those of {' and of '.join(fitting)}, which compute different things; name the network")
    blocks = _units(layout, state)
    raise UserError(
        f"no network of the zoo has these {len(state)} tensors in {layout}'s layout (stages of {', '.join(map(str, blocks))} units); "
        "name the network, with its changed fields, to see where it differs"
    )


_UNIT_NAMES = {
    "resnets": r"conv(\d+)_x\.(\d+)\.",
    "torchvision": r"layer(\d+)\.(\d+)\.",
    "timm": r"(?:layer|stages\.)(\d+)\.(?:blocks\.)?(\d+)\.",
    "transformers": r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.",
    "detectron2": r"res(\d+)\.(\d+)\.",
}


def _units(layout: str, state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Units in each stage, by the names; for timm's Inception networks those of the zoo's."""
    if layout == "timm" and any(key.startswith(("features.0.conv.", "conv2d_1a.conv.")) for key in state):
        return get_spec("inception-v4" if "features.0.conv.weight" in state else "inception-resnet-v2").blocks
    seen: dict[int, int] = {}
    for key in state:
        if match := re.match(_UNIT_NAMES[layout], key):
            stage, unit = int(match[1]), int(match[2])
            seen[stage] = max(seen.get(stage, 0), unit + 1)
    return tuple(seen[stage] for stage in sorted(seen))


def _sized(layout: str, spec: NetworkSpec, state: Mapping[str, Tensor]) -> NetworkSpec:
    """`spec` with the number of classes and input channels that the tensors have."""
    if spec.head != "classes":
        return spec
    # One unit a stage is enough to know what the first and the last layer are called (Inception's tables want all of them).
    small = spec.updated(num_classes=1000, blocks=spec.blocks if spec.is_inception else (1,) * len(spec.blocks))
    with torch.device("meta"):
        first = first_layer(build(small))
    keys = layout_keys(layout, small)
    classifier, stem = state.get(keys["head.fc.weight"]), state.get(keys[first])
    changes = {"num_classes": 0 if classifier is None else classifier.shape[0]}
    if stem is not None and stem.dim() > 1:
        changes["in_channels"] = stem.shape[1]
    return spec.updated(**changes)


def read_foreign(
    path: Path,
    *,
    layout: str | None = None,
    network: str | NetworkSpec | None = None,
    prefix: str = "",
    which: str | None = None,
    without_head: bool = False,
) -> LoadedWeights:
    """The weights in another package's file, in our layout. A file of ours that is a bare state dict is read too.

    Args:
        layout: the file's layout; None recognises it.
        network: the network's name, or its spec (whose numbers of classes and input channels need not be the file's);
            None recognises it.
        prefix: the prefix of the network's names, such as "backbone.bottom_up."; "" finds it by the names. Other tensors are left
            out, with a note.
        which: a part of the keys that lead to the network, where a file has several; "ema" for averaged weights.
        without_head: leave the head out, whatever it is.

    Raises:
        ValueError: an unreadable or hostile file, an unknown layout or network, tensors missing or left over.
        OSError: no such file.
    """
    found = read_tables(path)
    if prefix:
        every = {f"{where}{key}": value for where, table in found for key, value in table.items()}
        if not any(key.startswith(prefix) for key in every):  # it may be stated without the keys that lead to the table
            every = {key: value for _, table in found for key, value in table.items()}
        inside = {key.removeprefix(prefix): value for key, value in every.items() if key.startswith(prefix)}
        if not inside:
            raise UserError(f"no tensor of {path} begins with {prefix!r}; they are {', '.join(list(every)[:5])}, ...")
        notes = []
        if len(inside) < len(every):
            parts = sorted({key.partition(".")[0] for key in every if not key.startswith(prefix)})
            notes.append(f"{path}: {len(every) - len(inside)} tensors outside {prefix!r} were left out ({', '.join(parts)})")
        state: dict[str, Tensor] = inside
    elif (
        layout == "caffe"
        or (layout is None and caffe.is_caffe(found[0][1]))
        or (layout is not None and which is None and not candidates(found))
    ):
        state, notes = read_tensors(path), []
    else:
        candidate, notes = chosen(found, path, which)
        state = dict(candidate.state)
    try:
        state, head = one_linear_head(state, without_head)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if head is not None:
        notes.append(f"{path}: {head}")
    if any(value.dtype in (torch.float16, torch.bfloat16) for value in state.values()):
        notes.append(f"{path}: its 16-bit weights became float32")
        state = {key: value.float() if value.dtype in (torch.float16, torch.bfloat16) else value for key, value in state.items()}
    try:
        layout = layout or detect_layout(state)
        known = ("resnets", "caffe", *LAYOUTS)
        if layout not in known:
            raise UserError(f"there is no layout {layout!r}; the layouts are {', '.join(known)}")
        names = "detectron2" if layout == "caffe" else layout
        if layout == "caffe":
            state = caffe.detectron2_state(state, epsilon=1e-5)
        spec = _sized(names, network, state) if isinstance(network, NetworkSpec) else detect_spec(names, state, network)
        ours = convert(state, spec=spec, source=names)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    preprocessing = None
    if layout == "caffe" and spec.in_channels == 3:
        with torch.device("meta"):
            first = first_layer(build(spec))
        ours[first] = ours[first].flip(1)
        preprocessing = caffe.rgb_preprocessing(spec.cardinality > 1, spec.input_size)
        notes.append(f"{path}: the first layer was turned from blue, green, red to red, green, blue")
    return LoadedWeights(
        str(path), spec, ours, layout, None, preprocessing, {}, {"file": path.name, "layout": layout}, tuple(notes)
    )
