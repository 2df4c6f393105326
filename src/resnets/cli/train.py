"""resnets train: a recipe, carried out before your eyes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..data.own import is_path
from ..reports.tables import confusion_rows, duration, percent, print_table, table
from ..training.data_defaults import shown
from ..training.environment import keep_large_buffers
from ..training.recipe import Recipe, read_recipe
from ..training.recipes import RECIPES, get_recipe
from . import resume as resume_checks
from .options import messages, parse_model, print_json, results
from .progress import TrainingProgress

_DESCRIPTION = """\
Train a network. RECIPE is one of {names}; every field of it is an option below.

  resnets train RECIPE [OPTIONS]
  resnets train FOLDER [OPTIONS]            your own pictures, in FOLDER/train/CLASS and FOLDER/val/CLASS, or FOLDER/CLASS; or a CSV of
                                            path,label[,split], .tar or .parquet shards, hf:OWNER/NAME
  resnets train --recipe FILE [OPTIONS]     repeat a saved run, such as runs/NAME-1/recipe.yaml
  resnets train --resume RUN                go on with a stopped run, exactly
  resnets train --resume RUN --prove [K]    compare the next K steps with a path that was never interrupted, bit for bit
  resnets train --resume RUN --replay       see again, layer by layer, the step at which the run diverged
  --json                                    one object a logged line on standard output
"""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--json"]
    resumed, arguments = take("--resume", arguments)
    if resumed is not None:
        if resume_checks.asked(arguments):
            return resume_checks.run(Path(resumed), arguments, as_json=as_json)
        if arguments:
            raise ValueError(
                f"--resume goes on with the run as it was and takes no other options but --prove and --replay, but got {' '.join(arguments)}"
            )
        recipe = None
    else:
        recipe = parse_recipe(arguments, "train", _DESCRIPTION)
    keep_large_buffers()
    from ..training.run import resume, train

    progress = TrainingProgress(messages())
    listeners = (progress, _print_event) if as_json else (progress,)
    with progress:
        done = train(recipe, listeners) if recipe is not None else resume(Path(resumed or ""), listeners)
    if not as_json and speaks():
        _print_results(done)
    return 0


def parse_recipe(arguments: list[str], command: str, description: str) -> Recipe:
    """The recipe that the arguments of a command name and change; `description` may hold {names} of recipes.

    Raises:
        ValueError: they name none, or an option that does not exist or fit.
    """
    description = description.format(names=", ".join(RECIPES))
    if arguments and not arguments[0].startswith("-") and arguments[0] not in RECIPES and is_path(arguments[0]):
        return _own_recipe(arguments, command, description)
    start, arguments = _starting_recipe(arguments)
    weights, arguments = take("--weights", arguments)
    if weights is not None:
        start = start.updated(weights=weights)  # which bring their network, unless --network follows
    return parse_model(start, arguments, command, description)


def _own_recipe(arguments: list[str], command: str, description: str) -> Recipe:
    """The recipe for a user's own pictures, which a folder or file in the place of a recipe's name means; says what was chosen."""
    from ..training.first_recipe import first_recipe

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


def speaks() -> bool:
    """Whether this is the one process that speaks, where torchrun has started several."""
    return os.environ.get("RANK", "0") == "0"


def take(option: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of an option that is no field of the recipe, and the other arguments."""
    for i, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2], arguments[:i] + arguments[i + 1 :]
        if argument == option:
            if i + 1 == len(arguments):
                raise ValueError(f"{option} needs a path behind it")
            return arguments[i + 1], arguments[:i] + arguments[i + 2 :]
    return None, arguments


def _starting_recipe(arguments: list[str]) -> tuple[Recipe, list[str]]:
    """The recipe that the options change: a named one, or one from a file."""
    file, arguments = take("--recipe", arguments)
    if file is not None:
        # A repeated run gets a directory of its own.
        return read_recipe(Path(file)).updated(output=None), arguments
    if arguments and not arguments[0].startswith("-"):
        return get_recipe(arguments[0]), arguments[1:]
    if "-h" in arguments or "--help" in arguments:
        return Recipe(), arguments
    raise ValueError(f"name what to train: resnets train {' | '.join(RECIPES)}, or a FOLDER, or --recipe FILE, or --resume RUN")


def _print_event(event: dict[str, Any]) -> None:
    if event["event"] != "progress":
        print_json(event)


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
