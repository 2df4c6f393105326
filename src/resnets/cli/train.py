"""resnets train: a recipe, carried out before your eyes."""

from __future__ import annotations

from typing import Any

from ..classification.data_defaults import shown
from ..classification.recipe import Recipe
from ..classification.recipes import RECIPES
from ..data.datasets.user_data import is_path
from ..reports.tables import confusion_rows, duration, percent, print_table, table
from .options import messages, parse_model, results
from .run_command import RunCommand, take

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
    return TRAIN.run(arguments, lambda rest: parse_recipe(rest, "train", _DESCRIPTION))


def parse_recipe(arguments: list[str], command: str, description: str) -> Recipe:
    """The recipe that the arguments of a command name and change; `description` may hold {names} of recipes.

    Raises:
        ValueError: they name none, or an option that does not exist or fit.
    """
    description = description.format(names=", ".join(RECIPES))
    if arguments and not arguments[0].startswith("-") and arguments[0] not in RECIPES and is_path(arguments[0]):
        return _own_recipe(arguments, command, description)
    start, arguments = TRAIN.starting_recipe(arguments)
    weights, arguments = take("--weights", arguments)
    if weights is not None:
        start = start.updated(weights=weights)  # which bring their network, unless --network follows
    return parse_model(start, arguments, command, description)


def _own_recipe(arguments: list[str], command: str, description: str) -> Recipe:
    """The recipe for a user's own pictures, which a folder or file in the place of a recipe's name means; says what was chosen."""
    from ..classification.recipe_for_data import first_recipe

    data, arguments = arguments[0], arguments[1:]
    weights, arguments = take("--weights", arguments)
    network, _ = take("--network", arguments)
    device, _ = take("--device", arguments)
    chosen, reasons = first_recipe(data, device=device or "auto", network=network, weights=weights)
    recipe = parse_model(chosen, arguments, command, description)
    console = messages()
    console.print("chosen for these pictures and this machine; each is an option:")
    for reason in reasons:
        before, now = (_value(of, reason.option) for of in (chosen, recipe))
        because = reason.because if before == now else f"you chose it, in place of {reason.value}"
        console.print(f"  {f'--{reason.option} {shown(now)}':<40} {because}", soft_wrap=True, markup=False)
    return recipe


def _value(recipe: Recipe, option: str) -> Any:
    value: Any = recipe
    for part in option.replace("-", "_").split("."):
        value = getattr(value, part)
    return value


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


TRAIN = RunCommand(Recipe, RECIPES, _DESCRIPTION, _print_results)
