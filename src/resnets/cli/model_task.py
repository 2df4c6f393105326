"""The task of the model that a command is given, and whether the options are that task's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..deployment.graph.names import is_exported
from ..tasks import CLASSIFICATION, AnyTask, task_of_model
from .model_path import model_path
from .words import options_of


def opened(model: Path, wanted: AnyTask | None) -> tuple[AnyTask, Path]:
    """The task of a run, a model file or an exported file, and the file.

    Raises:
        ValueError: there is none, or it is of another task than `wanted`.
    """
    path = model if is_exported(model) else model_path(model)
    task: AnyTask = CLASSIFICATION if is_exported(model) else task_of_model(path)
    if wanted not in (None, task):
        raise UserError(
            f"{path} is a {task.model}, not a {wanted.model if wanted else ''}; use it with resnets predict, evaluate and serve"
        )
    return task, path


def refuse_others(options: Any, task: AnyTask, path: Path) -> None:
    """Refuses options of other tasks.

    Raises:
        ValueError: one was given.
    """
    for option in options_of(type(options)):
        given = getattr(options, option.name.replace("-", "_"))
        if option.only and task.name not in option.only and given != option.default:
            raise UserError(f"--{option.name} is for {' and '.join(option.only)}, but {path} is a {task.model}; leave it off")
