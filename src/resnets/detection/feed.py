"""A detection recipe's data on its way to the detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from ..data.annotations.objects import AnnotatedPictures
from ..data.annotations.opening import open_annotated
from ..data.annotations.scene_loader import SceneLoader
from ..data.order import EpochOrder, Share
from .recipe import DetectionRecipe


@dataclass(frozen=True)
class DetectionFeed:
    """What a session reads from."""

    training: SceneLoader
    evaluation: SceneLoader
    pictures: AnnotatedPictures
    """Those of `evaluation`, with their objects."""
    evaluated_on: str
    """Which pictures evaluation sees, in words."""
    smallest: tuple[int, int]
    """Height and width in pixels of the smallest training picture."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Nothing: the pictures' lists are the data set's own."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, without the background."""
        return self.pictures.classes

    def left_out(self) -> dict[str, int]:
        """How many pictures could not be read so far; empty where all could."""
        count = len(self.unreadable())
        return {"excluded": 0, "unreadable": count, "ignored": 0} if count else {}

    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of each picture that could not be read so far."""
        return [*self.training.left_out.reasons.items(), *self.evaluation.left_out.reasons.items()]


def open_detection_feed(
    recipe: DetectionRecipe, device: torch.device, share: Share, report: Callable[[str], None]
) -> DetectionFeed:
    """Finds (or makes) the recipe's pictures and their loaders, for this process's share.

    Raises:
        ValueError: there is no such data, its parts have different classes, or the recipe's batch does not fit it.
        OSError: the data cannot be read.
    """
    training = open_annotated(recipe.data, "train", recipe.data_folder, report)
    held_out = open_annotated(recipe.data, "val", recipe.data_folder, report)
    if training.classes != held_out.classes:
        raise ValueError(
            f"{recipe.data}: the training pictures have the classes {', '.join(training.classes)}, the others {', '.join(held_out.classes)}"
        )
    smallest = min((training.size_of(i) for i in range(len(training))), key=min)
    words = f"the {held_out.split} pictures of {held_out.name} ({len(held_out):,})"
    return DetectionFeed(
        _loader(recipe, training, device, share, report, training=True),
        _loader(recipe, held_out, device, share, report, training=False),
        held_out,
        words,
        smallest,
    )


def _loader(
    recipe: DetectionRecipe,
    pictures: AnnotatedPictures,
    device: torch.device,
    share: Share,
    report: Callable[[str], None],
    *,
    training: bool,
) -> SceneLoader:
    size = recipe.batch_size if training else recipe.evaluation.batch_size
    order = EpochOrder(len(pictures), size, seed=recipe.seed, drop_last=training and recipe.drop_last, share=share)
    return SceneLoader(
        pictures,
        order,
        flip=training and recipe.flip,
        memory={"auto": "auto", "memory": "on", "stream": "off"}[recipe.loading],  # type: ignore[arg-type]
        workers=recipe.workers,
        device=device,
        max_unreadable=recipe.max_unreadable,
        report=report,
    )
