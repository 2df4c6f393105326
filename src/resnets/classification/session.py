"""Classifiers in training: a `Recipe` turned into a session."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.errors import UserError
from ..data.augmentation import batch as changes_of_batch
from ..data.decoding.preprocessing import Preprocessing
from ..data.loaders.protocol import Batch, Loader
from ..networks import Network, NetworkSpec, get_spec
from ..training.distributed import ALONE, World, wrapped
from ..training.engine.averaging import ExponentialAverage
from ..training.engine.objective import Inputs
from ..training.engine.precision import trusted_precision
from ..training.engine.recalibration import recalibrate
from ..training.engine.step import TrainingStep
from ..training.norms.fused_norms import fuse_norms, needed_for_fused_norms
from ..training.norms.synchronized import synchronize_norms
from ..training.optim.optimizers import build_optimizer
from ..training.session import Session
from ..training.settings import EarlyStopping
from ..weights.model_file import ModelDescription, save_model
from .balance import balanced_weights, weights_of
from .evaluate import EvaluationResult, evaluate
from .feed import Feed, open_feed
from .findings import FindingsCollector
from .fine_tuning import Learners, rate_factors
from .losses import Classifying, build_loss
from .recipe import Recipe
from .start import named_network, normalization_of, read_start, start_network


@dataclass
class ClassificationSession(Session[Recipe, Network, Batch, FindingsCollector]):
    """What the training of a classifier works on."""

    recipe: Recipe
    spec: NetworkSpec
    feed: Feed
    network: Network
    learners: Learners
    class_weights: Tensor | None = None
    """(K,) float32: how much the loss of each class's images counts; None where all count alike."""

    @property
    def network_name(self) -> str:
        """The recipe's network, with its fields."""
        return self.recipe.network

    @property
    def preprocessing(self) -> Preprocessing:
        """What makes an image the network's input."""
        return self.feed.preprocessing

    @property
    def training(self) -> Loader:
        """The images to learn from."""
        return self.feed.training

    @property
    def early_stopping(self) -> EarlyStopping:
        """The recipe's."""
        return self.recipe.early_stopping

    def mix(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's images and targets, by mixup or cutmix where the recipe asks for one; targets are then (b, K) shares."""
        changes, images, labels = self.recipe.augmentation, batch.images, batch.labels
        kinds = [
            (mix, alpha)
            for mix, alpha in ((changes_of_batch.mixup, changes.mixup), (changes_of_batch.cutmix, changes.cutmix))
            if alpha
        ]
        if not kinds:
            return images, labels
        mix, alpha = kinds[int(batch.draws.shared()) % len(kinds)]
        targets = functional.one_hot(labels, self.spec.num_classes).float()
        return mix(images, targets, alpha, batch.draws)

    def weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """(b,) float32, how much the loss of each of the batch's images counts, given its targets; None where all count alike."""
        if self.class_weights is None:
            return batch.weights
        by_class = weights_of(targets, self.class_weights)
        return by_class if batch.weights is None else by_class * batch.weights

    def inputs(self, batch: Batch) -> Inputs:
        """The batch, mixed and with its images' weights."""
        images, targets = self.mix(batch)
        return Inputs(images, targets, self.weights(batch, targets))

    def evaluate(self, watcher: FindingsCollector | None = None) -> EvaluationResult:
        """Evaluates the network as the recipe says."""
        settings = self.recipe.evaluation
        self.world.share_buffers(self.evaluated)
        return evaluate(
            self.evaluated,
            self.feed.evaluation.in_order(),
            precision=settings.precision,
            flips=settings.flips,
            observe=watcher.add if watcher is not None else None,
            world=self.world,
        )

    def before_last_evaluation(self) -> None:
        """Estimates the batch norms' statistics anew where the recipe asks for it."""
        if self.recipe.bn == "recalibrate":
            images = (batch.images for batch in self.training.epoch(0))
            recalibrate(self.evaluated, images, precision=self.recipe.evaluation.precision, sum_over_processes=self.world.sum)

    def watch(self) -> FindingsCollector:
        """Collects what the network says about the images that this process evaluates, by name where they are files."""
        loader = self.feed.evaluation
        own = loader.order.share.of(len(loader))
        name_of = getattr(loader, "name_of", None)
        names = None if name_of is None else [name_of(i) for i in range(own.start, own.stop)]
        return FindingsCollector(self.preprocessing, names=names)

    def write_report(
        self, path: Path, watcher: FindingsCollector, events: list[dict[str, Any]], environment: Mapping[str, Any]
    ) -> None:
        """Writes report.html, where this process writes; all take part in the findings."""
        findings = watcher.findings(self.evaluated, world=self.world)
        if self.world.writes:
            from ..reports.run_report import write_report  # matplotlib is imported for this alone, after the training

            write_report(path, self.recipe, events, self.classes, environment, findings, excluded=self.feed.unreadable())

    def save(self, network: Network, path: Path, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Writes the model file."""
        save_model(network, path, ModelDescription(self.spec, self.classes, self.preprocessing, metrics, provenance))


def network_spec(recipe: Recipe, feed: Feed) -> NetworkSpec:
    """The recipe's network, fitted to its data's channels, classes and image size."""
    seen = feed.preprocessing
    spec = get_spec(recipe.network, in_channels=seen.channels, num_classes=len(feed.classes), input_size=seen.size)
    return spec.updated(norm="group") if recipe.bn == "group" else spec


def open_session(
    recipe: Recipe, device: torch.device, report: Callable[[str], None], world: World = ALONE
) -> ClassificationSession:
    """Seeds, loads the data, builds the network and everything around it, for this process's place in the world.

    Raises:
        ValueError: the recipe asks for what cannot be had (data, device, CUDA graphs without a GPU).
        OSError: the data cannot be read.
    """
    if recipe.cuda_graphs and device.type != "cuda":
        raise UserError(f"cuda_graphs needs an NVIDIA GPU, but the run is on {device}; leave it off")
    if recipe.fused_norms:
        needed_for_fused_norms(device)
    with world.first_alone():
        read = read_start(recipe)
        recipe = named_network(recipe, read)
        feed = open_feed(recipe, device, world.share, report, lambda channels: normalization_of(read, channels))
    torch.manual_seed(recipe.seed)  # the initial weights depend on nothing that the data may have drawn
    spec = network_spec(recipe, feed)
    network = start_network(recipe, spec, read, feed.classes, report).to(device)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    network.classes, network.preprocessing = feed.classes, feed.preprocessing
    try_image(network, feed.preprocessing, device)
    if recipe.distributed.synchronized_norm and world.size > 1:
        synchronize_norms(network, device)
    if recipe.fused_norms:
        report(f"{fuse_norms(network)} batch norms computed together with what follows them")
    learners = Learners(network, recipe)
    average = None
    if recipe.averaging.decay:
        average = ExponentialAverage(recipe.averaging, network, copy.deepcopy(network))
    step = TrainingStep(
        compiled(wrapped(network.train(), world, device, phases=recipe.fine_tuning.head_first > 0), recipe),
        build_optimizer(recipe.optimizer, network, rate_factors(network, recipe.fine_tuning.rate_decay), learners.first),
        precision=trusted_precision(recipe.precision, network, empty_image(feed.preprocessing, device), report),
        accumulation=recipe.accumulation,
        objective=Classifying(build_loss(recipe.loss, recipe.label_smoothing)),
        clip_norm=recipe.clip_norm,
        average=average,
        world=world.size,
    )
    weights = None
    if recipe.class_weights == "balanced":
        weights = balanced_weights(feed.training.labels, spec.num_classes).to(device)
    return ClassificationSession(recipe, spec, feed, device, network, average, step, learners, world, weights)


def try_image(network: Network, preprocessing: Preprocessing, device: torch.device) -> None:
    """Passes one empty image through the network, which draws nothing random and changes nothing.

    Raises:
        ValueError: the image is too small for the network.
    """
    size = preprocessing.size
    try:
        with torch.inference_mode():
            network.eval()(empty_image(preprocessing, device))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the network cannot take images of {size} x {size} pixels ({reason}); set a larger --image-size") from None


def empty_image(preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """(1, C, size, size) of zeros, as the network gets images."""
    return torch.zeros(1, preprocessing.channels, preprocessing.size, preprocessing.size, device=device)


def compiled(network: nn.Module, recipe: Recipe) -> nn.Module:
    """The network as the recipe runs it: eager, compiled, or replayed as CUDA graphs, with or without compiled kernels."""
    if recipe.compile:
        return torch.compile(network, mode="reduce-overhead" if recipe.cuda_graphs else None)  # type: ignore[return-value]
    return torch.compile(network, backend="cudagraphs") if recipe.cuda_graphs else network  # type: ignore[return-value]
