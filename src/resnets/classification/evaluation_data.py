"""The images that a trained model is measured on: a named data set or a user's own, with labels by the names of the model's classes.

Legend: K classes of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import UserError
from ..data.datasets.catalogue import DATASETS, load
from ..data.datasets.folders import OwnImages, listed
from ..data.datasets.holdout import chosen, hold_out, read_exclusions, read_split_file, without
from ..data.datasets.imagenet import find_imagenet
from ..data.datasets.locate import locate
from ..data.datasets.user_data import absolute, find_own, is_path, is_shards
from ..data.decoding.preprocessing import Preprocessing
from ..data.image_source import ImageFiles
from ..data.loaders.image_loader import open_image_loader
from ..data.loaders.protocol import Loader
from ..data.loaders.resident import ResidentLoader
from ..data.sampling.order import EpochOrder, Share
from ..data.sources.request import known_name
from ..data.workers.batches import default_workers
from .user_data import IMAGENET, SPLIT

Split = Literal["test", "train"]


@dataclass(frozen=True)
class EvaluationData:
    """What is asked for."""

    data: str
    """A named data set, a folder or a CSV."""
    folder: Path | None
    """Where a named data set's files are."""
    split: Split
    batch_size: int
    exclude: Path | None = None
    """List of images to leave out."""
    limit: int | None = None
    """That many images only, drawn at random by a fixed seed, in order; None for all. Of shards there are all: take the first."""


def open_evaluation(
    asked: EvaluationData,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    device: torch.device,
    trained_with: Mapping[str, Any],
    run: Path | None,
    report: Callable[[str], None],
) -> tuple[Loader, str]:
    """The images in order, labelled by the model's classes, and what they are, in words.

    Args:
        asked: see there.
        classes: of the model, in the logits' order; the data's may come in another order, or be some of them.
        preprocessing: of the model.
        device: where batches are needed.
        trained_with: the fields of the recipe of the model, where they are known.
        run: the model's run directory, if it is in one.
        report: told a line about each thing that a user should know.

    Raises:
        ValueError: there are no such images, or the model does not know a class of theirs.
        OSError: they cannot be read.
    """

    def order(count: int) -> EpochOrder:
        return EpochOrder(count, asked.batch_size, seed=0, drop_last=False)

    if asked.data in DATASETS:
        arrays = load(asked.data, asked.split, asked.folder, report=report)
        labels = torch.tensor(places(arrays.classes, classes, asked.data))[arrays.labels]
        pixels = arrays.images
        if asked.limit is not None:
            some = torch.from_numpy(_drawn(len(labels), asked.limit))
            pixels, labels = pixels[some], labels[some]
        resident = ResidentLoader(pixels.to(device), labels.to(device), preprocessing, order(len(labels)))
        return resident, f"{asked.data} {asked.split}"
    if asked.data != IMAGENET and not is_path(asked.data):
        known_name(asked.data, [*DATASETS, IMAGENET])
    if is_shards(asked.data):
        return _stream(asked, classes, preprocessing, device, report)
    own = find_imagenet(locate(IMAGENET, asked.folder)) if asked.data == IMAGENET else find_own(asked.data)
    for message in own.messages():
        report(message)
    images = _chosen(own, asked, trained_with, run)
    if asked.exclude is not None:
        before = len(images)
        images = without(images, read_exclusions(asked.exclude), whole=False)
        report(f"{before - len(images):,} images are left out by {asked.exclude}")
    if asked.limit is not None:
        images = chosen(images, _drawn(len(images), asked.limit), images.split)
    label_of = places(images.classes, classes, str(own.root))
    images = replace(images, labels=np.array(label_of, np.int64)[images.labels], classes=classes)
    loader = open_image_loader(images, preprocessing, order, device=device, max_unreadable=1.0, report=report)
    return loader, f"{own.name} {images.split}"


def _stream(
    asked: EvaluationData,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    device: torch.device,
    report: Callable[[str], None],
) -> tuple[Loader, str]:
    from ..data.datasets.shards import class_names, find_shards
    from ..data.loaders.shard_loader import ShardLoader

    splits = find_shards(asked.data)
    shards = splits["train"] if asked.split == "train" else splits.get("test") or splits.get("val") or splits["train"]
    named = class_names(shards, shards.labels())
    places(named, classes, asked.data)
    if shards.names is not None and shards.names != classes[: len(shards.names)]:
        raise UserError(f"the shards {asked.data} number their classes in another order than the model; give them labels by name")
    loader = ShardLoader(
        shards, classes, preprocessing, batch_size=asked.batch_size, seed=0, drop_last=False, share=Share(), workers=default_workers(),
        device=device, max_unreadable=1.0, report=report,
    )  # fmt: skip
    return loader, f"{shards.name} {shards.split}"


def _drawn(count: int, limit: int) -> NDArray[np.int64]:
    """Places of `limit` of `count` images, or of all, in order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:limit])


def places(of_data: tuple[str, ...], of_model: tuple[str, ...], data: str) -> list[int]:
    """For each class of the data its place among the model's.

    Raises:
        ValueError: the model does not know one of them.
    """
    unknown = [name for name in of_data if name not in of_model]
    if unknown:
        noun = "class" if len(unknown) == 1 else "classes"
        raise UserError(f"the model does not know the {noun} {listed(unknown)} of {data}; it knows {listed(of_model)}")
    return [of_model.index(name) for name in of_data]


def _chosen(own: OwnImages, asked: EvaluationData, trained_with: Mapping[str, Any], run: Path | None) -> ImageFiles:
    """The images of the split. Where the model's run held some of them out, "test" is these and "train" the others."""
    splits = own.splits
    same = trained_with.get("data") in (asked.data, absolute(asked.data))
    if same and (run is not None and (run / SPLIT).is_file()):
        training, held, _ = read_split_file(run / SPLIT, own.training)
        return training if asked.split == "train" else held
    if same and trained_with.get("holdout"):
        images = own.training
        if trained_with.get("exclude"):
            images = without(images, read_exclusions(Path(trained_with["exclude"])))
        training, held = hold_out(images, trained_with["holdout"], trained_with.get("seed", 0))
        return training if asked.split == "train" else held
    if asked.split == "train":
        return own.training
    for split in ("test", "val", "all"):
        if split in splits:
            return splits[split]
    raise UserError(f"{own.root} has training images alone; measure on those with --split train")
