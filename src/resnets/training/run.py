"""A run: a recipe, of whatever is trained, carried out in a directory that holds everything about it.

recipe.yaml        all fields; `resnets train --recipe recipe.yaml` repeats the run (`resnets detect train`, ... as its first line says)
metrics.jsonl      one object a line, with step, epoch and time
checkpoint.pt      everything needed to go on; checkpoint-previous.pt is the one before
black-box.json     after a loss or gradient that was not finite: what the step saw (black-box.pt: the state before it)
model.safetensors  the network at the end, with classes and preprocessing
best.safetensors   the network at its best evaluation
split.csv          which of a folder's pictures were held out, where the run chose them; unreadable.csv: which could not be read
initial.safetensors  what pretrained weights became before the first step, where the run began from some
report.html        curves, tables and environment on one page
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ..core.environment import describe_environment
from ..core.files import write_atomically
from ..core.text import to_json
from .base_recipe import AnyRecipe, RunRecipe, read_run_recipe
from .black_box import open_black_box, write_black_box
from .checkpoint import Position, load_newest, previous, save_checkpoint
from .distributed import World, joined
from .engine.step import Diverged
from .loop import Interrupted, Listener, train_loop
from .session import Result, Session, open_session


@dataclass(frozen=True)
class Run:
    """A finished run."""

    directory: Path
    model_path: Path
    metrics: dict[str, Any]
    """What the last evaluation found (of a classifier: top1, top5, loss, num_images, per_class, confusion), training_seconds and
    images_per_second."""
    classes: tuple[str, ...]


class RunDirectory:
    """The files of one run; every file but metrics.jsonl is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe, self.metrics = path / "recipe.yaml", path / "metrics.jsonl"
        self.checkpoint, self.report = path / "checkpoint.pt", path / "report.html"
        self.model, self.best = path / "model.safetensors", path / "best.safetensors"
        self.initial = path / "initial.safetensors"

    @classmethod
    def create(cls, recipe: RunRecipe) -> RunDirectory:
        """A new directory with its recipe: the one that the recipe names, or the next free runs/NAME-k.

        Raises:
            ValueError: the directory holds a run already.
            OSError: it cannot be made or written to; a directory made here is taken away again.
        """
        path = recipe.output or next(free for k in count(1) if not (free := Path("runs") / f"{recipe.name}-{k}").exists())
        run = cls(path)
        if run.recipe.exists():
            raise ValueError(
                f"{path} holds a run already; name another --output, or go on with it: resnets {recipe.command} --resume {path}"
            )
        existed = path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomically(run.recipe, recipe.updated(output=path).to_yaml())
        except OSError as error:
            if not existed and path.is_dir():
                path.rmdir()
            raise type(error)(error.errno, f"cannot make the run directory {path}: {error.strerror or error}") from None
        return run

    def read_recipe(self, kind: type[AnyRecipe]) -> AnyRecipe:
        """The run's recipe, whose output is this directory wherever it lies now.

        Raises:
            ValueError: this is no run directory.
        """
        if not self.recipe.is_file():
            raise ValueError(f"{self.path} is no run directory: it holds no recipe.yaml")
        return read_run_recipe(self.recipe, kind).updated(output=self.path)

    def clean(self) -> None:
        """Takes away what a killed process left half written."""
        for leftover in (*self.path.glob(".*.part"), self.checkpoint.with_stem("checkpoint-next")):
            leftover.unlink(missing_ok=True)

    def events(self) -> list[dict[str, Any]]:
        """The logged lines; a line cut short by a crash ends them."""
        lines: list[dict[str, Any]] = []
        if self.metrics.exists():
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    lines.append(json.loads(line))
                except json.JSONDecodeError:
                    break
        return lines

    def rewind(self, step: int) -> None:
        """Forgets the lines behind `step`, which a resumed run writes again."""
        kept = [event for event in self.events() if event["step"] <= step and event["event"] != "done"]
        write_atomically(self.metrics, "".join(to_json(event) + "\n" for event in kept))

    def log(self, event: dict[str, Any]) -> None:
        """Appends one line."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(to_json(event) + "\n")


def train(recipe: RunRecipe, listeners: Iterable[Listener] = ()) -> Run:
    """Carries out `recipe` in a new run directory; under torchrun with all its processes, of which the first writes and speaks.

    Raises:
        ValueError: the recipe asks for what cannot be had.
        OSError: data or run directory cannot be read or written.
        Diverged: the loss or the gradient is no longer finite; black-box.json in the run directory says where it began.
        Interrupted: a signal stopped the run; its message says how to go on.
    """
    started = time.perf_counter()
    with joined(recipe.device, recipe.distributed.timeout) as world:
        return _begin(recipe, world, tuple(listeners) if world.writes else (), started)


def resume(directory: Path, listeners: Iterable[Listener] = (), *, kind: type[RunRecipe]) -> Run:
    """Goes on with the run in `directory` from its newest whole checkpoint, exactly as if it had not stopped (from its start where
    it was stopped before its first checkpoint); `kind` is that of its recipe. Raises as `train` does."""
    started = time.perf_counter()
    run = RunDirectory(Path(directory))
    recipe = run.read_recipe(kind)
    with joined(recipe.device, recipe.distributed.timeout) as world:
        return _resume(recipe, run, world, tuple(listeners) if world.writes else (), started)


# The session lives in functions of their own: it must be gone before the processes part (see `joined`).
def _begin(recipe: RunRecipe, world: World, listeners: tuple[Listener, ...], started: float) -> Run:
    session = open_session(recipe, _reporter(listeners), world)
    if restarted := world.from_first(_restarted(session.recipe)):
        return _go_on(session, RunDirectory(restarted), listeners, started)
    run = RunDirectory(world.from_first(RunDirectory.create(session.recipe).path if world.writes else None))
    for name, content in session.feed.files.items() if world.writes else ():
        write_atomically(run.path / name, content)
    if recipe.weights is not None and world.writes:
        session.save(session.network, run.initial, {}, {})
    return _carry_out(session, run, Position(), listeners, started)


def _resume(recipe: RunRecipe, run: RunDirectory, world: World, listeners: tuple[Listener, ...], started: float) -> Run:
    # What pretrained weights became lies in the run, so that it needs them no more.
    start = recipe.begun_from(run.initial) if run.initial.is_file() else recipe
    session = open_session(start, _reporter(listeners), world)
    session.recipe = recipe
    return _go_on(session, run, listeners, started)


def _go_on(session: Session, run: RunDirectory, listeners: tuple[Listener, ...], started: float) -> Run:
    report = _reporter(listeners)
    if run.checkpoint.is_file() or previous(run.checkpoint).is_file():
        position = load_newest(run.checkpoint, session, report)
        report(f"going on behind step {position.step:,} of {session.total_steps:,}")
    else:
        position = Position()
        report("the run was stopped before its first checkpoint; it begins again")
    if session.world.writes:
        run.clean()
        run.rewind(position.step)
    return _carry_out(session, run, position, listeners, started - position.seconds)


def _restarted(recipe: RunRecipe) -> Path | None:
    """The directory of this same job, where torchrun has started it anew because a process was lost: the recipe's output, or the
    newest runs/NAME-k whose recipe is the same."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    if recipe.output is not None:
        return recipe.output if RunDirectory(recipe.output).recipe.is_file() else None
    made = [path for path in Path("runs").glob(f"{recipe.name}-*") if RunDirectory(path).recipe.is_file()]
    same = [path for path in made if RunDirectory(path).read_recipe(type(recipe)) == recipe.updated(output=path)]
    return max(same, key=lambda path: RunDirectory(path).recipe.stat().st_mtime, default=None)


def _reporter(listeners: tuple[Listener, ...]) -> Callable[[str], None]:
    return lambda message: _tell(listeners, {"event": "message", "message": message})


def _tell(listeners: Iterable[Listener], event: dict[str, Any]) -> None:
    for listen in listeners:
        listen(event)


def _carry_out(session: Session, run: RunDirectory, position: Position, listeners: tuple[Listener, ...], started: float) -> Run:
    recipe, writes = session.recipe, session.world.writes

    def listen(event: dict[str, Any]) -> None:
        if writes and event["event"] not in ("progress", "message"):
            run.log(event)
        _tell(listeners, event)

    def write_model(path: Path, metrics: dict[str, Any]) -> None:
        provenance = {
            "network": session.network_name,
            "recipe": recipe.model_dump(mode="json"),
            "environment": describe_environment(),
        }
        measured = {**metrics, "measured_on": session.feed.evaluated_on}
        session.save(session.evaluated, path, measured, provenance)

    def evaluated(result: Result, epoch: float) -> None:
        summary = result.summary(session.classes)
        where = {"step": position.step, "epoch": epoch, "time": position.seconds}
        listen({"event": "evaluation", **where, **result.headline()})
        if position.best_score is None or result.score > position.best_score:
            position.best_score = result.score
            if writes:
                write_model(run.best, summary)

    def save(at: Position, must: bool) -> None:
        if not writes:
            return
        try:
            save_checkpoint(run.checkpoint, session, at)
        except OSError as error:
            if must:
                raise
            _reporter(listeners)(f"{error}; training goes on, and the older checkpoint stays")

    _tell(listeners, {"event": "start", "directory": str(run.path), **describe_session(session)})
    first_step = position.step
    try:
        seconds = train_loop(session, position, listen, save, evaluated, started)
    except Interrupted as stop:
        raise Interrupted(f"{stop}; nothing is lost, go on with: resnets {recipe.command} --resume {run.path}") from None
    except Diverged as error:
        found = open_black_box(session, error.step)
        if writes:
            write_black_box(run.path, session, found)
        raise error.described(found.summary, run.path) from None
    save(position, True)
    session.before_last_evaluation()
    watcher = session.watch() if recipe.report else None
    result = session.evaluate(watcher)
    order = session.training.order
    epoch, done_in_epoch = order.place(position.step)
    epochs = epoch + done_in_epoch / order.steps_in(epoch)
    evaluated(result, epochs)
    summary = result.summary(session.classes)
    if writes:
        write_model(run.model, summary)
    pace = (position.step - first_step) * order.batch_size / max(seconds, 1e-9)
    metrics = {**summary, "training_seconds": position.seconds, "images_per_second": pace}
    done = {"event": "done", "step": position.step, "epoch": epochs, "time": position.seconds, **metrics}
    if left_out := session.feed.left_out():
        done["left_out"] = left_out
    listen({**done, "directory": str(run.path), "model_path": str(run.model)})
    if watcher is not None:
        session.write_report(run.report, watcher, run.events() if writes else [], describe_environment())
    return Run(run.path, run.model, metrics, session.classes)


def describe_session(session: Session) -> dict[str, Any]:
    """What a person wants to know before the first step."""
    return {
        "network": session.network_name,
        "parameters": sum(p.numel() for p in session.network.parameters()),
        "training_images": len(session.training),
        "evaluated_on": session.feed.evaluated_on,
        "left_out": session.feed.left_out(),
        "steps": session.total_steps,
        "epochs": session.recipe.epochs,
        "device": str(session.device),
        "processes": session.world.size,
        "precision": session.recipe.precision,
    }
