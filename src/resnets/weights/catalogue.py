"""The catalogue of torchvision's classification weights for the networks of the zoo.

Addresses, hashes, classes, preprocessing and accuracy are read from torchvision's own weight enums, never copied: what is listed is
what the installed torchvision knows.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torchvision
from torchvision.models import get_model_weights

from ..core.errors import UserError
from ..data.decoding.preprocessing import Preprocessing
from ..networks import NetworkSpec, get_spec
from .adapt import differences
from .download import expected_hash
from .layouts import LAYOUTS


@dataclass(frozen=True)
class CatalogueEntry:
    """One file of pretrained weights, and what is known of it."""

    network: str
    """The network's name in the zoo."""
    label: str
    """Which of the network's weights, such as "imagenet1k-v2"."""
    url: str
    """Where the file is; the end of its name holds the first eight hexadecimal digits of its SHA-256."""
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    metrics: Mapping[str, float]
    """Top-1 and top-5 accuracy on ImageNet's validation images as torchvision states them, shares in [0, 1]."""
    provenance: Mapping[str, Any]
    """Where the weights come from: package and version, the package's name for them, recipe, address, hash."""

    @property
    def name(self) -> str:
        """Network and label, such as "resnet50/imagenet1k-v2"."""
        return f"{self.network}/{self.label}"

    @property
    def spec(self) -> NetworkSpec:
        """The network that the weights are for."""
        return get_spec(self.network)


@cache
def _entries() -> dict[str, CatalogueEntry]:
    entries = (
        _entry(theirs, ours, weights)
        for theirs, ours in LAYOUTS["torchvision"].peers.items()
        for weights in get_model_weights(theirs)
    )
    return {entry.name: entry for entry in entries}


def _entry(theirs: str, ours: str, weights: Any) -> CatalogueEntry:
    transforms, meta = weights.transforms(), weights.meta
    accuracy = meta["_metrics"]["ImageNet-1K"]
    return CatalogueEntry(
        network=ours,
        label=weights.name.lower().replace("_", "-"),
        url=weights.url,
        classes=tuple(meta["categories"]),
        preprocessing=Preprocessing(
            size=transforms.crop_size[0],
            resize=transforms.resize_size[0],
            interpolation=transforms.interpolation.value,
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
        ),
        metrics={"top1": accuracy["acc@1"] / 100, "top5": accuracy["acc@5"] / 100},
        provenance={
            "network": ours,
            "package": f"torchvision {torchvision.__version__}",
            "weights": f"{type(weights).__name__}.{weights.name}",
            "peer": theirs,
            "url": weights.url,
            "sha256": expected_hash(weights.url),
            "recipe": meta.get("recipe", ""),
            "data": "ImageNet-1K",
        },
    )


def list_weights(name: str = "*") -> list[str]:
    """Names of pretrained weights, such as "resnet50/imagenet1k-v2", for the networks or weights whose names match a shell pattern.

    Each is a value for `create_model`'s `weights`; there the part after the slash is enough.
    """
    return [
        full for full, entry in _entries().items() if fnmatch.fnmatchcase(entry.network, name) or fnmatch.fnmatchcase(full, name)
    ]


def get_weights(name: str) -> CatalogueEntry:
    """What is known of the weights with that full name, such as "resnet50/imagenet1k-v2".

    Raises:
        ValueError: no such weights; the message names the nearest.
    """
    entries = _entries()
    plain = name.lower().replace("_", "-")
    if plain not in entries:
        near = difflib.get_close_matches(plain, entries, n=2, cutoff=0.4)
        raise UserError(f"there are no weights named {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    return entries[plain]


def find_weights(label: str, spec: NetworkSpec) -> CatalogueEntry | None:
    """The weights by label ("imagenet1k-v2") or full name for the network of `spec`; None where no weights have such a name.

    Raises:
        ValueError: other networks have weights of that name and this one has not, or other ones.
    """
    plain, entries = label.lower().replace("_", "-"), _entries()
    if plain in entries:
        return entries[plain]
    if plain not in {entry.label for entry in entries.values()}:
        return None
    fitting = [entry for entry in entries.values() if not differences(entry.spec, spec)]
    for entry in fitting:
        if entry.label == plain:
            return entry
    if fitting:
        raise UserError(f"{fitting[0].network} has no weights {label!r}; it has {', '.join(entry.label for entry in fitting)}")
    owners = [entry for entry in entries.values() if entry.label == plain]
    nearest = min(owners, key=lambda entry: len(differences(entry.spec, spec)))
    raise UserError(
        f"there are no weights {label!r} for this network. Those of {nearest.network} come nearest, but have "
        f"{'; '.join(differences(nearest.spec, spec))}. The networks with such weights are "
        f"{', '.join(entry.network for entry in owners)}"
    )
