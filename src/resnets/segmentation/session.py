"""Segmenters in training: a `SegmentationRecipe` turned into a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from ..data.annotated.mask_loader import MaskBatch, MaskLoader
from ..data.annotated.mask_rows import MaskedImages
from ..data.annotations.objects import AnnotatedImages
from ..data.sampling.order import EpochOrder, Share
from ..reports.drawn_objects import draw_mask
from ..reports.scene_report import SEGMENTATION, Example, write_scene_report
from ..training.annotated_feed import AnnotatedFeed, open_annotated_feed
from ..training.distributed import ALONE, World
from ..training.engine.assembly import assembled
from ..training.engine.objective import Inputs
from ..training.session import AllLearn, Session
from ..weights.model_file import ModelDescription
from .create import create_segmenter
from .evaluate import SegmentationResult, evaluate_segmenter
from .losses import Segmenting
from .model_kind import SEGMENTER
from .recipe import SegmentationRecipe
from .segmenter import Segmenter
from .spec import SegmenterSpec
from .zoo import get_segmenter_spec

SegmentationFeed = AnnotatedFeed[MaskLoader]


class SegmentationWatcher:
    """Keeps what is found on the first images of the data set."""

    def __init__(self, most: int, names: Callable[[int], str]) -> None:
        self.most, self.name_of = most, names
        self.found: dict[int, Tensor] = {}

    def add(self, images: Tensor, predicted: Tensor, place: int) -> None:
        """Takes the classes (1, H, W) that were found on the image at `place`."""
        if place < self.most:
            self.found[place] = predicted[0].cpu()


@dataclass
class SegmentationSession(Session[SegmentationRecipe, Segmenter, MaskBatch, SegmentationWatcher]):
    """What the training of a segmenter works on."""

    recipe: SegmentationRecipe
    spec: SegmenterSpec
    feed: SegmentationFeed
    network: Segmenter

    @property
    def network_name(self) -> str:
        """The recipe's segmenter, with its fields."""
        return self.recipe.segmenter

    @property
    def training(self) -> MaskLoader:
        """The images to learn from."""
        return self.feed.training

    def inputs(self, batch: MaskBatch) -> Inputs:
        """The images and their masks."""
        return Inputs(batch.images, batch.masks)

    def evaluate(self, watcher: SegmentationWatcher | None = None) -> SegmentationResult:
        """Evaluates the segmenter on the images that it does not learn from."""
        self.world.share_buffers(self.evaluated)
        return evaluate_segmenter(
            self.evaluated,
            self.feed.evaluation.in_order(),
            precision=self.recipe.evaluation.precision,
            observe=None if watcher is None else watcher.add,
            world=self.world,
        )

    def watch(self) -> SegmentationWatcher:
        """Keeps the masks of the first images."""
        return SegmentationWatcher(self.recipe.examples, self.feed.evaluation.name_of)

    def write_report(
        self, path: Path, watcher: SegmentationWatcher, events: list[dict[str, Any]], environment: Mapping[str, Any]
    ) -> None:
        """Writes report.html, where this process writes."""
        if self.world.writes:
            feed = self.feed
            examples = [self._drawn(place, mask) for place, mask in sorted(watcher.found.items())]
            write_scene_report(
                path, SEGMENTATION, self.recipe, self.network_name, events, environment, examples,
                measured_on=feed.evaluated_on, excluded=feed.unreadable(),
            )  # fmt: skip

    def _drawn(self, place: int, mask: Tensor) -> Example:
        loader = self.feed.evaluation
        pixels, known = MaskedImages(loader.images, 3).load(int(loader.kept[place]))
        image = PIL.Image.fromarray(pixels)
        return Example(loader.name_of(place), draw_mask(image, known, self.classes), draw_mask(image, mask.numpy(), self.classes))

    def save(self, network: Segmenter, path: Path, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Writes the model file."""
        SEGMENTER.save(network, path, ModelDescription(self.spec, self.classes, self.spec.preprocessing, metrics, provenance))


def open_session(
    recipe: SegmentationRecipe, device: torch.device, report: Callable[[str], None], world: World = ALONE
) -> SegmentationSession:
    """Seeds, opens the images, builds the segmenter and everything around it, for this process's place in the world.

    Raises:
        ValueError: the recipe asks for what cannot be had (data, weights, device).
        OSError: the data or the weights cannot be read.
    """
    spec = get_segmenter_spec(recipe.segmenter)
    with world.first_alone():
        feed = _open_feed(recipe, spec, device, world.share, report)
    torch.manual_seed(recipe.seed)  # the initial weights depend on nothing that the data may have drawn
    network = create_segmenter(
        spec, num_classes=len(feed.classes) + 1, weights=recipe.weights, network_weights=recipe.network_weights
    ).to(device)
    network.classes = feed.classes
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    example = torch.zeros(1, network.spec.trunk.in_channels, recipe.crop.size, recipe.crop.size, device=device)
    average, step = assembled(recipe, network, Segmenting(recipe.auxiliary_weight, recipe.loss_stride), example, world, report)
    return SegmentationSession(recipe, network.spec, feed, device, network, average, step, AllLearn(), world)


def _open_feed(
    recipe: SegmentationRecipe, spec: SegmenterSpec, device: torch.device, share: Share, report: Callable[[str], None]
) -> SegmentationFeed:

    def loader(images: AnnotatedImages, learns: bool) -> MaskLoader:
        # In evaluation each image is a batch; the order is asked for this process's share alone, which needs a row for each process.
        size = recipe.batch_size if learns else share.world
        return MaskLoader(
            images,
            spec.preprocessing,
            lambda count: EpochOrder(count, size, seed=recipe.seed, drop_last=learns and recipe.drop_last, share=share),
            crop=recipe.crop if learns else None,
            size=spec.size,
            memory={"auto": "auto", "memory": True, "stream": False}[recipe.loading],  # type: ignore[arg-type]
            workers=recipe.workers,
            device=device,
            channels_last=recipe.channels_last,
            max_unreadable=recipe.max_unreadable,
            report=report,
        )

    return open_annotated_feed(recipe.data, recipe.data_folder, loader, report, masks=True)
