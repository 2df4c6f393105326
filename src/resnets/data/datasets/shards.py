"""Images in shards (.tar in WebDataset's layout, .parquet) or on the Hugging Face hub, read as a stream through HF `datasets`.

Legend: N images, B rows of a batch over all processes. A stream has no places to draw from: its order is that of its shards, shuffled,
and after them of a buffer, shuffled too, which follows from seed and epoch alone. Every process reads the whole stream and decodes its own
rows of each batch, so that a batch is the same however many processes share it. A resumed run passes over the rows it has seen, undecoded.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.reading import read_file
from ..errors import DataError
from ..sources.request import offline_reason
from .folders import SPLIT_FOLDERS, listed
from .user_data import HUB_PREFIX, SHARD_ENDINGS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BUILDERS = {".tar": "webdataset", ".parquet": "parquet"}
_IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "jpg;jpeg;png")
_LABELS = ("label", "labels", "cls", "class", "fine_label", "target")
BUFFER = 2_000
"""Encoded images in memory, from which the next one is drawn."""


@dataclass(frozen=True)
class Row:
    """One image of a stream."""

    content: bytes
    label: Any
    """As the shards have it."""
    name: str


@dataclass(frozen=True)
class Shards:
    """One split, or the part of one that is held out or left."""

    name: str
    split: str
    stream: Any = field(repr=False)
    """A `datasets.IterableDataset` whose images are not decoded."""
    image: str
    """The column of images."""
    label: str
    """The column of labels."""
    names: tuple[str, ...] | None
    """The classes, where the shards state them; labels are then their places."""
    share: float = 0.0
    """Of the images that are held out, by their content and `seed`; 0 for no such division."""
    seed: int = 0
    held: bool = False
    """Whether this is the part held out or the rest."""
    files: tuple[str, ...] = ()
    """Its files; none of what is on the hub."""
    folder: str | None = None
    """Where local shards are, below which the files that they name must be too; None for the hub."""
    revision: str = ""
    """Of what is on the hub: the commit that is read, which stands for its content."""

    def rows(self, epoch: int | None = None, seed: int = 0) -> Iterator[Row]:
        """The images in the order of an epoch, or as they are in the shards.

        Raises:
            DataError: a row without an image or a label.
        """
        if epoch is not None:
            yield from _shuffled(self, seed, epoch)
            return
        yield from self._kept(self.stream)

    def _kept(self, stream: Any) -> Iterator[Row]:
        """The rows of this part, from a stream of all."""
        for number, entry in enumerate(stream):
            row = self._row(entry, number)
            if not self.share or self.held == (_draw(row.content, self.seed) < self.share):
                yield row

    def _row(self, entry: dict[str, Any], number: int) -> Row:
        image, label = entry.get(self.image), entry.get(self.label)
        content = image.get("bytes") if isinstance(image, dict) else image
        path = image.get("path") if isinstance(image, dict) else None
        if content is None and path and isinstance(path, str):
            if self.folder is None:
                raise DataError(
                    f"{self.name} ({self.split}) names a file in the place of an image, which a data set on the hub may not"
                )
            content = read_file(os.path.join(self.folder, path), inside=self.folder)
        name = str(entry.get("__key__") or path or f"row {number:,}")
        if not isinstance(content, bytes) or label is None:
            raise DataError(f"{self.name} ({self.split}): {name} has no {'label' if isinstance(content, bytes) else 'image'}")
        return Row(content, label.strip() if isinstance(label, str) else label, name)

    def labels(self) -> list[Any]:
        """Of all images, in the order in which they are; a pass over the shards, of their labels alone where that is enough."""
        if self.share:
            return [row.label for row in self.rows()]
        found = [entry[self.label] for entry in self.stream.select_columns([self.label])]
        return [label.strip() if isinstance(label, str) else label for label in found]


def _shuffled(shards: Shards, seed: int, epoch: int) -> Iterator[Row]:
    """The rows of all shards, these in random order, each row the random one of a buffer through which all pass.

    Not by the library's own `shuffle`, whose order may change from version to version, which would break a resumed run.
    """
    import torch

    from ..sampling.draws import seed_for

    generator = torch.Generator().manual_seed(seed_for(seed, 1, epoch))  # 1: the purpose of an epoch's order, see `data.order`
    count = shards.stream.num_shards
    order = torch.randperm(count, generator=generator).tolist()
    buffer: list[Row] = []
    for row in chain.from_iterable(shards._kept(shards.stream.shard(count, index)) for index in order):
        if len(buffer) < BUFFER:
            buffer.append(row)
            continue
        place = int(torch.randint(BUFFER, (), generator=generator))
        yield buffer[place]
        buffer[place] = row
    for place in torch.randperm(len(buffer), generator=generator).tolist():
        yield buffer[place]


def _draw(content: bytes, seed: int) -> float:
    """A number in [0, 1) that follows from an image's bytes: copies of one are never on both sides."""
    digest = hashlib.blake2b(content, digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little") / 2**64


def find_shards(data: str) -> dict[str, Shards]:
    """The splits of a data set in shards, by "train", "val" and "test" as far as they are there; "train" where nothing says which.

    Args:
        data: hf:OWNER/NAME or hf:OWNER/NAME/CONFIGURATION, a file, a pattern such as shards/train-*.tar, or a folder of shards.

    Raises:
        DataError: no shards, shards of two kinds, columns that are not those of images and labels, or the extra
            `datasets` is not installed.
    """
    datasets = _library()
    files: dict[str, list[str]] = {}
    revision = ""
    if data.startswith(HUB_PREFIX):
        owner_name, configuration = _hub_name(data)
        name = owner_name.rpartition("/")[2]
        (loaded, revision), folder = _from_hub(datasets, owner_name, configuration), None
    else:
        name, files = _files(data)
        kinds = {Path(file).suffix.lower() for paths in files.values() for file in paths}
        if len(kinds) > 1:
            raise DataError(f"{data} has shards of two kinds, {' and '.join(sorted(kinds))}; name those of one with a pattern")
        loaded = datasets.load_dataset(_BUILDERS[kinds.pop()], data_files=files, streaming=True)
        folder = str(Path(next(iter(files.values()))[0]).parent)
    found: dict[str, Shards] = {}
    for split, stream in loaded.items():
        known = next((ours for ours, names in SPLIT_FOLDERS.items() if split.lower() in names), None)
        if known is not None and known not in found:
            files_of_split = tuple(files.get(split, ()))
            found[known] = replace(_shards(datasets, name, known, stream), folder=folder, files=files_of_split, revision=revision)
    if "train" not in found:
        raise DataError(f"{data} has no training images; its splits are {', '.join(loaded)}")
    return found


def _from_hub(datasets: Any, name: str, configuration: str) -> tuple[Any, str]:
    """The splits as they are now, and the commit that this is, so that a run reads one and the same throughout."""
    if reason := offline_reason(None):
        raise DataError(f"{HUB_PREFIX}{name} is on the hub, and {reason} forbids the network")
    try:
        import huggingface_hub

        revision = str(huggingface_hub.HfApi().dataset_info(name).sha)
        return datasets.load_dataset(name, configuration or None, streaming=True, revision=revision), revision
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # no such name, no connection, a script that is not run, a wrong configuration
        raise DataError(f"{HUB_PREFIX}{name} cannot be had: {' '.join(str(error).split())}") from error


def _library() -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise DataError("shards and names on the hub are read by the package datasets: pip install 'resnets[datasets]'") from error
    return datasets


def _hub_name(data: str) -> tuple[str, str]:
    """OWNER/NAME, and the configuration or nothing."""
    parts = data.removeprefix(HUB_PREFIX).split("/")
    if not all(parts) or len(parts) not in (2, 3):
        raise DataError(f"{data} is no name on the hub: write hf:OWNER/NAME, or hf:OWNER/NAME/CONFIGURATION")
    return "/".join(parts[:2]), parts[2] if len(parts) == 3 else ""


def _files(data: str) -> tuple[str, dict[str, list[str]]]:
    """A name, and the shards by split, in the order of their names."""
    path = Path(data).expanduser()
    if path.is_dir():
        paths = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SHARD_ENDINGS and not p.name.startswith("."))
        name = path.resolve().name
    else:
        paths = sorted(glob.glob(str(path), recursive=True))
        name = path.stem.strip("*-_") or path.parent.resolve().name
    if not paths:
        raise DataError(f"there are no shards {path}")
    files: dict[str, list[str]] = {}
    for file in paths:
        files.setdefault(_split_of(Path(file), path if path.is_dir() else Path(file).parent), []).append(file)
    return name or "shards", files


def _split_of(file: Path, root: Path) -> str:
    """By the folders below `root`, or by how the name begins: val/0.tar, val-0000.tar; train where neither says anything."""
    words = [part.lower() for part in file.relative_to(root).parent.parts] + [file.stem.lower()]
    for split, names in SPLIT_FOLDERS.items():
        if any(word == name or word.startswith((f"{name}-", f"{name}_", f"{name}.")) for word in words for name in names):
            return split
    return "train"


def _shards(datasets: Any, name: str, split: str, stream: Any) -> Shards:
    features = stream.features or {}
    columns = list(features) or list(next(iter(stream), {}))
    images = [c for c in columns if isinstance(features.get(c), datasets.Image)] or [c for c in columns if c.lower() in _IMAGES]
    labels = [c for c in columns if isinstance(features.get(c), datasets.ClassLabel)] or [
        c for c in columns if c.lower() in _LABELS
    ]
    for what, found in (("images", images), ("labels", labels)):
        if not found:
            raise DataError(f"{name} ({split}) has no column of {what}; it has {listed(columns)}")
    label = min(labels, key=lambda column: _LABELS.index(column.lower()) if column.lower() in _LABELS else len(_LABELS))
    stated = features.get(label)
    names = tuple(stated.names) if isinstance(stated, datasets.ClassLabel) else None
    return Shards(name, split, stream.decode(False), images[0], label, names)


def class_names(shards: Shards, labels: list[Any]) -> tuple[str, ...]:
    """The classes, by label: as the shards state them, else the labels that occur, in their order.

    Raises:
        DataError: labels that are neither whole numbers nor texts.
    """
    if shards.names is not None:
        return shards.names
    kinds = {type(label) for label in labels}
    if kinds == {int}:
        return tuple(str(number) for number in sorted(set(labels)))
    if kinds == {str}:
        return tuple(sorted(set(labels)))
    raise DataError(
        f"the labels of {shards.name} are {', '.join(sorted(k.__name__ for k in kinds))}; they have to be whole numbers or texts"
    )


def numbered(shards: Shards, labels: list[Any], classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The labels as places in `classes`.

    Raises:
        DataError: a label that is none of them.
    """
    import numpy as np

    if shards.names is not None:
        places: dict[Any, int] = {number: number for number in range(len(classes))}
    else:
        places = {name: number for number, name in enumerate(classes)}
    keys = labels if shards.names is not None else [str(label) for label in labels]
    unknown = sorted({str(key) for key in keys if key not in places})
    if unknown:
        raise DataError(
            f"{shards.name} ({shards.split}) has the labels {listed(unknown)}, of which there are no images to learn from"
        )
    return np.array([places[key] for key in keys], np.int64)


def first_images(shards: Shards, count: int) -> list[Row]:
    """The first rows."""
    return list(islice(shards.rows(), count))
