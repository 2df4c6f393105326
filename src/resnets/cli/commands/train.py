"""resnets train: a recipe, carried out before your eyes; of whatever task, as the recipe or the data says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ...core.environment import keep_large_buffers
from ...core.errors import UserError
from ...reports.progress import TrainingProgress
from ...reports.tables import duration
from ...tasks import CLASSIFICATION, AnyTask, task_of, task_of_recipe_file
from .. import processes
from .. import resume as resume_checks
from ..measures import print_measures
from ..options import messages, print_json, results, typed
from ..recipe_command import TRAIN, RecipeCommand, RecipeOptions
from ..words import Otherwise, Words, options_of

if TYPE_CHECKING:
    from ...training.base_recipe import RunRecipe
    from ...training.run import Run


@dataclass
class TrainOptions(RecipeOptions):
    """What `resnets train` takes besides a recipe's fields."""

    resume: Path | None = None
    """A run directory to go on with, exactly."""
    changed_data: bool = False
    """With --resume: go on although the data is no longer what it was."""
    prove: Annotated[int | None, Otherwise(str(resume_checks.DEFAULT_STEPS))] = None
    """With --resume: compare so many next steps with a path that was never interrupted, bit for bit; alone: 10."""
    replay: bool = False
    """With --resume: see again, layer by layer, the step at which the run diverged."""
    processes: int = 1
    """Processes on this machine, each with its part of every batch."""


_RESUMING = {"resume", "changed-data", "prove", "replay", "json", "processes", "task"}


@dataclass(frozen=True)
class TrainCommand(RecipeCommand[TrainOptions]):
    """`resnets train`, or the same with the task given."""

    def run(self, arguments: Sequence[str]) -> int:
        """Carries out the command."""
        words, task = self.scanned(arguments)
        if "resume" in words.options:
            return self._resume(words, task)
        for option in ("changed-data", "prove", "replay"):
            if option in words.options:
                raise UserError(f"--{option} goes with --resume RUN")
        recipe, options, why = self.begin(words, task)
        return self._carry_out(recipe, options, words, why)

    def _carry_out(self, recipe: RunRecipe, options: TrainOptions, words: Words, why: str) -> int:
        if options.processes > 1:
            return processes.carry_out([*self.name.split(), *words.line(without=("processes",))], options.processes)
        if options.processes < 1:
            raise UserError(f"--processes takes their number, 1 or more, not {options.processes}")
        keep_large_buffers()
        from ...training.run import train

        with TrainingProgress(messages()) as progress:
            progress.why = f"{task_of(recipe).name} ({why})" if why else ""
            done = train(task_of(recipe), recipe, (progress, print_event) if options.json else (progress,))
        self._finish(done, task_of(recipe), options)
        return 0

    def _resume(self, words: Words, task: AnyTask | None) -> int:
        others = [name for name in words.options if name not in _RESUMING]
        if others or words.positional:
            extra = " ".join([*words.positional, *(f"--{name}" for name in others)])
            raise UserError(
                "--resume goes on with the run as it was and takes no other options but --changed-data, --prove, --replay, --processes "
                f"and --json, but got {extra}"
            )
        options = typed(TrainOptions, words, self.name, "", list(options_of(TrainOptions)), pairs=True)
        assert options.resume is not None
        run = options.resume
        found = task_of_recipe_file(run / "recipe.yaml") if (run / "recipe.yaml").is_file() else self.task or CLASSIFICATION
        if task not in (None, found):
            raise UserError(f"{run} is a run of `resnets {found.recipe.command}`; use that command")
        if options.prove is not None or options.replay:
            if options.processes > 1:
                raise UserError("--prove and --replay compare one process with itself; leave --processes off")
            if options.prove is not None and options.prove < 1:
                raise UserError(
                    f"--prove takes a number of steps after it, such as --prove {resume_checks.DEFAULT_STEPS}, not {options.prove}"
                )
            return resume_checks.run(found, run, options.prove, as_json=options.json)
        if options.processes > 1:
            return processes.carry_out([*self.name.split(), *words.line(without=("processes",))], options.processes)
        keep_large_buffers()
        from ...training.run import resume

        with TrainingProgress(messages()) as progress:
            listeners = (progress, print_event) if options.json else (progress,)
            done = resume(found, run, listeners, changed_data=options.changed_data)
        self._finish(done, found, options)
        return 0

    def _finish(self, done: Run, task: AnyTask, options: TrainOptions) -> None:
        if options.json or not is_main_process():
            return
        console, metrics = results(), done.metrics
        print_measures(done.result.measures(done.classes), "", most=12)
        speed = metrics["images_per_second"]
        drawn = "" if task is CLASSIFICATION else " --output FOLDER"
        for name, words in (
            ("training time", f"{duration(metrics['training_seconds'])}, {speed:,.{0 if speed >= 100 else 1}f} images/s"),
            ("model", str(done.model_path)),
            ("report", str(done.directory / "report.html")),
            ("use it", f"resnets predict {done.model_path} IMAGE...{drawn}"),
        ):
            console.print(f"{name:<16}{words}", soft_wrap=True, markup=False)


def is_main_process() -> bool:
    """Whether this is the one process that prints, where torchrun has started several."""
    return os.environ.get("RANK", "0") == "0"


def print_event(event: dict[str, Any]) -> None:
    """One object on standard output for each event that is logged."""
    if event["event"] != "progress":
        print_json(event)


def train_command(name: str, task: AnyTask | None = None) -> TrainCommand:
    """`resnets NAME`."""
    return TrainCommand(name, TrainOptions, TRAIN, task)


COMMAND = train_command("train")
