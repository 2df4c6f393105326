"""A session: a recipe turned into living objects, on a device, ready for its first step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ..data import augmentation
from ..data.datasets import DATASETS, load, split_holdout
from ..data.preprocessing import Preprocessing
from ..data.pruning import LossPruning
from ..data.resident import Before, Behind, ResidentLoader
from ..networks import Network, NetworkSpec, build, get_spec
from .averaging import ExponentialAverage
from .optimizers import build_optimizer
from .recipe import Recipe
from .step import TrainingStep


@dataclass
class Session:
    """Everything that a training loop works on."""

    recipe: Recipe
    spec: NetworkSpec
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    device: torch.device
    network: Network
    average: ExponentialAverage | None
    step: TrainingStep
    training: ResidentLoader
    evaluation: ResidentLoader
    evaluated_on: str
    """Which pictures evaluation sees, in words."""
    generator: Generator
    """Draws all augmentation."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        steps = self.training.steps_in(0) + (self.recipe.epochs - 1) * self.training.steps_in(1)
        return min(steps, self.recipe.max_steps or steps)

    @property
    def evaluated(self) -> Network:
        """The network that is evaluated and saved: the average, once there is one."""
        return self.average.average if self.average is not None and self.average.started else self.network  # type: ignore[return-value]

    def mix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixup or cutmix of a batch, where the recipe asks for one; targets are then (B, K) shares."""
        changes = self.recipe.augmentation
        kinds = [
            (mix, alpha) for mix, alpha in ((augmentation.mixup, changes.mixup), (augmentation.cutmix, changes.cutmix)) if alpha
        ]
        if not kinds:
            return images, labels
        chosen = int(torch.randint(len(kinds), (), generator=self.generator)) if len(kinds) > 1 else 0
        mix, alpha = kinds[chosen]
        targets = functional.one_hot(labels, self.spec.num_classes).float()
        return mix(images, targets, alpha, self.generator)


def choose_device(name: str) -> torch.device:
    """The device that a recipe names; "auto" is the first GPU, else the CPU.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} is not available here: {str(error).splitlines()[0]}; try --device auto") from None
    return device


def network_spec(recipe: Recipe) -> NetworkSpec:
    """The recipe's network, fitted to its data's channels, classes and picture size."""
    info = DATASETS[recipe.data]
    size = recipe.image_size or info.size
    return get_spec(recipe.network, in_channels=info.channels, num_classes=len(info.classes), input_size=size)


def open_session(recipe: Recipe, report: Callable[[str], None]) -> Session:
    """Seeds, loads the data, builds the network and everything around it.

    Raises:
        ValueError: the recipe asks for what cannot be had (data, device, CUDA graphs without a GPU).
        OSError: the data cannot be read.
    """
    device = choose_device(recipe.device)
    if recipe.cuda_graphs and device.type != "cuda":
        raise ValueError(f"cuda_graphs needs an NVIDIA GPU, but the run is on {device}; leave it off")
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    generator = Generator().manual_seed(recipe.seed)
    torch.backends.cudnn.benchmark = not recipe.deterministic
    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.set_float32_matmul_precision("highest" if recipe.deterministic else "high")

    images = load(recipe.data, "train", recipe.data_folder, report=report)
    if recipe.holdout:
        images, held_out = split_holdout(images, recipe.holdout, seed=0)
        evaluated_on = f"{len(held_out.images):,} pictures held out of the training set"
    else:
        held_out = load(recipe.data, "test", recipe.data_folder, report=report)
        evaluated_on = f"the test set ({len(held_out.images):,} pictures)"
    info = DATASETS[recipe.data]
    preprocessing = Preprocessing(
        size=recipe.image_size or info.size,
        channels=info.channels,
        mean=info.mean if recipe.normalize else (),
        std=info.std if recipe.normalize else (),
    )
    resident = partial(ResidentLoader, preprocessing=preprocessing, channels_last=recipe.channels_last)
    training = resident(
        images.images.to(device),
        images.labels.to(device),
        batch_size=recipe.batch_size,
        augment=augmentations(recipe, info.horizontal_flip, generator),
        pruning=LossPruning(len(images.images), recipe.pruning, device) if recipe.pruning else None,
        drop_last=recipe.drop_last,
    )
    evaluation = resident(held_out.images.to(device), held_out.labels.to(device), batch_size=recipe.evaluation.batch_size)
    if training.batch_size % recipe.accumulation:
        raise ValueError(f"the batch of {training.batch_size} cannot be cut into accumulation={recipe.accumulation} equal parts")

    spec = network_spec(recipe)
    network = build(spec).to(device)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    network.classes, network.preprocessing = images.classes, preprocessing
    try_picture(network, preprocessing, device)
    average = None
    if recipe.averaging.decay:
        average = ExponentialAverage(recipe.averaging, network, copy.deepcopy(network))
    step = TrainingStep(
        compiled(network.train(), recipe),
        build_optimizer(recipe.optimizer, network),
        precision=recipe.precision,
        accumulation=recipe.accumulation,
        label_smoothing=recipe.label_smoothing,
        clip_norm=recipe.clip_norm,
        average=average,
    )
    return Session(
        recipe, spec, images.classes, preprocessing, device, network, average, step, training, evaluation, evaluated_on, generator
    )


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


def compiled(network: Network, recipe: Recipe) -> nn.Module:
    """The network as the recipe runs it: eager, compiled, or replayed as CUDA graphs, with or without compiled kernels."""
    if recipe.compile:
        return torch.compile(network, mode="reduce-overhead" if recipe.cuda_graphs else None)  # type: ignore[return-value]
    return torch.compile(network, backend="cudagraphs") if recipe.cuda_graphs else network  # type: ignore[return-value]


def augmentations(recipe: Recipe, flip_keeps_class: bool, generator: Generator) -> tuple[Before, Behind]:
    """The recipe's changes of the raw and of the normalised batch, each drawing from `generator`."""
    settings = recipe.augmentation
    flip = settings.horizontal_flip or ("random" if flip_keeps_class else "off")

    def before(images: Tensor, indices: Tensor, epoch: int) -> Tensor:
        if settings.crop_padding:
            images = augmentation.random_crop(images, settings.crop_padding, settings.padding_mode, generator)
        if flip == "random":
            images = augmentation.random_horizontal_flip(images, generator)
        elif flip == "alternate":
            images = augmentation.alternating_horizontal_flip(images, indices, epoch, recipe.seed)
        return images

    def behind(images: Tensor) -> Tensor:
        return augmentation.random_erasing(images, settings.erasing, generator) if settings.erasing else images

    return before, behind
