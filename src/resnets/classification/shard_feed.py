"""Shards and names on the hub as a recipe's data: which splits are used, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..core.errors import UserError
from ..data.datasets.shards import Shards, class_names, find_shards, first_images
from ..data.datasets.user_data import absolute
from ..data.doctor.probe import Probe, probe
from ..data.errors import DataError
from .data_defaults import DataDescription
from .recipe import Recipe

_SAMPLE = 64


@dataclass(frozen=True)
class ShardParts:
    """The streams of a run."""

    training: Shards
    evaluation: Shards
    classes: tuple[str, ...]
    look: Probe
    evaluated_on: str


@dataclass(frozen=True)
class _Sample:
    """The first images of a stream, for `probe`."""

    name: str
    contents: tuple[tuple[str, bytes], ...]

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, index: int) -> bytes:
        return self.contents[index][1]

    def name_of(self, index: int) -> str:
        return self.contents[index][0]


def look_at(shards: Shards) -> Probe:
    """What the first images are like."""
    return probe(_Sample(shards.name, tuple((row.name, row.content) for row in first_images(shards, _SAMPLE))))  # type: ignore[arg-type]


def describe_shards(data: str) -> DataDescription:
    """What the choice of a recipe depends on; raises as `find_shards` does."""
    splits = find_shards(data)
    training = splits["train"]
    labels = training.labels()
    look = look_at(training)
    classes = class_names(training, labels)
    return DataDescription(training.name, absolute(data), classes, len(labels), len(splits) == 1, look.short_side, look.grey)


def find_shard_parts(recipe: Recipe, report: Callable[[str], None]) -> ShardParts:
    """The streams of a recipe whose data is in shards.

    Raises:
        ValueError: there are none, or the recipe asks for what a stream cannot give.
    """
    for asked, what in (
        (recipe.pruning, "pruning"),
        (recipe.sampling != "uniform", "sampling"),
        (recipe.augmentation.repeats > 1, "augmentation.repeats"),
        (recipe.augmentation.horizontal_flip == "alternate", "augmentation.horizontal_flip='alternate'"),
        (recipe.exclude is not None, "exclude"),
    ):
        if asked:
            raise UserError(
                f"{what} needs images that can be told apart by their place, which a stream of shards has not; leave it off"
            )
    splits = find_shards(recipe.data)
    training = splits["train"]
    classes = class_names(training, training.labels())
    if len(classes) < 2:
        raise DataError(f"{training.name} has the one class {classes[0]}; a network learns to tell at least two apart")
    given = splits.get("val") or splits.get("test")
    if recipe.holdout:
        divided = replace(training, share=recipe.holdout, seed=recipe.seed)
        training, evaluation = divided, replace(divided, split="val", held=True)
        words = f"images held out of {training.name}"
    elif given is not None:
        evaluation, words = given, f"the {given.split} images of {training.name}"
    else:
        raise DataError(f"{training.name} has nothing to evaluate on; hold some images out, for instance with --holdout 0.2")
    report(f"{training.name}: a stream of shards; evaluated on {words}")
    return ShardParts(training, evaluation, classes, look_at(training), words)
