"""What a quantization learns from and is measured on: training images that show the ranges of the maps, and images with known classes.

Legend: N images, C channels, S spatial shape (H W for images).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...classification.evaluation_data import EvaluationData, open_evaluation
from ...core.errors import UserError
from ...data.loaders.protocol import Loader
from ...training.published import known_place
from ..graph.description import Description

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class QuantizationData:
    """Images as the network takes them."""

    calibration: Tensor
    """(N, C, *S) float32, normalised: the ranges of all maps are measured on these, and blame is laid by them."""
    batches: Callable[[], Batches]
    """Each call gives the same batches again: images (B, C, *S) float32, normalised, and labels (B,) int64."""
    calibration_name: str = "calibration images"
    name: str = "measured images"
    """What they are, in words."""
    flips: bool = False
    """Whether accuracy is that of the logits averaged over an image and its mirror image."""


def open_quantization_data(
    description: Description,
    data: str | None = None,
    *,
    folder: Path | None = None,
    calibration: int = 300,
    limit: int | None = None,
    exclude: Path | None = None,
    flips: bool | None = None,
    batch_size: int = 250,
    run: Path | None = None,
    recipe: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> QuantizationData:
    """Calibration images from the training part of a data set, and those of its test part to measure accuracy on.

    Args:
        description: of the network, which knows its classes and its preprocessing.
        data: a named data set, a folder or a CSV; None for what the network was trained on.
        folder: where a named data set's files are.
        calibration: number of calibration images, drawn at random by a fixed seed.
        limit: measure on that many images only, drawn in the same way; None for all.
        exclude: list of images to leave out.
        flips: average an image and its mirror image when accuracy is measured; None for as in training.
        batch_size: images per batch.
        run: the network's run directory, which remembers what was held out.
        recipe: what it was trained with; None for what the description says.
        report: told a line about each thing that a user should know.

    Raises:
        ValueError: no such data, or the network does not know its classes or its preprocessing.
        OSError: the images cannot be read.
    """
    classes, preprocessing = description.classes, description.preprocessing
    if classes is None or preprocessing is None:
        raise UserError("the network knows neither its classes nor its preprocessing, and so no images can be shown to it")
    if calibration < 1 or (limit is not None and limit < 1):
        raise UserError(f"calibration={calibration} and limit={limit} are numbers of images; give at least 1")
    trained_with = description.provenance.get("recipe", {}) if recipe is None else recipe
    name = data or trained_with.get("data")
    if name is None:
        raise UserError("the network does not say what it was trained on; name the data set with --data")
    known_place(name, run or Path("the network"))
    cpu = torch.device("cpu")
    taught = EvaluationData(name, folder, "train", min(batch_size, calibration), exclude, limit=calibration)
    loader, taught_words = open_evaluation(taught, classes, preprocessing, cpu, trained_with, run, report)
    images = torch.cat([batch for batch, _ in first(loader.in_order(), calibration)]).contiguous()
    measured = EvaluationData(name, folder, "test", batch_size, exclude, limit=limit)
    tested, words = open_evaluation(measured, classes, preprocessing, cpu, trained_with, run, report)
    settings = trained_with.get("evaluation", {})
    return QuantizationData(
        calibration=images,
        batches=lambda: _batches(tested, limit),
        calibration_name=taught_words,
        name=words,
        flips=bool(settings.get("flips", False)) if flips is None else flips,
    )


def _batches(loader: Loader, limit: int | None) -> Batches:
    return loader.in_order() if limit is None else first(loader.in_order(), limit)


def first(batches: Batches, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The first `limit` images of the batches."""
    left = limit
    for images, labels in batches:
        yield images[:left], labels[:left]
        left -= len(labels)
        if left <= 0:
            return
