"""A recipe's data on its way to the network: what it is, and the loaders that bring it.

The one place that knows where a recipe's images can come from; everything after it sees `Loader`s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..core.errors import UserError
from ..data.datasets.catalogue import DATASETS, load, split_holdout
from ..data.datasets.user_data import is_path, is_shards
from ..data.decoding.preprocessing import Preprocessing, encoded
from ..data.doctor.probe import Probe, mirrored_keeps_class, probe
from ..data.image_source import ImageFiles
from ..data.loaders.image_loader import ImageLoader, open_image_loader
from ..data.loaders.protocol import Loader
from ..data.loaders.resident import ResidentLoader
from ..data.sampling.order import EpochOrder, Share
from ..data.sampling.pruning import LossPruning
from ..data.sources.request import known_name
from .balance import drawn_equally
from .data_defaults import GREY_STATISTICS, RGB_STATISTICS, image_size
from .recipe import Recipe
from .transforms import augmentations, preprocessings
from .user_data import IMAGENET, SPLIT, UNREADABLE, Parts, check_still_readable, exclusion_file, find_parts, largest_share

Normalization = Callable[[int], Preprocessing | None]
"""For a number of channels the preprocessing whose mean and std take the place of the data's own, or None."""


@dataclass(frozen=True)
class Feed:
    """What a session reads from."""

    training: Loader
    evaluation: Loader
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    """Of evaluation, which the model keeps; training may see images of another size."""
    evaluated_on: str
    """Which images evaluation sees, in words."""
    sources: Mapping[str, Any]
    """What `training` and `evaluation` read, by "train" and "val", as `data.loaders.inventories` takes it."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """By name: what the run's directory keeps about the images, so that a resumed run sees the same ones."""
    known_unused: Mapping[str, int] = field(default_factory=dict)
    """What `unused` counts, as far as it was known before the loaders looked at the images."""
    known_unreadable: Mapping[str, str] = field(default_factory=dict)
    """Name and reason of those that were found unreadable before that."""

    def unused(self) -> dict[str, int]:
        """How many images were left out so far: "excluded" by the user's list, "unreadable"; and "ignored", files that are none.
        Empty for a named data set."""
        counts = dict(self.known_unused)
        if counts:
            counts["unreadable"] += sum(len(getattr(loader, "excluded", ())) for loader in (self.training, self.evaluation))
        return counts

    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of each image that could not be read so far."""
        found = [pair for loader in (self.training, self.evaluation) for pair in getattr(loader, "excluded", ())]
        return [*self.known_unreadable.items(), *found]


def open_feed(
    recipe: Recipe,
    device: torch.device,
    share: Share,
    report: Callable[[str], None],
    normalization: Normalization = lambda channels: None,
) -> Feed:
    """Finds or fetches the recipe's data and makes its loaders, for this process's share.

    `normalization` gives for a number of channels the preprocessing whose mean and std take the place of the data's own, or None.

    Raises:
        ValueError: there is no such data, or the recipe's batch does not fit it.
        OSError: the data cannot be read.
    """
    if recipe.data in DATASETS:
        return _open_named(recipe, device, share, report, normalization)
    if recipe.data != IMAGENET and not is_path(recipe.data):
        known_name(recipe.data, [*DATASETS, IMAGENET])
    if is_shards(recipe.data):
        return _open_shards(recipe, device, share, report, normalization)
    return _open_own(recipe, device, share, report, normalization)


def _open_named(
    recipe: Recipe, device: torch.device, share: Share, report: Callable[[str], None], normalization: Normalization
) -> Feed:
    if recipe.exclude is not None:
        raise UserError(f"exclude={recipe.exclude} leaves out files of your own data, and {recipe.data} is a named data set")
    images = load(recipe.data, "train", recipe.data_folder, report=report)
    if recipe.holdout:
        images, held_out = split_holdout(images, recipe.holdout, seed=0)
        evaluated_on = f"{len(held_out.images):,} images held out of the training set"
    else:
        held_out = load(recipe.data, "test", recipe.data_folder, report=report)
        evaluated_on = f"the test set ({len(held_out.images):,} images)"
    info = DATASETS[recipe.data]
    known = normalization(info.channels) or info
    seen, preprocessing = preprocessings(
        recipe, info.size, info.channels, known.mean, known.std, encoded(images.images) if recipe.pixel_mean else ""
    )
    training = ResidentLoader(
        images.images.to(device),
        images.labels.to(device),
        seen,
        training_order(recipe, images.labels, device, share),
        augment=augmentations(recipe, info.horizontal_flip, seen),
        channels_last=recipe.channels_last,
    )
    evaluation = ResidentLoader(
        held_out.images.to(device),
        held_out.labels.to(device),
        preprocessing,
        evaluation_order(recipe, len(held_out.images), share),
        channels_last=recipe.channels_last,
    )
    sources = {"train": (images.images, images.labels), "val": (held_out.images, held_out.labels)}
    return Feed(training, evaluation, images.classes, preprocessing, evaluated_on, sources)


def _open_own(
    recipe: Recipe, device: torch.device, share: Share, report: Callable[[str], None], normalization: Normalization
) -> Feed:
    parts = find_parts(recipe, report)
    seen, preprocessing = _own_preprocessings(recipe, probe(parts.training), normalization)
    flip_keeps_class, _ = mirrored_keeps_class(parts.training.classes)
    crop = recipe.augmentation.crop
    training = _image_loader(
        recipe, parts, parts.training, seen, device, share, report,
        augment=augmentations(recipe, flip_keeps_class, seen, cropped=crop.kind != "off"), crop=crop,
    )  # fmt: skip
    training.order = training_order(recipe, training.labels, device, share)
    evaluation = _image_loader(recipe, parts, parts.evaluation, preprocessing, device, share, report)
    found = dict([*training.excluded, *evaluation.excluded])
    check_still_readable(parts, found)
    files = {} if parts.split_file is None else {SPLIT: parts.split_file}
    if unreadable := {**parts.unreadable, **found}:
        files[UNREADABLE] = exclusion_file(unreadable)
    unused = {"excluded": parts.excluded, "unreadable": len(parts.unreadable), "ignored": parts.ignored}
    return Feed(
        training, evaluation, parts.training.classes, preprocessing, parts.evaluated_on,
        {"train": parts.training, "val": parts.evaluation}, files, unused, parts.unreadable,
    )  # fmt: skip


def _own_preprocessings(recipe: Recipe, look: Probe, normalization: Normalization) -> tuple[Preprocessing, Preprocessing]:
    # Pretrained weights have seen colours, which grey images are a case of.
    channels = 1 if look.grey and recipe.weights is None else 3
    mean, std = GREY_STATISTICS if channels == 1 else RGB_STATISTICS
    if (known := normalization(channels)) is not None:
        mean, std = known.mean, known.std
    return preprocessings(recipe, image_size(look.short_side)[0], channels, mean, std)


def _open_shards(
    recipe: Recipe, device: torch.device, share: Share, report: Callable[[str], None], normalization: Normalization
) -> Feed:
    from ..data.loaders.shard_loader import ShardLoader
    from ..data.workers.batches import default_workers
    from .shard_feed import find_shard_parts

    parts = find_shard_parts(recipe, report)
    seen, preprocessing = _own_preprocessings(recipe, parts.look, normalization)
    crop = recipe.augmentation.crop
    augment = augmentations(recipe, mirrored_keeps_class(parts.classes)[0], seen, cropped=crop.kind != "off")
    common: dict[str, Any] = {
        "seed": recipe.seed, "share": share, "device": device, "channels_last": recipe.channels_last, "report": report,
        "workers": default_workers() if recipe.workers is None else recipe.workers, "max_unreadable": recipe.max_unreadable,
    }  # fmt: skip
    training = ShardLoader(
        parts.training,
        parts.classes,
        seen,
        batch_size=recipe.batch_size,
        drop_last=recipe.drop_last,
        crop=crop,
        augment=augment,
        **common,
    )
    evaluation = ShardLoader(
        parts.evaluation, parts.classes, preprocessing, batch_size=recipe.evaluation.batch_size, drop_last=False, **common
    )
    unused = {"excluded": 0, "unreadable": 0, "ignored": 0}
    sources = {"train": parts.training, "val": parts.evaluation}
    return Feed(training, evaluation, parts.classes, preprocessing, parts.evaluated_on, sources, {}, unused)


def _image_loader(
    recipe: Recipe,
    parts: Parts,
    images: ImageFiles,
    preprocessing: Preprocessing,
    device: torch.device,
    share: Share,
    report: Callable[[str], None],
    **training: Any,
) -> ImageLoader:
    return open_image_loader(
        images,
        preprocessing,
        lambda count: evaluation_order(recipe, count, share),
        loading=recipe.loading,
        workers=recipe.workers,
        cache_folder=recipe.cache_folder,
        device=device,
        channels_last=recipe.channels_last,
        max_unreadable=largest_share(recipe, parts, images),
        report=report,
        **training,
    )


def training_order(recipe: Recipe, labels: torch.Tensor, device: torch.device, share: Share) -> EpochOrder:
    """The order of the recipe's training batches over the images with these labels, (N,) int64."""
    count = len(labels)
    pruning = LossPruning(count, recipe.pruning, device) if recipe.pruning else None
    order = EpochOrder(
        count,
        recipe.batch_size,
        seed=recipe.seed,
        drop_last=recipe.drop_last,
        pruning=pruning,
        probabilities=drawn_equally(labels) if recipe.sampling == "balanced" else None,
        repeats=recipe.augmentation.repeats,
        share=share,
    )
    if order.batch_size % recipe.accumulation:
        raise UserError(f"the batch of {order.batch_size} cannot be cut into accumulation={recipe.accumulation} equal parts")
    return order


def evaluation_order(recipe: Recipe, count: int, share: Share) -> EpochOrder:
    """The order of the recipe's evaluation, which is that of the images themselves."""
    return EpochOrder(count, recipe.evaluation.batch_size, seed=recipe.seed, drop_last=False, share=share)
