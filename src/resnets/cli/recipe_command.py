"""Commands that begin with a recipe: its words, the task that they mean, and the recipe that they name and change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

import tyro

from ..core.errors import UserError
from ..data.datasets.user_data import is_path
from ..reports.progress import TrainingProgress
from ..tasks import (
    CLASSIFICATION,
    TASKS,
    AnyTask,
    named_recipe,
    read_recipe,
    recipe_for,
    task_named,
    task_of,
    task_of_data,
    task_of_recipe_file,
)
from .help import print_all, print_short
from .options import Options, field_names, field_values, messages, twin, typed
from .words import HELP, HELP_ALL, Option, Words, options_of, scan

if TYPE_CHECKING:
    from ..training.base_recipe import RunRecipe

TRAIN = """\
Train a network: {does}. WHAT is your own data, or a recipe.

  resnets {command} photos                      your own images: {data}
  resnets {command} {example:<27} one of {names}
  resnets {command} --recipe FILE               repeat a saved run, such as runs/NAME-1/recipe.yaml
  resnets {command} --resume RUN                go on with a stopped run, exactly"""
_DATA = {
    "classification": "a folder of CLASS/IMAGE or train/CLASS and val/CLASS, a CSV of path,label, shards, hf:OWNER/NAME",
    "detection": "in VOC's or COCO's layout",
    "segmentation": "with masks, in VOC's or COCO's layout",
}
COMMON: Mapping[str, tuple[str, ...]] = {
    "training": ("epochs", "batch-size", "optimizer.learning-rate", "seed"),
    "network": ("network", "detector", "segmenter", "weights", "image-size"),
    "machine": ("precision", "device", "workers", "processes"),
    "run": ("output", "task", "resume", "low", "high", "steps", "share", "most", "plot", "json"),
}
"""What people use, by group; `--help` shows these, `--help-all` all."""


@dataclass
class RecipeOptions:
    """What names a recipe, besides its fields."""

    what: tyro.conf.Positional[str | None] = None
    """Your own data (a folder, a CSV, shards), or a recipe by name."""
    recipe: Path | None = None
    """A saved recipe to repeat, such as runs/NAME-1/recipe.yaml."""
    task: Literal["classification", "detection", "segmentation"] | None = None
    """classification, detection or segmentation, in the place of what the data looks like."""
    json: bool = False
    """One object per line on standard output."""


@dataclass(frozen=True)
class RecipeCommand(Generic[Options]):
    """A command with options of its own, a subclass of `RecipeOptions`, and every field of the recipe that it begins with.

    With `task` it is for that task alone.
    """

    name: str
    options: type[Options]
    about: str
    """For its help, with {command}, {does}, {data}, {example} and {names}."""
    task: AnyTask | None = None

    @property
    def tasks(self) -> tuple[AnyTask, ...]:
        """Those that it may train."""
        return TASKS if self.task is None else (self.task,)

    def leaves(self) -> Mapping[str, Sequence[Option]]:
        """Its options: its own, and every field of every recipe that it may take."""
        return {self.name: tuple(self._table().values())}

    def _table(self) -> dict[str, Option]:
        table = {option.name: option for option in options_of(self.options)}
        for task in self.tasks:
            table = {**{option.name: option for option in options_of(twin(task.recipe()))}, **table}
        return table

    def scanned(self, arguments: Sequence[str]) -> tuple[Words, AnyTask | None]:
        """The words, and the task that they state. Help is printed and ends with SystemExit(0).

        Raises:
            ValueError: an option that no recipe has; the message names the nearest.
        """
        words = scan(arguments, list(self._table().values()), self.name)
        task = self._given_task(words)
        if HELP in words.options or HELP_ALL in words.options:
            self._help(words, task)
            raise SystemExit(0)
        return words, task

    def _given_task(self, words: Words) -> AnyTask | None:
        typed_task = words.options.get("task")
        if not typed_task:
            return self.task
        task = task_named(typed_task[0])
        if self.task not in (None, task):
            raise UserError(
                f"resnets {self.name} is for {self.task.name if self.task else ''}; use resnets train --task {task.name}"
            )
        return task

    def begin(self, words: Words, task: AnyTask | None) -> tuple[RunRecipe, Options, str]:
        """The recipe that the words name and change, the command's own options, and why it is this task.

        Raises:
            ValueError: they name none, or an option that does not exist or fit.
        """
        file, what = words.options.get("recipe"), words.positional[0] if words.positional else None
        if file is not None:
            if what is not None:
                raise UserError(f"--recipe names what to train, and so does {what!r}; leave one out")
            kind = task_of_recipe_file(Path(file[0]))
            if task not in (None, kind):
                start = read_recipe(Path(file[0]))  # what is no recipe at all says so first
                raise UserError(f"{file[0]} was written for `resnets {start.command}`; use that command")
            # A repeated run gets a directory of its own.
            start = read_recipe(Path(file[0])).updated(output=None)
            options, values = self.values(start, words)
            return start.updated(**_nested(values)), options, f"the recipe {file[0]}"
        if what is None and "data" in words.options and is_path(words.options["data"][0]):
            what = words.options.pop("data")[0]  # people name their folder so, too
        if what is None:
            examples = " | ".join(name for each in self.tasks for name in list(each.recipes)[: 4 if self.task is None else None])
            raise UserError(f"name what to train: resnets {self.name} {examples}, or a FOLDER, or --recipe FILE, or --resume RUN")
        named = any(what in each.recipes for each in TASKS)
        if named and Path(what).is_dir():
            raise UserError(f"{what!r} is a recipe and a folder here; write ./{what} for the folder, or rename it")
        if named or not is_path(what):
            start = named_recipe(what, task)
        else:
            start = (task or task_of_data(what)[0]).recipe()
        options, values = self.values(start, words)
        recipe, reasons, why = recipe_for(what, values, task)
        if reasons:
            TrainingProgress(messages()).choices(reasons, why)
        return recipe, options, "" if reasons else why[1]

    def values(self, start: RunRecipe, words: Words) -> tuple[Options, dict[str, Any]]:
        """The command's own options, and the values that were typed for the recipe's fields.

        Raises:
            ValueError: a field that recipes of this task do not have, or a value of another type.
        """
        kind = twin(start, self.options)
        names = field_names(start)
        known = {option.name for option in options_of(kind)}
        task = task_of(start)
        words.rename(known)
        for name in words.options:
            if name not in known:
                having = next(each for each in TASKS if name in {option.name for option in options_of(twin(each.recipe()))})
                raise UserError(
                    f"--{name} is an option of {having.name}, but this is {task.name}; leave it off, or say --task {having.name}"
                )
        filled = typed(kind, words, self.name, "", list(options_of(kind)), pairs=True)
        return filled, field_values(filled, words.fields & names)

    def _help(self, words: Words, task: AnyTask | None) -> None:
        if task is None and words.positional:
            what = words.positional[0]
            task = next((each for each in TASKS if what in each.recipes), None) or (
                task_of_data(what)[0] if is_path(what) else None
            )
        shown = task or CLASSIFICATION
        recipe = shown.recipes.get(words.positional[0]) if words.positional else None
        start = recipe or shown.recipe()
        does = shown.does if task is not None else "name what is on images, find objects, or name a class for every pixel"
        everything = HELP_ALL in words.options or task is not None
        listed = [list(each.recipes)[: None if everything else 1] for each in ((task,) if task else self.tasks)]
        names = ", ".join(name for names in listed for name in names) + ("" if everything else ", ... (--help-all lists all)")
        about = self.about.format(
            command=self.name, does=does, names=names, data=_DATA[shown.name], example=next(iter(shown.recipes)),
        )  # fmt: skip
        kind = twin(start, self.options)
        if HELP_ALL in words.options:
            print_all(options_of(kind), self.name, about)
        else:
            print_short(options_of(kind), self.name, about, COMMON)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace(".", "__"): value for name, value in values.items()}
