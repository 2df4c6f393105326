"""Detectors in training: a `DetectionRecipe` turned into a session.

Legend: b images of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.annotated.scene_loader import SceneBatch, SceneLoader
from ..data.decoding.preprocessing import Preprocessing
from ..training.distributed import ALONE, World
from ..training.engine.assembly import assembled
from ..training.engine.objective import Inputs, Outcome, Precision
from ..training.session import AllLearn, Session
from ..weights.model_file import ModelDescription
from .detector import Detector
from .evaluate import DetectionResult, evaluate_detector
from .feed import DetectionFeed, open_detection_feed, smallest_image
from .model_kind import DETECTOR
from .recipe import DetectionRecipe
from .report_examples import DetectionWatcher
from .spec import DetectorSpec
from .weights import create_detector


class Detecting:
    """The objective of detectors: the sum of their losses, each a mean over samples of all the images (Ren 2015, eq. 1).

    Parts and processes draw their own samples, and the means of all are averaged, weighed by their images: the mean over all samples
    where every image fills its quota.
    """

    def __call__(self, network: nn.Module, part: Inputs, precision: Precision) -> Outcome:
        """The outcome on `part`; its targets are one dict per image."""
        with precision():
            losses: dict[str, Tensor] = network(part.images, part.targets)
        count = len(part)
        mean = torch.stack([loss.float() for loss in losses.values()]).sum()
        measures = {name.removeprefix("loss_"): loss.detach().float() * count for name, loss in losses.items()}
        return Outcome(mean * count, mean.detach().expand(count), measures)


@dataclass
class DetectionSession(Session[DetectionRecipe, Detector, SceneBatch, DetectionWatcher]):
    """What the training of a detector works on."""

    recipe: DetectionRecipe
    spec: DetectorSpec
    feed: DetectionFeed
    network: Detector

    @property
    def network_name(self) -> str:
        """The recipe's detector, with its fields."""
        return self.recipe.detector

    @property
    def training(self) -> SceneLoader:
        """The images to learn from."""
        return self.feed.training

    def inputs(self, batch: SceneBatch) -> Inputs:
        """The images and what is on each."""
        return Inputs(batch.images, batch.targets)

    def evaluate(self, watcher: DetectionWatcher | None = None) -> DetectionResult:
        """Evaluates the detector on the images that it does not learn from."""
        self.world.share_buffers(self.evaluated)
        feed = self.feed
        return evaluate_detector(
            self.evaluated,
            feed.evaluation.in_order(),
            feed.images.objects,
            num_classes=len(feed.classes),
            precision=self.recipe.evaluation.precision,
            world=self.world,
            observe=None if watcher is None else watcher.add,
        )

    def watch(self) -> DetectionWatcher:
        """Keeps the first images with what is found on them."""
        return DetectionWatcher(self.recipe.examples)

    def write_report(
        self, path: Path, watcher: DetectionWatcher, events: list[dict[str, Any]], environment: Mapping[str, Any]
    ) -> None:
        """Writes report.html, where this process writes."""
        if self.world.writes:
            from ..reports.scene_report import DETECTION, write_scene_report

            feed = self.feed
            examples = watcher.examples(feed.images, self.classes)
            write_scene_report(
                path, DETECTION, self.recipe, self.network_name, events, environment, examples,
                measured_on=feed.evaluated_on, excluded=feed.unreadable(),
            )  # fmt: skip

    def save(self, network: Detector, path: Path, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Writes the model file."""
        preprocessing = Preprocessing(size=self.spec.min_size[-1], mean=self.spec.image_mean, std=self.spec.image_std)
        DETECTOR.save(network, path, ModelDescription(self.spec, self.classes, preprocessing, metrics, provenance))


def open_session(
    recipe: DetectionRecipe, device: torch.device, report: Callable[[str], None], world: World = ALONE
) -> DetectionSession:
    """Seeds, opens the images, builds the detector and everything around it, for this process's place in the world.

    Raises:
        ValueError: the recipe asks for what cannot be had (data, weights, device).
        OSError: the data or the weights cannot be read.
    """
    with world.first_alone():
        feed = open_detection_feed(recipe, device, world.share, report)
    torch.manual_seed(recipe.seed)  # the initial weights depend on nothing that the data may have drawn
    network = create_detector(recipe.detector, num_classes=len(feed.classes) + 1, weights=recipe.weights, report=report).to(device)
    network.classes = feed.classes
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    example = [torch.zeros(len(network.spec.image_mean), *smallest_image(feed), device=device)]
    average, step = assembled(recipe, network, Detecting(), example, world, report)
    return DetectionSession(recipe, network.spec, feed, device, network, average, step, AllLearn(), world)
