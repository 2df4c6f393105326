"""A run: a recipe, of whatever is trained, carried out in a directory that holds everything about it.

recipe.yaml        all fields; `resnets train --recipe recipe.yaml` repeats the run (`resnets detect train`, ... as its first line says)
metrics.jsonl      one object per line, with step, epoch and time
checkpoint.pt      everything needed to go on; checkpoint-previous.pt is the one before
black-box.json     after a loss or gradient that was not finite: what the step saw (black-box.pt: the state before it)
model.safetensors  the network at the end, with classes and preprocessing
best.safetensors   the network at its best evaluation
split.csv          which of a folder's images were held out, where the run chose them; unreadable.csv: which could not be read
data.json.gz       what the data consisted of; environment.json: on what the run was computed; a resumed run is compared with both
lock               while a process trains: which one
initial.safetensors  what pretrained weights became before the first step, where the run began from some
report.html        curves, tables and environment on one page
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..core.environment import describe_environment
from ..core.errors import JobError
from ..core.files import write_atomically
from .base_recipe import AnyRecipe
from .black_box import STORY, open_black_box, write_black_box
from .checkpoint import Position, load_newest, newest_words, previous, save_checkpoint
from .distributed import World, joined
from .engine.step import Diverged
from .loop import Interrupted, Listener, train_loop
from .origin import check_origin, write_origin
from .published import published
from .run_directory import RunDirectory as RunDirectory
from .session import OpenSession, Result, Session, open_session
from .task import Task
from .writing import Writing, rescued


@dataclass(frozen=True)
class Run:
    """A finished run."""

    directory: Path
    model_path: Path
    metrics: dict[str, Any]
    """What the last evaluation found (of a classifier: top1, top5, loss, num_images, per_class, confusion), training_seconds and
    images_per_second."""
    classes: tuple[str, ...]
    result: Result
    """The last evaluation itself."""


AnyTask = Task[AnyRecipe, Session[AnyRecipe, Any, Any, Any]]
"""A task by its recipe."""


def train(task: AnyTask[AnyRecipe], recipe: AnyRecipe, listeners: Iterable[Listener] = ()) -> Run:
    """Carries out `recipe` in a new run directory; under torchrun with all its processes, of which the main process writes and reports.

    Raises:
        ValueError: the recipe asks for what cannot be had.
        InUse: another process trains in the directory.
        OSError: data or run directory cannot be read or written.
        JobError: the run came to its end, and the disk did not take what it made; the message says what is where.
        Diverged: the loss or the gradient is no longer finite; black-box.json in the run directory says where it began.
        Interrupted: a signal stopped the run; its message says how to go on.
    """
    started = time.perf_counter()
    with joined(recipe.device, recipe.distributed.timeout) as world, ExitStack() as claims:
        return _begin(task, recipe, world, claims, tuple(listeners) if world.writes else (), started)


def resume(task: AnyTask[AnyRecipe], directory: Path, listeners: Iterable[Listener] = (), *, changed_data: bool = False) -> Run:
    """Goes on with the task's run in `directory` from its newest whole checkpoint, exactly as if it had not stopped (from its start
    where it was stopped before its first checkpoint). Raises as `train` does, and ValueError where the data is no longer what it was,
    unless `changed_data`."""
    started = time.perf_counter()
    run = RunDirectory(Path(directory))
    recipe = run.read_recipe(task.recipe)
    with joined(recipe.device, recipe.distributed.timeout) as world, ExitStack() as claims:
        reporting = tuple(listeners) if world.writes else ()
        if world.writes:
            claims.enter_context(run.claimed(_reporter(reporting)))
        return _resume(task, recipe, run, world, reporting, started, changed_data)


# The session lives in functions of their own: it must be gone before the processes part (see `joined`).
def _begin(
    task: AnyTask[AnyRecipe], recipe: AnyRecipe, world: World, claims: ExitStack, listeners: tuple[Listener, ...], started: float
) -> Run:
    report = _reporter(listeners)
    session = open_session(task, recipe, report, world)
    if restarted := world.from_first(_restarted(session.recipe)):
        run = RunDirectory(restarted)
        if world.writes:
            claims.enter_context(run.claimed(report))
        return _go_on(session, run, listeners, started)
    run = RunDirectory(world.from_first(RunDirectory.create(session.recipe, claims, report).path if world.writes else None))
    for name, content in session.feed.files.items() if world.writes else ():
        write_atomically(run.path / name, content)
    if recipe.weights is not None and world.writes:
        session.save(session.network, run.initial, {}, {})
    if world.writes:
        write_origin(run, session)
    return _carry_out(session, run, Position(), listeners, started)


def _resume(
    task: AnyTask[AnyRecipe],
    recipe: AnyRecipe,
    run: RunDirectory,
    world: World,
    listeners: tuple[Listener, ...],
    started: float,
    changed_data: bool,
) -> Run:
    # What pretrained weights became is in the run, so that it needs them no more.
    start = recipe.begun_from(run.initial) if run.initial.is_file() else recipe
    session = open_session(task, start, _reporter(listeners), world)
    session.recipe = recipe
    if world.writes:
        check_origin(run, session, _reporter(listeners), changed_data=changed_data)
    return _go_on(session, run, listeners, started)


def _go_on(session: OpenSession, run: RunDirectory, listeners: tuple[Listener, ...], started: float) -> Run:
    report = _reporter(listeners)
    if run.checkpoint.is_file() or previous(run.checkpoint).is_file():
        position = load_newest(run.checkpoint, session, report)
        report(f"going on after step {position.step:,} of {session.total_steps:,}")
    else:
        position = Position()
        report("the run was stopped before its first checkpoint; it begins again")
    if session.world.writes:
        run.clean()
        run.rewind(position.step)
    return _carry_out(session, run, position, listeners, started - position.seconds)


def _restarted(recipe: AnyRecipe) -> Path | None:
    """The directory of this same job, where torchrun has started it anew because a process was lost: the recipe's output, or the
    newest runs/NAME-k, the one with the largest k, whose recipe is the same."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    if recipe.output is not None:
        return recipe.output if RunDirectory(recipe.output).recipe.is_file() else None
    made = [path for path in Path("runs").glob(f"{recipe.name}-*") if RunDirectory(path).recipe.is_file()]
    same = [path for path in made if RunDirectory(path).read_recipe(type(recipe)) == recipe.updated(output=path)]
    return max(same, key=_number, default=None)  # and not by a clock, which may have been set back


def _number(path: Path) -> int:
    last = path.name.rpartition("-")[2]
    return int(last) if last.isdecimal() else 0


def _reporter(listeners: tuple[Listener, ...]) -> Callable[[str], None]:
    return lambda message: _tell(listeners, {"event": "message", "message": message})


def _tell(listeners: Iterable[Listener], event: dict[str, Any]) -> None:
    for listen in listeners:
        listen(event)


def _carry_out(session: OpenSession, run: RunDirectory, position: Position, listeners: tuple[Listener, ...], started: float) -> Run:
    recipe, writes = session.recipe, session.world.writes
    writing = Writing(_reporter(listeners))

    def listen(event: dict[str, Any]) -> None:
        if writes and event["event"] not in ("progress", "message"):
            writing.attempt(run.metrics, lambda: run.log(event))
        _tell(listeners, event)

    def write_model(path: Path, metrics: dict[str, Any], network: nn.Module) -> None:
        provenance = {
            "network": session.network_name,
            "recipe": published(recipe),
            "environment": describe_environment(),
        }
        measured = {**metrics, "measured_on": session.feed.evaluated_on}
        session.save(network, path, measured, provenance)

    def evaluated(result: Result, epoch: float) -> None:
        summary = result.summary(session.classes)
        where = {"step": position.step, "epoch": epoch, "time": position.seconds}
        listen({"event": "evaluation", **where, **result.headline()})
        if position.best_score is None or result.score > position.best_score:
            position.best_score = result.score
            if writes and not writing.attempt(run.best, lambda: write_model(run.best, summary, session.evaluated)):
                kept = copy.deepcopy(session.evaluated)
                writing.later(run.best, lambda: write_model(run.best, summary, kept))

    def save(at: Position, must: bool) -> None:
        if not writes:
            return
        writing.again()
        kept = writing.attempt(run.checkpoint, lambda: save_checkpoint(run.checkpoint, session, at))
        if must and not kept:
            raise JobError(f"stopped after step {at.step:,}; {writing.failures()}; {newest_words(run.checkpoint)}")

    _tell(listeners, {"event": "start", "directory": str(run.path), **describe_session(session)})
    first_step = position.step
    try:
        seconds = train_loop(session, position, listen, save, evaluated, started)
    except Interrupted as stop:
        raise Interrupted(f"{stop}; nothing is lost, go on with: resnets {recipe.command} --resume {run.path}") from None
    except Diverged as error:
        found = open_black_box(session, error.step)
        if writes:
            writing.attempt(run.path / STORY, lambda: write_black_box(run.path, session, found))
        raise error.described(found.summary, run.path) from None
    save(position, False)
    session.before_last_evaluation()
    watcher = session.watch() if recipe.report else None
    result = session.evaluate(watcher)
    order = session.training.order
    epoch, done_in_epoch = order.place(position.step)
    epochs = epoch + done_in_epoch / order.steps_in(epoch)
    evaluated(result, epochs)
    summary = result.summary(session.classes)
    elsewhere = ""
    if writes and not writing.attempt(run.model, lambda: write_model(run.model, summary, session.evaluated)):
        elsewhere = rescued(run.model, lambda path: write_model(path, summary, session.evaluated))
    speed = (position.step - first_step) * order.batch_size / max(seconds, 1e-9)
    metrics = {**summary, "training_seconds": position.seconds, "images_per_second": speed}
    done = {"event": "done", "step": position.step, "epoch": epochs, "time": position.seconds, **metrics}
    if unused := session.feed.unused():
        done["left_out"] = unused
    listen({**done, "directory": str(run.path), "model_path": str(run.model)})
    if watcher is not None:
        events = run.events() if writes else []
        writing.attempt(run.report, lambda: session.write_report(run.report, watcher, events, describe_environment()))
    writing.again()
    if writing.failed:
        raise JobError(
            f"training came to its end, but {writing.failures()}{elsewhere}; once there is room: "
            f"resnets {recipe.command} --resume {run.path}, which goes on from the newest checkpoint"
        )
    return Run(run.path, run.model, metrics, session.classes, result)


def describe_session(session: OpenSession) -> dict[str, Any]:
    """What a person wants to know before the first step."""
    return {
        "network": session.network_name,
        "parameters": sum(p.numel() for p in session.network.parameters()),
        "training_images": len(session.training),
        "evaluated_on": session.feed.evaluated_on,
        "left_out": session.feed.unused(),
        "steps": session.total_steps,
        "epochs": session.recipe.epochs,
        "device": str(session.device),
        "processes": session.world.size,
        "precision": session.recipe.precision,
    }
