"""A recipe as a model file tells it, which may be given to anybody: folders of the machine that trained are no part of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.reading import SETTINGS_LIMIT, read_file
from ..core.yaml_file import parse_yaml
from .base_recipe import RunRecipe

ELSEWHERE = ".../"
"""Stands for the folders of a path that are not told."""


def published(recipe: RunRecipe) -> dict[str, Any]:
    """The fields of a recipe as plain JSON values; of absolute paths the last name alone."""
    found: dict[str, Any] = _without_folders(recipe.model_dump(mode="json"))
    return found


def recipe_behind(model: Path, stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the recipe that a model file states; with its paths, where the file is still in the folder of its run.

    Args:
        model: the file.
        stated: what its header says.
    """
    if not any(str(value).startswith(ELSEWHERE) for value in stated.values()):
        return stated
    try:
        fields = parse_yaml(read_file(model.parent / "recipe.yaml", limit=SETTINGS_LIMIT).decode("utf-8"))
    except (OSError, ValueError):
        return stated  # the file has left its run
    if not isinstance(fields, dict):
        return stated
    told = _without_folders(fields)
    same = all(told.get(name) == value for name, value in stated.items() if name not in ("output", "threads"))
    return fields if same else stated


def known_place(data: str, model: Path) -> str:
    """What a model was trained on, if it can be found from here.

    Raises:
        UserError: only its name is told.
    """
    if data.startswith(ELSEWHERE):
        name = data.removeprefix(ELSEWHERE)
        raise UserError(f"{model} was trained on {name!r} and does not tell in which folder; name it with --data")
    return data


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    if isinstance(value, str) and (os.path.isabs(value) or value.startswith("~")):
        return ELSEWHERE + os.path.basename(value.rstrip(os.sep))
    return value
