"""A user's own images on their way to training: what to learn from, what to evaluate on, what was left out, and what a run remembers.

A run keeps split.csv (which images were held out, where that was its own choice) and unreadable.csv (which could not be read). A resumed
run goes by both, so that it sees the very images with which it began, whatever has come into the folder since.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.reading import TABLE_LIMIT, read_file
from ..data.datasets.folders import OwnImages
from ..data.datasets.holdout import hold_out, read_exclusions, read_split_file, split_file, without
from ..data.datasets.imagenet import find_imagenet
from ..data.datasets.locate import locate
from ..data.datasets.user_data import find_own
from ..data.decoding.decode import EncodedImage
from ..data.errors import DataError, Unreadable
from ..data.image_source import ImageFiles
from ..data.workers.batches import default_workers
from .recipe import Recipe

IMAGENET = "imagenet"
SPLIT, UNREADABLE = "split.csv", "unreadable.csv"
_TRIED_FIRST = 5000
"""Images up to which all are decoded before some are held out, so that a broken file has no part in the split."""


@dataclass(frozen=True)
class Parts:
    """The images of a run."""

    training: ImageFiles
    evaluation: ImageFiles
    evaluated_on: str
    split_file: bytes | None = None
    """For the run to keep, where it was the run that held images out."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Names and reasons, as far as they are known before the loaders have looked."""
    excluded: int = 0
    """Images that the user's list left out."""
    ignored: int = 0
    """Files that are no images."""
    resumed: bool = False
    """Whether a run goes on, with the images with which it began."""


def find_parts(recipe: Recipe, report: Callable[[str], None]) -> Parts:
    """The images of a recipe whose data is a folder or a CSV.

    Raises:
        ValueError: they are laid out wrongly, have fewer than two classes, or nothing is left of a class to learn from.
        OSError: they cannot be read.
    """
    own = _located(recipe)
    for message in own.messages():
        report(message)
    if len(own.classes) < 2:
        raise DataError(f"{own.root} has the one class {own.classes[0]}; a network learns to tell at least two apart")
    begun = _begun(recipe)
    unreadable = {} if begun is None else _read_unreadable(begun / UNREADABLE)
    listed = read_exclusions(recipe.exclude) if recipe.exclude is not None else frozenset()
    before = sum(map(len, own.splits.values()))
    own = replace(own, splits={split: _without(images, listed) for split, images in own.splits.items()})
    excluded = before - sum(map(len, own.splits.values()))
    if recipe.exclude is not None:
        report(f"{excluded:,} images are left out by {recipe.exclude}, which lists {len(listed):,}")
    common: dict[str, Any] = {"excluded": excluded, "ignored": sum(own.ignored.values()), "resumed": begun is not None}
    held_out = own.evaluation if not recipe.holdout else None
    if held_out is not None and len(held_out):
        parts = (_without(own.training, unreadable), _without(held_out, unreadable))
        return Parts(parts[0], parts[1], f"{_words(own, held_out)} ({len(parts[1]):,} images)", unreadable=unreadable, **common)
    if not recipe.holdout:
        raise DataError(f"{own.root} has nothing to evaluate on; hold some images out, for instance with --holdout 0.2")
    images = own.training
    if begun is not None and (begun / SPLIT).is_file():
        training, evaluation, came = read_split_file(begun / SPLIT, images)
        if came := came - len(unreadable.keys() & set(images.paths)):
            report(f"{came:,} images came into {own.root} since the run began; it goes on without them")
        content = read_file(begun / SPLIT, limit=TABLE_LIMIT)
    else:
        if len(images) <= _TRIED_FIRST:
            unreadable = _tried(images)
            _check_share(recipe, images, unreadable)
            for name, reason in unreadable.items():
                report(f"{name} is left out, {reason}")
        training, evaluation = hold_out(_without(images, unreadable), recipe.holdout, recipe.seed)
        content = split_file(training, evaluation)
    words = f"{len(evaluation):,} images held out of {len(training) + len(evaluation):,}"
    return Parts(training, evaluation, words, content, unreadable, **common)


def largest_share(recipe: Recipe, parts: Parts, images: ImageFiles) -> float:
    """The share of `images`, one of the parts, that may be unreadable: as many as the recipe allows of all images together, for
    broken files do not spread evenly over the parts."""
    allowed = recipe.max_unreadable * (len(parts.training) + len(parts.evaluation) + len(parts.unreadable)) - len(parts.unreadable)
    return min(1.0, max(0.0, allowed / max(1, len(images))))


def exclusion_file(unreadable: Mapping[str, str]) -> bytes:
    """The run's list of unreadable images, in the form of an exclusion list."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("name", "reason"))
    rows.writerows(unreadable.items())
    return text.getvalue().encode("utf-8", "surrogateescape")


def check_still_readable(parts: Parts, found: Mapping[str, str]) -> None:
    """Makes sure that a resumed run has all images with which it began.

    Raises:
        DataError: some cannot be read any more.
    """
    if parts.resumed and found:
        name, reason = next(iter(found.items()))
        raise DataError(
            f"{len(found):,} images with which the run began cannot be read any more, such as {name}, which {reason}; put them back, so "
            "that the run can go on exactly, or start a new one"
        )


def _located(recipe: Recipe) -> OwnImages:
    if recipe.data != IMAGENET:
        return find_own(recipe.data)
    return find_imagenet(locate(IMAGENET, recipe.data_folder))


def _begun(recipe: Recipe) -> Path | None:
    """The directory of the run that goes on with this recipe, or None where a new one begins."""
    begun = recipe.output is not None and (recipe.output / "recipe.yaml").is_file()
    return recipe.output if begun else None


def _read_unreadable(file: Path) -> dict[str, str]:
    return dict.fromkeys(read_exclusions(file), "could not be read when the run began") if file.is_file() else {}


def _without(images: ImageFiles, names: Collection[str]) -> ImageFiles:
    # A class may have nothing to evaluate on, but never nothing to learn from.
    return without(images, names, whole=images.split in ("train", "all"))


def _tried(images: ImageFiles) -> dict[str, str]:
    """Names and reasons of the images that cannot be decoded."""

    def reason(index: int) -> str | None:
        try:
            EncodedImage(images.read(index), 3).pixels()
        except (OSError, Unreadable) as error:
            return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return None

    with ThreadPoolExecutor(default_workers()) as pool:
        reasons = pool.map(reason, range(len(images)))
        return {images.name_of(index): why for index, why in enumerate(reasons) if why is not None}


def _check_share(recipe: Recipe, images: ImageFiles, unreadable: Mapping[str, str]) -> None:
    if len(unreadable) > recipe.max_unreadable * len(images):
        name, reason = next(iter(unreadable.items()))
        raise DataError(
            f"{len(unreadable):,} of {len(images):,} images of {images.name} cannot be read, more than "
            f"max_unreadable={recipe.max_unreadable:g} allows; the first is {name}, which {reason}. Repair or remove them, or raise "
            "--max-unreadable"
        )


def _words(own: OwnImages, images: ImageFiles) -> str:
    return f"the {images.split} images of {own.name}"
