"""The data of recipes whose pictures have boxes or masks, on its way to the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ..core.errors import UserError
from ..data.annotated.opening import open_annotated
from ..data.annotations.objects import AnnotatedPictures
from ..data.loaders.unreadable import LeftOut


class HasLeftOut(Protocol):
    """A loader that names the pictures that it could not read."""

    left_out: LeftOut


AnyLoader = TypeVar("AnyLoader", bound=HasLeftOut)


@dataclass(frozen=True)
class AnnotatedFeed(Generic[AnyLoader]):
    """What a session reads from."""

    training: AnyLoader
    evaluation: AnyLoader
    learnt_from: AnnotatedPictures
    """Those of `training`."""
    pictures: AnnotatedPictures
    """Those of `evaluation`, with what is on them."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Nothing: the pictures' lists are the data set's own."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, without the background."""
        return self.pictures.classes

    @property
    def evaluated_on(self) -> str:
        """Which pictures evaluation sees, in words."""
        return f"the {self.pictures.split} pictures of {self.pictures.name} ({len(self.pictures):,})"

    @property
    def sources(self) -> dict[str, AnnotatedPictures]:
        """What lies behind `training` and `evaluation`, by part."""
        return {"train": self.learnt_from, "val": self.pictures}

    def left_out(self) -> dict[str, int]:
        """How many pictures could not be read so far; empty where all could."""
        count = len(self.unreadable())
        return {"excluded": 0, "unreadable": count, "ignored": 0} if count else {}

    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of each picture that could not be read so far."""
        return [*self.training.left_out.reasons.items(), *self.evaluation.left_out.reasons.items()]


def open_annotated_feed(
    data: str,
    folder: Path | None,
    loader: Callable[[AnnotatedPictures, bool], AnyLoader],
    report: Callable[[str], None],
    *,
    masks: bool = False,
) -> AnnotatedFeed[AnyLoader]:
    """Finds (or makes) the pictures to learn from and those to evaluate on.

    Args:
        data, folder, masks: as in `open_annotated`.
        loader: makes the loader of some pictures, given whether they are learnt from.

    Raises:
        ValueError: there is no such data, or its parts have different classes.
        OSError: the data cannot be read.
    """
    training = open_annotated(data, "train", folder, report, masks=masks)
    held_out = open_annotated(data, "val", folder, report, masks=masks)
    if training.classes != held_out.classes:
        theirs, others = (", ".join(pictures.classes) for pictures in (training, held_out))
        raise UserError(
            f"{data}: the training pictures have the classes {theirs}, those to evaluate on {others}; they must be the same"
        )
    return AnnotatedFeed(loader(training, True), loader(held_out, False), training, held_out)
