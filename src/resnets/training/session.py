"""A session: a recipe turned into living objects, on a device, ready for its first step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import augmentation
from ..data.draws import seed_for
from ..data.loader import Batch, Loader
from ..data.preprocessing import Preprocessing
from ..networks import Network, NetworkSpec, get_spec
from .averaging import ExponentialAverage
from .balance import balanced_weights, weights_of
from .distributed import ALONE, World, wrapped
from .feed import Feed, open_feed
from .fine_tuning import Learners, rate_factors
from .losses import build_loss
from .optimizers import build_optimizer
from .precision import trusted_precision
from .recipe import Recipe
from .start import named_network, normalization_of, read_start, start_network
from .step import TrainingStep
from .synchronized import synchronize_norms

_INSIDE_THE_NETWORK = 3
"""Purpose of the seeds of dropout and stochastic depth, see `data.order`."""


@dataclass
class Session:
    """Everything that a training loop works on."""

    recipe: Recipe
    spec: NetworkSpec
    feed: Feed
    device: torch.device
    network: Network
    average: ExponentialAverage | None
    step: TrainingStep
    learners: Learners
    class_weights: Tensor | None = None
    """(K,) float32: how much the loss of each class's pictures counts; None where all count alike."""
    world: World = ALONE

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the logits' order."""
        return self.feed.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """What makes a picture the network's input."""
        return self.feed.preprocessing

    @property
    def training(self) -> Loader:
        """The pictures to learn from."""
        return self.feed.training

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        order = self.training.order
        steps = order.steps_in(0) + (self.recipe.epochs - 1) * order.steps_in(1)
        return min(steps, self.recipe.max_steps or steps)

    @property
    def evaluated(self) -> Network:
        """The network that is evaluated and saved: the average, once there is one."""
        return self.average.average if self.average is not None and self.average.started else self.network  # type: ignore[return-value]

    def mix(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's images and targets, by mixup or cutmix where the recipe asks for one; targets are then (b, K) shares."""
        changes, images, labels = self.recipe.augmentation, batch.images, batch.labels
        kinds = [
            (mix, alpha) for mix, alpha in ((augmentation.mixup, changes.mixup), (augmentation.cutmix, changes.cutmix)) if alpha
        ]
        if not kinds:
            return images, labels
        mix, alpha = kinds[int(batch.draws.shared()) % len(kinds)]
        targets = functional.one_hot(labels, self.spec.num_classes).float()
        return mix(images, targets, alpha, batch.draws)

    def weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """(b,) float32, how much the loss of each of the batch's pictures counts, given its targets; None where all count alike."""
        if self.class_weights is None:
            return batch.weights
        by_class = weights_of(targets, self.class_weights)
        return by_class if batch.weights is None else by_class * batch.weights

    def seed_step(self, number: int) -> None:
        """Seeds what the network itself draws in step `number` (dropout, stochastic depth): it follows from the run's seed, the
        step and this process's rank alone, so that there is no random state to save."""
        torch.manual_seed(seed_for(self.recipe.seed, _INSIDE_THE_NETWORK, number, self.world.rank))


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device that a recipe names; "auto" is this process's GPU, else the CPU.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", local_rank)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} is not available here: {str(error).splitlines()[0]}; try --device auto") from None
    return device


def network_spec(recipe: Recipe, feed: Feed) -> NetworkSpec:
    """The recipe's network, fitted to its data's channels, classes and picture size."""
    seen = feed.preprocessing
    spec = get_spec(recipe.network, in_channels=seen.channels, num_classes=len(feed.classes), input_size=seen.size)
    return spec.updated(norm="group") if recipe.bn == "group" else spec


def open_session(recipe: Recipe, report: Callable[[str], None], world: World = ALONE) -> Session:
    """Seeds, loads the data, builds the network and everything around it, for this process's place in the world.

    Raises:
        ValueError: the recipe asks for what cannot be had (data, device, CUDA graphs without a GPU).
        OSError: the data cannot be read.
    """
    device = choose_device(recipe.device, world.local_rank)
    if recipe.cuda_graphs and device.type != "cuda":
        raise ValueError(f"cuda_graphs needs an NVIDIA GPU, but the run is on {device}; leave it off")
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    torch.backends.cudnn.benchmark = not recipe.deterministic
    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.set_float32_matmul_precision("highest" if recipe.deterministic else "high")

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
    try_picture(network, feed.preprocessing, device)
    if recipe.distributed.synchronized_norm and world.size > 1:
        synchronize_norms(network, device)
    learners = Learners(network, recipe)
    average = None
    if recipe.averaging.decay:
        average = ExponentialAverage(recipe.averaging, network, copy.deepcopy(network))
    step = TrainingStep(
        compiled(wrapped(network.train(), world, device, phases=recipe.fine_tuning.head_first > 0), recipe),
        build_optimizer(recipe.optimizer, network, rate_factors(network, recipe.fine_tuning.rate_decay), learners.first),
        precision=trusted_precision(recipe.precision, network, feed.preprocessing, device, report),
        accumulation=recipe.accumulation,
        loss=build_loss(recipe.loss, recipe.label_smoothing),
        clip_norm=recipe.clip_norm,
        average=average,
        world=world.size,
    )
    weights = None
    if recipe.class_weights == "balanced":
        weights = balanced_weights(feed.training.labels, spec.num_classes).to(device)
    return Session(recipe, spec, feed, device, network, average, step, learners, weights, world)


def try_picture(network: Network, preprocessing: Preprocessing, device: torch.device) -> None:
    """Passes one empty picture through the network, which draws nothing random and changes nothing.

    Raises:
        ValueError: the picture is too small for the network.
    """
    size = preprocessing.size
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, preprocessing.channels, size, size, device=device))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the network cannot take pictures of {size} x {size} pixels ({reason}); set a larger --image-size"
        ) from None


def compiled(network: nn.Module, recipe: Recipe) -> nn.Module:
    """The network as the recipe runs it: eager, compiled, or replayed as CUDA graphs, with or without compiled kernels."""
    if recipe.compile:
        return torch.compile(network, mode="reduce-overhead" if recipe.cuda_graphs else None)  # type: ignore[return-value]
    return torch.compile(network, backend="cudagraphs") if recipe.cuda_graphs else network  # type: ignore[return-value]
