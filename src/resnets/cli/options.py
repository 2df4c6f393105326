"""Parsing a command's options through tyro, and output for people or for machines."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Iterator
from functools import reduce
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import BaseModel
from rich.console import Console

from ..core.console import PlainConsole
from ..core.errors import UserError
from ..core.text import harmless, to_json

Options = TypeVar("Options")


def parse(kind: type[Options], arguments: list[str], command: str, description: str) -> Options:
    """The options in `arguments` as an instance of the dataclass `kind`. tyro prints help and badly typed values and exits with 0 or 2.

    Raises:
        ValueError: an unknown option; the message names the nearest.
    """
    options, unknown = tyro.cli(
        kind,
        args=arguments,
        prog=f"resnets {command}",
        description=description,
        config=(tyro.conf.FlagCreatePairsOff,),
        return_unknown_args=True,
    )
    _refuse(unknown, [field.name for field in dataclasses.fields(kind)], command)  # type: ignore[arg-type]
    return options


def given_fields(default: BaseModel, arguments: list[str], command: str, description: str) -> dict[str, Any]:
    """The fields that `arguments` set, by dotted name: every field of `default` is an option, `--optimizer.learning-rate` for a nested one.

    Values have their types, and are not checked any further: that is the model's work, once it is known what the others are.

    Raises:
        ValueError: an unknown option; the message names the nearest.
    """
    # tyro fills a plain twin of the model, so that values are checked once, by the model, in its own words.
    twin = _twin(default)
    options, unknown = tyro.cli(twin, args=arguments, prog=f"resnets {command}", description=description, return_unknown_args=True)
    names = list(_names(default))
    _refuse(unknown, names, command)
    typed = {argument.partition("=")[0][2:].replace("-", "_") for argument in arguments if argument.startswith("--")}
    values = {name: reduce(getattr, name.split("."), options) for name in names}
    return {name: value for name, value in values.items() if not typed.isdisjoint((name, _negated(name)))}


def _negated(name: str) -> str:
    """The name of the option that switches a field off: evaluation.flips -> evaluation.no_flips."""
    path, dot, field = name.rpartition(".")
    return f"{path}{dot}no_{field}"


def _twin(values: BaseModel) -> type[Any]:
    fields: list[tuple[str, Any, Any]] = []
    for name, info in type(values).model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            nested = _twin(value)
            fields.append((name, nested, dataclasses.field(default_factory=nested)))
        else:
            documented = Annotated[info.annotation, tyro.conf.arg(help=info.description)]  # type: ignore[name-defined]
            fields.append((name, documented, dataclasses.field(default=value)))
    return dataclasses.make_dataclass(type(values).__name__, fields)


def _names(values: BaseModel, prefix: str = "") -> Iterator[str]:
    for name in type(values).model_fields:
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _refuse(unknown: list[str], names: list[str], command: str) -> None:
    """Raises for the first unknown argument, with the nearest option, compared in full and by its last part."""
    if not unknown:
        return
    if not unknown[0].startswith("-"):
        raise UserError(f"resnets {command} does not know what to do with {unknown[0]!r}; resnets {command} --help")
    wrong = unknown[0].partition("=")[0].lstrip("-").replace("_", "-")
    right = {name.replace("_", "-"): name.replace("_", "-") for name in names}
    right |= {name.rpartition(".")[2]: name for name in right}
    near = difflib.get_close_matches(wrong, right, n=1, cutoff=0.5)
    hint = f"did you mean --{right[near[0]]}?" if near else f"resnets {command} --help lists them."
    raise UserError(f"resnets {command} has no option --{wrong}; {hint}")


def messages() -> Console:
    """The console for progress and messages: standard error."""
    return PlainConsole(stderr=True)


def results() -> Console:
    """The console for results: standard output."""
    return PlainConsole()


def print_json(value: dict[str, Any]) -> None:
    """One object as one line on standard output, at once."""
    sys.stdout.write(to_json(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: object) -> None:
    """A line for people or for a pipe on standard output, at once; control characters in it are shown as escapes."""
    print(harmless(str(text)), flush=True)
