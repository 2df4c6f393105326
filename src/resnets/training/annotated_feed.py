"""The data of recipes whose images have boxes or masks, on its way to the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ..core.errors import UserError
from ..data.annotated.opening import open_annotated
from ..data.annotations.objects import AnnotatedImages
from ..data.loaders.unreadable import UnreadableImages


class HasUnreadable(Protocol):
    """A loader that names the images that it could not read."""

    unreadable: UnreadableImages


AnyLoader = TypeVar("AnyLoader", bound=HasUnreadable)


@dataclass(frozen=True)
class AnnotatedFeed(Generic[AnyLoader]):
    """What a session reads from."""

    training: AnyLoader
    evaluation: AnyLoader
    learnt_from: AnnotatedImages
    """Those of `training`."""
    images: AnnotatedImages
    """Those of `evaluation`, with what is on them."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Nothing: the images' lists are the data set's own."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, without the background."""
        return self.images.classes

    @property
    def evaluated_on(self) -> str:
        """Which images evaluation sees, in words."""
        return f"the {self.images.split} images of {self.images.name} ({len(self.images):,})"

    @property
    def sources(self) -> dict[str, AnnotatedImages]:
        """What `training` and `evaluation` read, by part."""
        return {"train": self.learnt_from, "val": self.images}

    def unused(self) -> dict[str, int]:
        """How many images could not be read so far; empty where all could."""
        count = len(self.unreadable())
        return {"excluded": 0, "unreadable": count, "ignored": 0} if count else {}

    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of each image that could not be read so far."""
        return [*self.training.unreadable.reasons.items(), *self.evaluation.unreadable.reasons.items()]


def open_annotated_feed(
    data: str,
    folder: Path | None,
    loader: Callable[[AnnotatedImages, bool], AnyLoader],
    report: Callable[[str], None],
    *,
    masks: bool = False,
) -> AnnotatedFeed[AnyLoader]:
    """Finds (or makes) the images to learn from and those to evaluate on.

    Args:
        data, folder, masks: as in `open_annotated`.
        loader: makes the loader of some images, given whether they are learnt from.

    Raises:
        ValueError: there is no such data, or its parts have different classes.
        OSError: the data cannot be read.
    """
    training = open_annotated(data, "train", folder, report, masks=masks)
    held_out = open_annotated(data, "val", folder, report, masks=masks)
    if training.classes != held_out.classes:
        theirs, others = (", ".join(images.classes) for images in (training, held_out))
        raise UserError(
            f"{data}: the training images have the classes {theirs}, those to evaluate on {others}; they must be the same"
        )
    return AnnotatedFeed(loader(training, True), loader(held_out, False), training, held_out)
