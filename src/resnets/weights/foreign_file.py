"""Checkpoints of other packages, read without running anything in them: tensors, layout, and the network that they belong to.

Read are .safetensors, torch.save's files (.pth, .pt, .bin; `weights_only=True`) and pickles of numpy arrays (.pkl of detectron2 and
Caffe2). The layout is recognised by the tensors' names; every tensor has to have its place, or it is an error.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..core.safe_pickle import read_array_pickle
from ..data.decoding.preprocessing import Preprocessing
from ..networks import ROWS, NetworkSpec, build, get_spec
from . import caffe
from .adapt import first_layer
from .layouts import LAYOUTS, convert, layout_keys

WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "blobs")
"""Keys under which training programs keep a network's tensors beside other things."""


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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file by name, taken out of the dict that a training program may have put them into.

    Raises:
        ValueError: not a file of tensors, damaged, or one that asks for code to be run.
        OSError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with open(path, "rb") as file:
        start = file.read(64)
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file, or it is damaged: {error}") from None
    # A zip is torch.save's; so is a pickle that begins with torch's magic number (before torch 1.6).
    saved_by_torch = start.startswith(b"PK\x03\x04") or b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" in start
    if path.suffix == ".pkl" and not saved_by_torch:
        return _unwrapped(read_array_pickle(path), path)
    try:
        return _unwrapped(torch.load(path, map_location="cpu", weights_only=True), path)
    except pickle.UnpicklingError as error:
        reason = re.search(r"Unsupported global: GLOBAL ([\w.]+)", str(error))
        asked = f"it asks for {reason[1]}" if reason else str(error).splitlines()[0]
        raise ValueError(
            f"{path} holds more than tensors, or is no file of torch.save: {asked}. Nothing of it was run, because that could be "
            "any code. If you trust the file, save its tensors as .safetensors with the program that made it"
        ) from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle makes the reader fail in many ways, all of them about the file
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a file of tensors, or it is damaged: {said}") from None


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = content[inner[0]]
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not tensors by name")
    tensors = {key: torch.from_numpy(value) if isinstance(value, numpy.ndarray) else value for key, value in content.items()}
    texts = {
        key for key, value in tensors.items() if not isinstance(value, Tensor) and key in ("__author__", "matching_heuristics")
    }
    others = [str(key) for key, value in tensors.items() if not isinstance(value, Tensor) and key not in texts]
    if others or len(tensors) == len(texts):
        listed = ", ".join(others[:8]) or "nothing"
        raise ValueError(f"{path} holds {listed}, which are no tensors; a state dict is wanted, or one under {', '.join(WRAPPERS)}")
    state = {str(key): value for key, value in tensors.items() if key not in texts}
    if all(key.startswith("module.") for key in state):  # DistributedDataParallel's
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


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
        pooled = (
            keys.get("layer2.0.downsample.1.weight", torch.empty(0)).dim() == 4
        )  # ResNet-D: a pool stands before the projection
        deep = "conv1.0.weight" in keys
        return "timm" if pooled or deep or any(".se." in key for key in keys) else "torchvision"
    prefixes = ("backbone.bottom_up.", "backbone.", "model.", "encoder.")
    inside = next((p for p in prefixes for key in keys if key.startswith(p)), None)
    hint = f"; perhaps the network lies behind the prefix {inside!r}: resnets convert FILE --prefix {inside}" if inside else ""
    raise ValueError(f"names of no known layout: {', '.join(list(keys)[:5])}, ...{hint}")


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
    candidates = list(dict.fromkeys([*peers.values(), *ROWS]))
    fitting: dict[str, NetworkSpec] = {}
    for candidate in candidates:
        # The zoo's other rows are asked only where none of the package's own networks fits.
        if fitting and candidate not in peers.values():
            break
        spec = get_spec(candidate)
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
        raise ValueError(f"these tensors are those of {' and of '.join(fitting)}, which compute different things; name the network")
    blocks = _units(layout, state)
    raise ValueError(
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
    path: Path, *, layout: str | None = None, network: str | NetworkSpec | None = None, prefix: str = ""
) -> LoadedWeights:
    """The weights in another package's file, in our layout. A file of ours that is a bare state dict is read too.

    Args:
        layout: the file's layout; None recognises it.
        network: the network's name, or its spec (whose numbers of classes and input channels need not be the file's);
            None recognises it.
        prefix: what stands before the network's names, such as "backbone.bottom_up.". Other tensors are left out, with a note.

    Raises:
        ValueError: an unreadable or hostile file, an unknown layout or network, tensors missing or left over.
        OSError: no such file.
    """
    state, notes = read_tensors(path), []
    if prefix:
        inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if not inside:
            raise ValueError(f"no tensor of {path} begins with {prefix!r}; they are {', '.join(list(state)[:5])}, ...")
        if len(inside) < len(state):
            parts = sorted({key.partition(".")[0] for key in state if not key.startswith(prefix)})
            notes.append(f"{path}: {len(state) - len(inside)} tensors outside {prefix!r} were left out ({', '.join(parts)})")
        state = inside
    try:
        layout = layout or detect_layout(state)
        known = ("resnets", "caffe", *LAYOUTS)
        if layout not in known:
            raise ValueError(f"there is no layout {layout!r}; the layouts are {', '.join(known)}")
        names = "detectron2" if layout == "caffe" else layout
        if layout == "caffe":
            state = caffe.detectron2_state(state, epsilon=1e-5)
        spec = _sized(names, network, state) if isinstance(network, NetworkSpec) else detect_spec(names, state, network)
        ours = convert(state, spec=spec, source=names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
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
