"""The training loop: from a position to the end, one screen long."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from ..core.errors import JobError
from .checkpoint import Position
from .distributed import World
from .early_stopping import end_of_patience, update_patience
from .engine.step import StepResult
from .optim.schedules import learning_rate_factor
from .session import AnyBatch, OpenSession, Result

Listener = Callable[[dict[str, Any]], None]
"""Takes each event of a run: a dict with "event" and its values."""


class Interrupted(JobError):
    """A signal asked the run to stop; its checkpoint is written."""


@dataclass
class Stop:
    """Set by a signal, read between steps: stopping inside one would leave half-updated weights."""

    requested: bool = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """SIGINT (Ctrl-C) and SIGTERM ask for a stop after the current step; a second one ends the process at once."""
    stop, before = Stop(), {}

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.requested = True

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    except ValueError:
        before = {}  # signals can be handled in the main thread only; elsewhere whoever owns them decides
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Log:
    """Collects steps and reads them from the device only when a line is due."""

    losses: list[torch.Tensor] = field(default_factory=list)
    measures: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    images: int = 0
    since: float = field(default_factory=time.perf_counter)

    def add(self, result: StepResult, images: int) -> None:
        self.losses.append(result.loss * images)
        for name, value in result.measures.items():
            self.measures.setdefault(name, []).append(value)
        self.images += images

    def line(self, world: World) -> dict[str, float]:
        """Mean loss, the mean of each other measure, and the speed of all processes since the last line."""
        named = {"loss": self.losses, **self.measures}
        sums = torch.stack([torch.stack(values).sum().double() for values in named.values()]).cpu()
        sums = torch.cat([sums, torch.tensor([self.images], dtype=torch.float64)])
        *found, images = world.sum(sums).tolist()
        means = {name: value / images for name, value in zip(named, found, strict=True)}
        return {**means, "images_per_second": images / (time.perf_counter() - self.since)}


def train_loop(
    session: OpenSession,
    position: Position,
    listen: Listener,
    save: Callable[[Position, bool], None],
    evaluated: Callable[[Result, int], None],
    started: float,
) -> float:
    """Trains from `position` to the recipe's last step, and says how many seconds the steps took, without evaluations and
    checkpoints; `position` is kept up to date.

    `save` is called with the position every `checkpoint_every` seconds or `checkpoint_steps` steps, and before a stop with True,
    `evaluated` with each evaluation in between and its epoch; `started` is the `time.perf_counter()` from which training seconds count.

    Raises:
        Diverged: a loss or gradient that is not finite.
        Interrupted: SIGINT or SIGTERM.
    """
    recipe, total, loader = session.recipe, session.total_steps, session.training
    order, world = loader.order, session.world
    saved = begun = time.perf_counter()
    paused, log = 0.0, Log()
    session.network.train()
    with stop_on_signals() as stop:
        while position.step < total and end_of_patience(session.early_stopping, position) is None:
            epoch, first = order.place(position.step)
            per_epoch = order.steps_in(epoch)
            for done, batch in enumerate(loader.epoch(epoch, first), first + 1):
                number = position.step + 1
                result, factor = make_step(session, batch, number)
                position.step, position.seconds = number, time.perf_counter() - started
                log.add(result, len(batch.images))
                event = {"step": number, "steps": total, "epoch": epoch + done / per_epoch, "time": position.seconds}
                if number % recipe.log_every == 0 or number == total:
                    session.step.check()
                    listen({"event": "step", **event, **log.line(world), "learning_rate": factor * recipe.optimizer.learning_rate})
                    log = Log()
                else:
                    listen({"event": "progress", **event})
                pause = time.perf_counter()
                if done == per_epoch and number < total and due(recipe.evaluation.every, epoch + 1):
                    found = session.evaluate()
                    evaluated(found, epoch + 1)
                    update_patience(session.early_stopping, position, found)
                    log = Log()
                ending = end_of_patience(session.early_stopping, position)
                stopping = world.any(stop.requested)
                late = time.perf_counter() - saved > recipe.checkpoint_every
                if stopping or late or (recipe.checkpoint_steps and number % recipe.checkpoint_steps == 0):
                    session.step.check()
                    save(position, stopping)
                    saved = time.perf_counter()
                if stopping:
                    raise Interrupted(f"stopped after step {number} of {total}")
                paused += time.perf_counter() - pause
                if ending is not None:
                    listen({"event": "stopped", **event, "message": ending})
                    break
                if number == total:
                    position.seconds = time.perf_counter() - started  # the last line has waited for the device
                    break
    return time.perf_counter() - begun - paused


def make_step(session: OpenSession, batch: AnyBatch, number: int) -> tuple[StepResult, float]:
    """Step `number` (from 1) of the run on its batch, and the factor on the learning rates; raises `Diverged` as the step does."""
    inputs = session.inputs(batch)
    progress = (number - 0.5) / session.total_steps
    factor = learning_rate_factor(session.recipe.schedule, progress)
    session.learners.at(progress)
    session.seed_step(number)
    result = session.step(inputs, total=batch.total, step=number, progress=progress, factor=factor)
    if (pruning := session.training.order.pruning) is not None:
        pruning.record(session.world.gathered(batch.indices), session.world.gathered(result.losses))
    return result, factor


def due(every: int, epoch: int) -> bool:
    """Whether something that happens each `every` epochs (0: never) happens after `epoch` whole ones."""
    return bool(every) and epoch % every == 0
