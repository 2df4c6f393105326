"""A session: a recipe turned into living objects, on a device, ready for its first step.

`Session` is what the loop, checkpoints and runs know. Each task's own session adds the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from ..core.errors import UserError
from ..core.precision import resolved_precision, warned_precision
from ..data.sampling.draws import Draws, seed_for
from ..data.sampling.order import EpochOrder
from .base_recipe import AnyRecipe, RunRecipe
from .distributed import ALONE, World
from .engine.averaging import ExponentialAverage
from .engine.objective import Inputs
from .engine.step import TrainingStep
from .settings import EarlyStopping
from .task import AnySession, Task

_INSIDE_THE_NETWORK = 3
"""Purpose of the seeds of dropout and stochastic depth, see `data.order`."""


class AnyBatch(Protocol):
    """What the loop reads of a training batch."""

    images: Any
    indices: Tensor
    total: int
    draws: Draws


class TrainingLoader(Protocol):
    """Images to learn from, see `data.loader`."""

    order: EpochOrder

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Any]:
        """An epoch's training batches from `first_step` on."""


class AnyFeed(Protocol):
    """What a session reads from, see `feed.Feed`."""

    @property
    def training(self) -> TrainingLoader: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def evaluated_on(self) -> str: ...
    @property
    def files(self) -> Mapping[str, bytes]: ...
    @property
    def sources(self) -> Mapping[str, Any]:
        """What the images come from, by part, as `data.loaders.inventories` takes it."""

    def unused(self) -> dict[str, int]:
        """How many images were left out so far, by reason."""

    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of each image that could not be read so far."""


@dataclass(frozen=True)
class Listing:
    """Rows for people: a title, the columns' heads, and cells as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Measures:
    """What an evaluation found, for people."""

    listings: tuple[Listing, ...]
    sentence: str
    """The numbers that count, with what they were measured on."""


class Result(Protocol):
    """What an evaluation found."""

    @property
    def score(self) -> float:
        """What the best of several evaluations has most of."""

    def headline(self) -> dict[str, Any]:
        """The values of a log line."""

    def summary(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All of it as plain JSON values."""

    def measures(self, classes: tuple[str, ...]) -> Measures:
        """All of it for people."""


class Learning(Protocol):
    """Decides which parameters learn at a step."""

    def at(self, progress: float) -> bool:
        """Prepares the network for a step at `progress`, and says whether anything changed since the step before."""

    def reset(self) -> None:
        """Goes back to where no step was prepared."""


class AllLearn:
    """Every parameter that learns at all learns at every step."""

    def at(self, progress: float) -> bool:
        """Nothing changes."""
        return False

    def reset(self) -> None:
        """Nothing was changed."""


AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
AnyInput = TypeVar("AnyInput", contravariant=True)
"""What a task's training batches are."""
AnyWatcher = TypeVar("AnyWatcher")
"""What looks on while a task's network is evaluated."""


@dataclass
class Session(ABC, Generic[AnyRecipe, AnyNetwork, AnyInput, AnyWatcher]):
    """Everything that a training loop works on."""

    recipe: AnyRecipe
    spec: BaseModel
    feed: AnyFeed
    device: torch.device
    network: AnyNetwork
    """The network as it is kept and evaluated; the step holds it wrapped or compiled."""
    average: ExponentialAverage | None
    step: TrainingStep
    learners: Learning
    world: World

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the network's order."""
        return self.feed.classes

    @property
    def training(self) -> TrainingLoader:
        """The images to learn from."""
        return self.feed.training

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        order = self.training.order
        steps = order.steps_in(0) + (self.recipe.epochs - 1) * order.steps_in(1)
        return min(steps, self.recipe.max_steps or steps)

    @property
    def evaluated(self) -> AnyNetwork:
        """The network that is evaluated and saved: the average, once there is one."""
        if self.average is None or not self.average.started:
            return self.network
        averaged: AnyNetwork = self.average.average  # type: ignore[assignment]  # a copy of the network
        return averaged

    @property
    def early_stopping(self) -> EarlyStopping:
        """When the run ends before its last step."""
        return EarlyStopping()

    def seed_step(self, number: int) -> None:
        """Seeds what the network itself draws in step `number` (dropout, stochastic depth, samples of proposals): it follows from the
        run's seed, the step and this process's rank alone, so that there is no random state to save."""
        torch.manual_seed(seed_for(self.recipe.seed, _INSIDE_THE_NETWORK, number, self.world.rank))

    @property
    @abstractmethod
    def network_name(self) -> str:
        """What is trained, as the recipe calls it."""

    @abstractmethod
    def inputs(self, batch: AnyInput) -> Inputs:
        """The batch as the step's objective takes it."""

    @abstractmethod
    def evaluate(self, watcher: AnyWatcher | None = None) -> Result:
        """Evaluates `evaluated` as the recipe says; `watcher`, of `watch`, looks on."""

    @abstractmethod
    def watch(self) -> AnyWatcher:
        """What looks on while the last evaluation goes over its images, for the report."""

    @abstractmethod
    def write_report(self, path: Path, watcher: AnyWatcher, events: list[dict[str, Any]], environment: Mapping[str, Any]) -> None:
        """Writes report.html where this process writes, from the run's logged events and what `watcher` saw; all processes call it."""

    @abstractmethod
    def save(self, network: AnyNetwork, path: Path, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Writes `network` (the session's, or its average) as a model file, whole or not at all; raises OSError."""

    def before_last_evaluation(self) -> None:
        """What the network still needs after its last step."""


OpenSession = Session[Any, Any, Any, Any]
"""A session of any task, for those who look at what all have in common."""


def open_session(
    task: Task[AnyRecipe, AnySession], recipe: AnyRecipe, report: Callable[[str], None], world: World = ALONE
) -> AnySession:
    """The task's session of a recipe, with the precisions that fit this device; raises as `Task.open_session` does."""
    device = choose_device(recipe.device, world.local_rank)
    computed, notes = with_precision(recipe, device.type)
    prepare_machine(computed)
    session = task.open_session(computed, device, report, world)
    for note in notes:  # last: a request that fails gets its one sentence and nothing else
        report(note)
    return session


def with_precision(recipe: AnyRecipe, device: str) -> tuple[AnyRecipe, tuple[str, ...]]:
    """The recipe with the precisions that "auto" means on a kind of device, so that a run stores what it computed in; and what is to
    be said of it, a line each."""
    precision, reason = resolved_precision(recipe.precision, device)
    warning = warned_precision(recipe.precision, device)
    notes = (f"precision: {precision} ({reason})",) if recipe.precision == "auto" else (warning,) if warning else ()
    evaluation = resolved_precision(recipe.evaluation.precision, device)[0]
    return recipe.updated(precision=precision, evaluation__precision=evaluation), notes


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
        raise UserError(f"device {name!r} is not available here: {str(error).splitlines()[0]}; try --device auto") from None
    return device


def prepare_machine(recipe: RunRecipe) -> None:
    """Threads and kernels as the recipe asks for them."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    torch.backends.cudnn.benchmark = not recipe.deterministic
    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.set_float32_matmul_precision("highest" if recipe.deterministic else "high")
