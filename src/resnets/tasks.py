"""The tasks, and which of them is meant: by a recipe, a user's data or a model file. Importing this module loads no torch.

run = resnets.train("photos", epochs=5)          # as `resnets train photos --epochs 5`
run = resnets.train("fashion-scenes-c4")         # a detector, by the name of its recipe
run = resnets.tasks.resume("runs/photos-1")
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .classification.task import CLASSIFICATION
from .core.environment import keep_large_buffers
from .core.errors import UserError
from .core.reading import SETTINGS_LIMIT, read_file
from .core.yaml_file import parse_yaml
from .data.datasets.user_data import is_path
from .detection.task import DETECTION
from .segmentation.task import SEGMENTATION
from .training.base_recipe import HEADER, RunRecipe, read_run_recipe
from .training.task import Task

if TYPE_CHECKING:
    import torch

    from .training.choices import Reason
    from .training.distributed import World
    from .training.loop import Listener
    from .training.prove import Proof
    from .training.run import Run

__all__ = [
    "CLASSIFICATION",
    "DETECTION",
    "SEGMENTATION",
    "load_model",
    "named_recipe",
    "open_session",
    "prove",
    "read_recipe",
    "recipe_for",
    "resume",
    "task_named",
    "task_of",
    "task_of_data",
    "task_of_model",
    "task_of_recipe_file",
    "train",
]  # fmt: skip
AnyTask = Task[Any, Any]
"""A task, whichever."""
TASKS: tuple[AnyTask, ...] = (CLASSIFICATION, DETECTION, SEGMENTATION)
NAMES = tuple(task.name for task in TASKS)


def task_named(name: str) -> AnyTask:
    """The task of a name, which may also be that of its models: detection, detector.

    Raises:
        ValueError: there is none.
    """
    found = next((task for task in TASKS if name in (task.name, task.model)), None)
    if found is None:
        raise UserError(f"there is no task {name!r}; it is one of {', '.join(NAMES)}")
    return found


def task_of(recipe: RunRecipe) -> AnyTask:
    """The task that takes such a recipe."""
    return next(task for task in TASKS if isinstance(recipe, task.recipe))


def task_of_data(data: str) -> tuple[AnyTask, str]:
    """The task that a user's data is for, and why: the layout with the most in it wins, boxes before masks."""
    for task in (DETECTION, SEGMENTATION, CLASSIFICATION):
        if (reason := task.recognizes(data)) is not None:
            return task, reason
    raise AssertionError("classification takes what no other task does")


def task_of_model(path: Path) -> AnyTask:
    """The task of a model file of ours.

    Raises:
        ValueError: it is no model file.
        OSError: it cannot be read.
    """
    from .weights.model_file import read_header

    return task_named(read_header(path).get("kind", CLASSIFICATION.model))


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> Any:
    """The network of a run directory or a model file, whatever its task: a `Network`, `Detector` or `Segmenter` in evaluation mode,
    with `.classes` and `.spec`.

    Raises:
        ValueError: there is no finished run, or no model file of ours.
        OSError: it cannot be read.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.safetensors"
        if not file.is_file():
            raise UserError(f"the folder {path} holds no model.safetensors; is its run finished? resnets train --resume {path}")
    return task_of_model(file).load(file, device)


def task_of_recipe_file(path: Path) -> AnyTask:
    """The task of a recipe's file, by its first line, or by its fields where somebody wrote it by hand.

    Raises:
        ValueError: it is no recipe of any task.
        OSError: it cannot be read.
    """
    text = read_file(path, limit=SETTINGS_LIMIT).decode("utf-8", errors="replace")
    if text.startswith(HEADER):
        command = text.partition("\n")[0].removeprefix(HEADER).strip()
        for task in TASKS:
            if task.recipe.command == command:
                return task
        raise UserError(f"{path} is not a recipe of `resnets train`: it was written for `resnets {command}`")
    fields = parse_yaml(text)
    if isinstance(fields, dict):
        for task in TASKS:
            if fields.keys() <= task.recipe.model_fields.keys():
                return task
    return CLASSIFICATION  # whose reader says what is wrong


def read_recipe(path: Path) -> RunRecipe:
    """The recipe in a YAML file, of whatever task; raises as `training.base_recipe.read_run_recipe` does."""
    recipe: RunRecipe = read_run_recipe(path, task_of_recipe_file(path).recipe)
    return recipe


def named_recipe(name: str, task: AnyTask | None = None) -> RunRecipe:
    """A named recipe of a task, or of any.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    recipes = {name: recipe for each in TASKS if task in (None, each) for name, recipe in each.recipes.items()}
    if name not in recipes:
        elsewhere = next((each for each in TASKS if name in each.recipes), None)
        if task is not None and elsewhere is not None:
            raise UserError(
                f"{name!r} is a recipe of {elsewhere.name}, not of {task.name}; leave --task off, or use `resnets train`"
            )
        near = difflib.get_close_matches(name, recipes, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(recipes)}."
        raise UserError(f"there is no recipe named {name!r}; {hint}")
    found: RunRecipe = recipes[name]
    return found


def recipe_for(
    what: str, given: Mapping[str, object], task: AnyTask | None = None
) -> tuple[RunRecipe, tuple[Reason, ...], tuple[AnyTask, str]]:
    """The recipe that a name or a user's data stands for, with the user's values; why what was chosen; and which task, and why.

    Args:
        what: a recipe's name, or a user's data (a folder, a CSV, shards).
        given: the user's values by dotted name of the recipe's field.
        task: overrules what the data looks like.

    Raises:
        ValueError: there is no such recipe or data, or both; or the values do not fit.
        OSError: the data cannot be read.
    """
    named = any(what in each.recipes for each in TASKS)
    if named or not is_path(what):
        recipe = named_recipe(what, task)
        values = {name.replace(".", "__"): value for name, value in given.items()}
        return recipe.updated(**values), (), (task_of(recipe), f"the recipe {what}")
    chosen, reason = task_of_data(what) if task is None else (task, "you chose it")
    made, reasons = chosen.recipe_for_data(what, given)
    return made, reasons, (chosen, reason)


def train(
    what: RunRecipe | str | Path,
    listeners: Iterable[Listener] | None = None,
    *,
    task: str | None = None,
    **options: object,
) -> Run:
    """Trains as `resnets train` does, and shows progress on a terminal or in a notebook.

    Args:
        what: a recipe; the name of one; or your own data: a folder, a CSV, shards.
        listeners: each gets every event of the run; None for one that shows them on standard error.
        task: classification, detection or segmentation; None for what the recipe or the data says.
        options: fields of the recipe, nested ones as optimizer__learning_rate=0.1 or optimizer={"learning_rate": 0.1}.

    Raises:
        ValueError: there is no such recipe or data, or the options do not fit.
        OSError: data or run directory cannot be read or written.
        JobError: the disk did not take what the run made, its loss is no longer finite, or a signal stopped it.
    """
    from .reports.progress import TrainingProgress
    from .training.run import train as carry_out

    chosen = None if task is None else task_named(task)
    shown = TrainingProgress() if listeners is None else None
    heard: Iterable[Listener] = (shown,) if shown is not None else (listeners or ())
    if isinstance(what, RunRecipe):
        recipe = what.updated(**options)
    else:
        recipe, reasons, why = recipe_for(str(what), _dotted(options), chosen)
        if shown is not None and reasons:
            shown.choices(reasons, why)
        elif shown is not None:
            shown.why = f"{why[0].name} ({why[1]})"
    keep_large_buffers()
    with shown or nullcontext():
        return carry_out(task_of(recipe), recipe, heard)


def _dotted(options: Mapping[str, object]) -> dict[str, object]:
    """Nested options by dotted name: {"optimizer": {"name": "sgd"}} and {"optimizer__name": "sgd"} as {"optimizer.name": "sgd"}."""
    flat: dict[str, object] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{below}": each for below, each in _dotted(value).items()}
        else:
            flat[name.replace("__", ".")] = value
    return flat


def resume(directory: str | Path, listeners: Iterable[Listener] = (), *, changed_data: bool = False) -> Run:
    """Goes on with a run, of whatever task; see `training.run.resume`."""
    from .training.run import resume as go_on

    return go_on(_task_of_run(Path(directory)), Path(directory), listeners, changed_data=changed_data)


def _task_of_run(directory: Path) -> AnyTask:
    from .training.run_directory import RunDirectory

    run = RunDirectory(directory)
    return task_of_recipe_file(run.recipe) if run.recipe.is_file() else CLASSIFICATION  # which says that there is none


def prove(directory: str | Path, steps: int, report: Callable[[str], None]) -> Proof:
    """Proves that a run, of whatever task, resumes exactly; see `training.prove.prove`."""
    from .training.prove import prove as compare

    return compare(_task_of_run(Path(directory)), Path(directory), steps, report)


def open_session(recipe: RunRecipe, report: Callable[[str], None], world: World | None = None) -> Any:
    """The session of a recipe, of whatever task; see `training.session.open_session`."""
    from .training.distributed import ALONE
    from .training.session import open_session as opened

    return opened(task_of(recipe), recipe, report, ALONE if world is None else world)
