"""A run: a recipe carried out in a directory that holds everything about it.

recipe.yaml        all fields; `resnets train --recipe recipe.yaml` repeats the run
metrics.jsonl      one object a line, with step, epoch and time
checkpoint.pt      everything needed to go on
model.safetensors  the network at the end, with classes and preprocessing
best.safetensors   the network at its best evaluation
report.html        curves, tables and environment on one page
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ..files import write_atomically
from ..weights.model_file import ModelDescription, save_model
from .checkpoint import Position, load_checkpoint, save_checkpoint
from .environment import describe_environment
from .evaluate import EvaluationResult
from .loop import Interrupted, Listener, evaluate_session, train_loop
from .recipe import Recipe, read_recipe
from .session import Session, open_session


@dataclass(frozen=True)
class Run:
    """A finished run."""

    directory: Path
    model_path: Path
    metrics: dict[str, Any]
    """top1, top5, loss, num_images, per_class, confusion, training_seconds, images_per_second."""
    classes: tuple[str, ...]


class RunDirectory:
    """The files of one run; every file but metrics.jsonl is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe, self.metrics = path / "recipe.yaml", path / "metrics.jsonl"
        self.checkpoint, self.report = path / "checkpoint.pt", path / "report.html"
        self.model, self.best = path / "model.safetensors", path / "best.safetensors"

    @classmethod
    def create(cls, recipe: Recipe) -> RunDirectory:
        """A new directory with its recipe: the one that the recipe names, or the next free runs/NAME-k.

        Raises:
            ValueError: the directory holds a run already.
            OSError: it cannot be made or written to; a directory made here is taken away again.
        """
        path = recipe.output or next(free for k in count(1) if not (free := Path("runs") / f"{recipe.name}-{k}").exists())
        run = cls(path)
        if run.recipe.exists():
            raise ValueError(f"{path} holds a run already; name another --output, or go on with it: resnets train --resume {path}")
        existed = path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomically(run.recipe, recipe.updated(output=path).to_yaml())
        except OSError as error:
            if not existed and path.is_dir():
                path.rmdir()
            raise type(error)(error.errno, f"cannot make the run directory {path}: {error.strerror or error}") from None
        return run

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
        write_atomically(self.metrics, "".join(json.dumps(event) + "\n" for event in kept))

    def log(self, event: dict[str, Any]) -> None:
        """Appends one line."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def train(recipe: Recipe, listeners: Iterable[Listener] = ()) -> Run:
    """Carries out `recipe` in a new run directory.

    Raises:
        ValueError: the recipe asks for what cannot be had.
        OSError: data or run directory cannot be read or written.
        Diverged: the loss is no longer finite.
        Interrupted: a signal stopped the run; its message says how to go on.
    """
    started = time.perf_counter()
    listeners = tuple(listeners)
    session = open_session(recipe, lambda message: _tell(listeners, {"event": "message", "message": message}))
    return _carry_out(session, RunDirectory.create(recipe), Position(), listeners, started)


def resume(directory: Path, listeners: Iterable[Listener] = ()) -> Run:
    """Goes on with the run in `directory` from its checkpoint, exactly as if it had not stopped; raises as `train` does."""
    started = time.perf_counter()
    listeners, run = tuple(listeners), RunDirectory(Path(directory))
    if not run.recipe.is_file():
        raise ValueError(f"{directory} is no run directory: it holds no recipe.yaml")
    recipe = read_recipe(run.recipe).updated(output=run.path)
    session = open_session(recipe, lambda message: _tell(listeners, {"event": "message", "message": message}))
    position = load_checkpoint(run.checkpoint, session)
    run.rewind(position.step)
    _tell(listeners, {"event": "message", "message": f"going on behind step {position.step:,} of {session.total_steps:,}"})
    return _carry_out(session, run, position, listeners, started - position.seconds)


def _tell(listeners: Iterable[Listener], event: dict[str, Any]) -> None:
    for listen in listeners:
        listen(event)


def _carry_out(session: Session, run: RunDirectory, position: Position, listeners: tuple[Listener, ...], started: float) -> Run:
    recipe = session.recipe

    def listen(event: dict[str, Any]) -> None:
        if event["event"] not in ("progress", "message"):
            run.log(event)
        _tell(listeners, event)

    def write_model(path: Path, metrics: dict[str, Any]) -> None:
        provenance = {"network": recipe.network, "recipe": recipe.model_dump(mode="json"), "environment": describe_environment()}
        measured = {**metrics, "measured_on": session.feed.evaluated_on}
        save_model(
            session.evaluated, path, ModelDescription(session.spec, session.classes, session.preprocessing, measured, provenance)
        )

    def evaluated(result: EvaluationResult, epoch: float) -> None:
        summary = result.summary(session.classes)
        where = {"step": position.step, "epoch": epoch, "time": position.seconds}
        listen({"event": "evaluation", **where, **{key: summary[key] for key in ("top1", "top5", "loss", "num_images")}})
        if position.best_top1 is None or result.top1 > position.best_top1:
            position.best_top1 = result.top1
            write_model(run.best, summary)

    _tell(listeners, {"event": "start", "directory": str(run.path), **describe_session(session)})
    first_step = position.step
    try:
        seconds = train_loop(session, position, listen, lambda at: save_checkpoint(run.checkpoint, session, at), evaluated, started)
    except Interrupted as stop:
        raise Interrupted(f"{stop}; nothing is lost, go on with: resnets train --resume {run.path}") from None
    save_checkpoint(run.checkpoint, session, position)
    result = evaluate_session(session)
    order = session.training.order
    epoch, done_in_epoch = order.place(position.step)
    epochs = epoch + done_in_epoch / order.steps_in(epoch)
    evaluated(result, epochs)
    summary = result.summary(session.classes)
    write_model(run.model, summary)
    pace = (position.step - first_step) * order.batch_size / max(seconds, 1e-9)
    metrics = {**summary, "training_seconds": position.seconds, "images_per_second": pace}
    done = {"event": "done", "step": position.step, "epoch": epochs, "time": position.seconds, **metrics}
    run.log({**done, "directory": str(run.path), "model_path": str(run.model)})
    if recipe.report:
        from ..reports.run_report import write_report  # matplotlib is imported for this alone, behind the training

        write_report(run.report, recipe, run.events(), session.classes, describe_environment())
    _tell(listeners, {**done, "directory": str(run.path), "model_path": str(run.model)})
    return Run(run.path, run.model, metrics, session.classes)


def describe_session(session: Session) -> dict[str, Any]:
    """What a person wants to know before the first step."""
    return {
        "network": session.recipe.network,
        "parameters": sum(p.numel() for p in session.network.parameters()),
        "training_images": len(session.training),
        "evaluated_on": session.feed.evaluated_on,
        "steps": session.total_steps,
        "epochs": session.recipe.epochs,
        "device": str(session.device),
        "precision": session.recipe.precision,
    }
