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
    """The fields of a recipe as plain JSON values; of paths the last name alone.

    A relative path is told from a name such as "hf:owner/name" by what is there.
    """
    found: dict[str, Any] = _without_folders(recipe.model_dump(mode="json"))
    return found


def recipe_behind(model: Path, stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the recipe that a model file states; with its paths, where the file is still in the folder of its run.

    Args:
        model: the file.
        stated: what its header says.
    """
    if not any(ELSEWHERE in str(value) for value in stated.values()):
        return stated
    try:
        fields = parse_yaml(read_file(model.parent / "recipe.yaml", limit=SETTINGS_LIMIT).decode("utf-8"))
    except (OSError, ValueError):
        return stated  # the file has left its run
    if not isinstance(fields, dict):
        return stated
    same = all(_tells(value, fields.get(name)) for name, value in stated.items() if name not in ("output", "threads"))
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
    if isinstance(value, str) and (os.path.isabs(value) or value.startswith("~") or (os.sep in value and os.path.exists(value))):
        return _last_name(value)
    return value


def _last_name(path: str) -> str:
    return ELSEWHERE + os.path.basename(path.rstrip(os.sep))


def _tells(stated: Any, value: Any) -> bool:
    """Whether a value of a header is what `published` made of a recipe's value, wherever that was."""
    if isinstance(stated, dict) and isinstance(value, dict):
        return stated.keys() == value.keys() and all(_tells(stated[name], value[name]) for name in stated)
    if isinstance(stated, list) and isinstance(value, list):
        return len(stated) == len(value) and all(map(_tells, stated, value))
    return bool(stated == value or (isinstance(value, str) and stated == _last_name(value)))
