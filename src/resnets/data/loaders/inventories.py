"""The inventory of whatever a run learns from: arrays, folders, CSVs, shards and annotated images."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from ..annotations.objects import AnnotatedFiles, AnnotatedImages, Several
from ..datasets.shards import Shards
from ..image_source import ImageFiles
from ..sources.inventory import Inventory, Item, Listed, array, take_inventory


@runtime_checkable
class ListsMore(Protocol):
    """Data with files beside those of its images, such as masks."""

    def more_files(self) -> Iterator[Path]:
        """Each of them."""


def inventory_of(sources: Mapping[str, Any], unused: Collection[str] = (), known: Mapping[str, Item] | None = None) -> Inventory:
    """Of all sources, by the name of their part ("train", "val").

    Args:
        sources: of each part its `ImageFiles`, `Shards`, `AnnotatedImages`, or tuple of tensors.
        left_out: names of images that the run does not use.
        known: an earlier inventory, see `take_inventory`.
    """
    arrays: Inventory = {}
    files: list[Listed] = []
    for part, source in sources.items():
        if isinstance(source, Shards) and source.revision:
            arrays[f"{part}/{source.name}"] = Item(0, 0, source.revision[:16], source.split)
        elif isinstance(source, tuple):
            arrays.update({f"{part}/array {i}": _of_tensor(tensor) for i, tensor in enumerate(source)})
        else:
            files += (entry._replace(name=f"{part}/{entry.name}") for entry in _listed(source) if entry.name not in unused)
    return {**arrays, **take_inventory(files, known)}


def _of_tensor(tensor: torch.Tensor) -> Item:
    return array(memoryview(tensor.cpu().contiguous().numpy().data).cast("B"), str(tuple(tensor.shape)))


def _listed(source: Any) -> Iterator[Listed]:
    if isinstance(source, Several):
        for part in source.parts:
            for entry in _listed(part):
                yield entry._replace(name=f"{part.name}/{entry.name}")
    elif isinstance(source, ImageFiles):
        for path, label in zip(source.paths, source.labels.tolist(), strict=True):
            yield Listed(path, source.root / path, source.classes[label])
    elif isinstance(source, AnnotatedFiles):
        for index, path in enumerate(source.paths):
            yield Listed(path, source.root / path, _of_objects(source, index))
        if isinstance(source, ListsMore):
            for file in source.more_files():
                yield Listed(file.relative_to(source.root).as_posix(), file)
    elif isinstance(source, Shards):
        for name in source.files:
            yield Listed(Path(name).name, Path(name))
    else:
        raise TypeError(f"{type(source).__name__} has no inventory")


def _of_objects(images: AnnotatedImages, index: int) -> str:
    """A digest of what is annotated."""
    objects = images.objects(index)
    content = b"".join(
        values.tobytes() for values in (objects.boxes, objects.labels, objects.crowd, objects.difficult, objects.areas)
    )
    return hashlib.sha256(content).hexdigest()[:8]
