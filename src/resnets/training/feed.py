"""A recipe's data on its way to the network: what it is, and the loaders that bring it.

The one place that knows where a recipe's pictures can come from; everything behind it sees `Loader`s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..data import augmentation
from ..data.datasets import DATASETS, load, split_holdout
from ..data.draws import Draws
from ..data.loader import Before, Behind, Loader
from ..data.order import EpochOrder, Share
from ..data.preprocessing import Preprocessing
from ..data.pruning import LossPruning
from ..data.resident import ResidentLoader
from .recipe import Recipe


@dataclass(frozen=True)
class Feed:
    """What a session reads from."""

    training: Loader
    evaluation: Loader
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    evaluated_on: str
    """Which pictures evaluation sees, in words."""


def open_feed(recipe: Recipe, device: torch.device, share: Share, report: Callable[[str], None]) -> Feed:
    """Finds or fetches the recipe's data and makes its loaders, for this process's share.

    Raises:
        ValueError: there is no such data, or the recipe's batch does not fit it.
        OSError: the data cannot be read.
    """
    images = load(recipe.data, "train", recipe.data_folder, report=report)
    if recipe.holdout:
        images, held_out = split_holdout(images, recipe.holdout, seed=0)
        evaluated_on = f"{len(held_out.images):,} pictures held out of the training set"
    else:
        held_out = load(recipe.data, "test", recipe.data_folder, report=report)
        evaluated_on = f"the test set ({len(held_out.images):,} pictures)"
    info = DATASETS[recipe.data]
    preprocessing = Preprocessing(
        size=recipe.image_size or info.size,
        channels=info.channels,
        mean=info.mean if recipe.normalize else (),
        std=info.std if recipe.normalize else (),
    )
    training = ResidentLoader(
        images.images.to(device),
        images.labels.to(device),
        preprocessing,
        training_order(recipe, len(images.images), device, share),
        augment=augmentations(recipe, info.horizontal_flip),
        channels_last=recipe.channels_last,
    )
    evaluation = ResidentLoader(
        held_out.images.to(device),
        held_out.labels.to(device),
        preprocessing,
        evaluation_order(recipe, len(held_out.images), share),
        channels_last=recipe.channels_last,
    )
    return Feed(training, evaluation, images.classes, preprocessing, evaluated_on)


def training_order(recipe: Recipe, count: int, device: torch.device, share: Share) -> EpochOrder:
    """The order of the recipe's training batches over `count` pictures."""
    pruning = LossPruning(count, recipe.pruning, device) if recipe.pruning else None
    order = EpochOrder(
        count, recipe.batch_size, seed=recipe.seed, drop_last=recipe.drop_last, pruning=pruning, share=share
    )  # fmt: skip
    if order.batch_size % recipe.accumulation:
        raise ValueError(f"the batch of {order.batch_size} cannot be cut into accumulation={recipe.accumulation} equal parts")
    return order


def evaluation_order(recipe: Recipe, count: int, share: Share) -> EpochOrder:
    """The order of the recipe's evaluation, which is that of the pictures themselves."""
    return EpochOrder(count, recipe.evaluation.batch_size, seed=recipe.seed, drop_last=False, share=share)


def augmentations(recipe: Recipe, flip_keeps_class: bool) -> tuple[Before, Behind]:
    """The recipe's changes of the raw and of the normalised batch."""
    settings = recipe.augmentation
    flip = settings.horizontal_flip or ("random" if flip_keeps_class else "off")

    def before(images: torch.Tensor, indices: torch.Tensor, epoch: int, draws: Draws) -> torch.Tensor:
        if settings.crop_padding:
            images = augmentation.random_crop(images, settings.crop_padding, settings.padding_mode, draws)
        if flip == "random":
            images = augmentation.random_horizontal_flip(images, draws)
        elif flip == "alternate":
            images = augmentation.alternating_horizontal_flip(images, indices, epoch, recipe.seed)
        return images

    def behind(images: torch.Tensor, draws: Draws) -> torch.Tensor:
        return augmentation.random_erasing(images, settings.erasing, draws) if settings.erasing else images

    return before, behind
