"""resnets train: a recipe, carried out before your eyes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..classification.recipe import Recipe
from ..classification.recipes import RECIPES
from ..reports.tables import confusion_rows, duration, percent, print_table, table
from ..training.choices import Reason
from .options import results
from .run_command import RunCommand

_DESCRIPTION = """\
Train a network. RECIPE is one of {names}; every field of it is an option below.

  resnets train RECIPE [OPTIONS]
  resnets train FOLDER [OPTIONS]            your own pictures, in FOLDER/train/CLASS and FOLDER/val/CLASS, or FOLDER/CLASS; or a CSV of
                                            path,label[,split], .tar or .parquet shards, hf:OWNER/NAME
  resnets train --recipe FILE [OPTIONS]     repeat a saved run, such as runs/NAME-1/recipe.yaml
  resnets train --resume RUN                go on with a stopped run, exactly
  resnets train --resume RUN --changed-data the same, though the data is no longer what it was
  resnets train --resume RUN --prove [K]    compare the next K steps with a path that was never interrupted, bit for bit
  resnets train --resume RUN --replay       see again, layer by layer, the step at which the run diverged
  --processes N                             so many processes on this machine, each with its part of every batch
  --json                                    one object a logged line on standard output
"""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    return TRAIN.run(arguments)


def _own(data: str, given: Mapping[str, Any]) -> tuple[Recipe, tuple[Reason, ...]]:
    from ..classification.recipe_for_data import recipe_for_data

    return recipe_for_data(data, given)


def _print_results(done: Any) -> None:
    console, metrics = results(), done.metrics
    rows = [
        (row["label"], f"{row['num_images']:,}", percent(row["accuracy"]), percent(row["precision"]))
        for row in metrics["per_class"]
    ]
    if len(rows) <= 40:
        print_table(console, table("Classes", ("class", "pictures", "accuracy", "precision"), rows))
    if len(rows) <= 12:
        columns = ("is \\ taken for", *(str(c) for c in done.classes))
        print_table(console, table("What was taken for what", columns, confusion_rows(metrics["confusion"], done.classes)))
    console.print(f"test accuracy   {percent(metrics['top1'])} of {metrics['num_images']:,} pictures, loss {metrics['loss']:.4f}")
    console.print(f"training time   {duration(metrics['training_seconds'])}, {metrics['images_per_second']:,.0f} images/s")
    console.print(f"model           {done.model_path}", soft_wrap=True)
    console.print(f"report          {done.directory / 'report.html'}", soft_wrap=True)
    console.print(f"use it          resnets predict {done.model_path} PICTURE...", soft_wrap=True)


TRAIN = RunCommand(Recipe, RECIPES, _DESCRIPTION, _print_results, _own)
