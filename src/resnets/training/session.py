"""A session: a recipe turned into living objects, on a device, ready for its first step.

`Session` is what the loop, checkpoints and runs know. What is trained adds the rest: classifiers in `classification`, detectors and
segmenters in rooms of their own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel
from torch import Tensor

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

_INSIDE_THE_NETWORK = 3
"""Purpose of the seeds of dropout and stochastic depth, see `data.order`."""


class AnyBatch(Protocol):
    """What the loop reads of a training batch."""

    images: Any
    indices: Tensor
    total: int
    draws: Draws


class TrainingLoader(Protocol):
    """Pictures to learn from, see `data.loader`."""

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
        """What the pictures come from, by part, as `data.loaders.inventories` takes it."""

    def left_out(self) -> dict[str, int]:
        """How many pictures were left out so far, by reason."""

    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of each picture that could not be read so far."""


class Result(Protocol):
    """What an evaluation found."""

    @property
    def score(self) -> float:
        """What the best of several evaluations has most of."""

    def headline(self) -> dict[str, Any]:
        """The values of a log line."""

    def summary(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All of it as plain JSON values."""


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


@dataclass
class Session:
    """Everything that a training loop works on."""

    recipe: Any
    """A `RunRecipe`."""
    spec: BaseModel
    feed: Any
    """An `AnyFeed`."""
    device: torch.device
    network: Any
    """The network as it is kept and evaluated; the step holds it wrapped or compiled."""
    average: ExponentialAverage | None
    step: TrainingStep
    learners: Learning
    world: World

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the network's order."""
        classes: tuple[str, ...] = self.feed.classes
        return classes

    @property
    def training(self) -> Any:
        """The pictures to learn from."""
        return self.feed.training

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        order = self.training.order
        steps: int = order.steps_in(0) + (self.recipe.epochs - 1) * order.steps_in(1)
        return min(steps, self.recipe.max_steps or steps)

    @property
    def evaluated(self) -> Any:
        """The network that is evaluated and saved: the average, once there is one."""
        return self.average.average if self.average is not None and self.average.started else self.network

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
    def inputs(self, batch: Any) -> Inputs:
        """The batch as the step's objective takes it."""

    @abstractmethod
    def evaluate(self, watcher: Any = None) -> Result:
        """Evaluates `evaluated` as the recipe says; `watcher`, of `watch`, looks on."""

    @abstractmethod
    def watch(self) -> Any:
        """What looks on while the last evaluation goes over its pictures, for the report."""

    @abstractmethod
    def write_report(self, path: Path, watcher: Any, events: list[dict[str, Any]], environment: Mapping[str, Any]) -> None:
        """Writes report.html where this process writes, from the run's logged events and what `watcher` saw; all processes call it."""

    @abstractmethod
    def save(self, network: Any, path: Path, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Writes `network` (the session's, or its average) as a model file, whole or not at all; raises OSError."""

    def before_last_evaluation(self) -> None:
        """What the network still needs behind its last step."""


def open_session(recipe: RunRecipe, report: Callable[[str], None], world: World = ALONE) -> Any:
    """The session of any recipe, made by the module that it names; raises as that does."""
    computed, notes = with_precision(recipe, choose_device(recipe.device, world.local_rank).type)
    session = import_module(recipe.opener).open_session(computed, report, world)
    for note in notes:  # last: a request that fails gets its one sentence and nothing else
        report(note)
    return session


def with_precision(recipe: AnyRecipe, device: str) -> tuple[AnyRecipe, tuple[str, ...]]:
    """The recipe with the precisions that "auto" stands for on a kind of device, so that a run stores what it computed in; and what is to
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
