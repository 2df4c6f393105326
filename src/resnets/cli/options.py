"""A command's options from its words through tyro, and output for people or for machines."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import BaseModel
from rich.console import Console

from ..core.console import PlainConsole
from ..core.errors import UserError
from ..core.text import harmless, to_json
from .words import HELP, HELP_ALL, Option, Words, options_of, scan

Options = TypeVar("Options")


def parse(kind: type[Options], arguments: Sequence[str], command: str, description: str) -> Options:
    """The options in `arguments` as an instance of the dataclass `kind`; --help is printed, and ends with SystemExit(0).

    Raises:
        ValueError: an option that the command does not have, or a value that does not fit; the message names the nearest.
    """
    options = list(options_of(kind))
    words = scan(arguments, options, command)
    if HELP in words.options or HELP_ALL in words.options:
        _by_tyro(kind, ["--help"], command, description)
    table = {option.name: option for option in options}
    for name in list(words.options):  # tyro has one of a flag's two spellings here: the one that changes something
        option = table[name]
        if option.takes == "nothing" and bool(words.options[name]) != bool(option.default):
            del words.options[name]
    return typed(kind, words, command, description, options)


def typed(
    kind: type[Options], words: Words, command: str, description: str, options: Sequence[Option], *, pairs: bool = False
) -> Options:
    """The dataclass from sorted words; `pairs`: flags have both spellings, --x and --no-x.

    Raises:
        ValueError: a value that does not fit its option, or one too many or too few.
    """
    taken = [option for option in options if option.positional]
    many = any(option.takes == "many" for option in taken)
    if len(words.positional) > len(taken) and not many:
        extra = words.positional[len(taken)]
        raise UserError(f"resnets {command} does not know what to do with {extra!r}; resnets {command} --help")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return _by_tyro(kind, words.line(), command, description, pairs=pairs)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(_sentence(said.getvalue(), words, command, options)) from None


def _by_tyro(kind: type[Options], words: Sequence[str], command: str, description: str, *, pairs: bool = False) -> Options:
    config = () if pairs else (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(kind, args=words, prog=f"resnets {command}", description=description, config=config)


def _sentence(text: str, words: Words, command: str, options: Sequence[Option]) -> str:
    """What tyro printed in a box, as one sentence."""
    plain = " ".join(re.sub(r"[^\S\n]*[│╭╮╰╯─]+[^\S\n]*", " ", text).split())
    table = {option.name: option for option in options}
    if (found := re.search(r"--([a-z][\w.-]*)", plain)) and (option := table.get(found[1].replace("_", "-"))) in options:
        assert option is not None
        given = " ".join(words.options.get(option.name, ())) if option.name in words.options else None
        if given is None:
            return f"resnets {command} needs --{option.name} {option.metavar}; resnets {command} --help"
        return f"--{option.name} takes {_wanted(option)}, not {given!r}"
    for option, word in zip((each for each in options if each.positional), words.positional, strict=False):
        if (choices := option.choices) and word not in choices:
            return f"{option.name.upper()} is one of {', '.join(choices)}, not {word!r}"
    missing = [option.name.upper() for option in options if option.positional][len(words.positional) :]
    if missing:
        return f"resnets {command} needs {' and '.join(missing)}; resnets {command} --help"
    return f"resnets {command}: {plain}"


def _wanted(option: Option) -> str:
    names = {int: "a whole number", float: "a number", str: "a name", bool: "True or False", Path: "a path"}
    if option.takes == "many":
        return f"values such as {option.metavar}"
    return ", ".join(option.choices) or " or ".join(names[each] for each in option.kinds)


def twin(values: BaseModel, options: type[Any] | None = None) -> type[Any]:
    """A dataclass with the fields and defaults of a model, nested ones too, and those of a dataclass of options before them.

    tyro fills it in the place of the model, so that values are checked once, by the model, in its own words.
    """
    fields: list[tuple[str, Any, Any]] = []
    for name, info in type(values).model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            nested = twin(value)
            fields.append((name, nested, dataclasses.field(default_factory=nested)))
        else:
            documented = Annotated[info.annotation, tyro.conf.arg(help=info.description)]  # type: ignore[name-defined]
            fields.append((name, documented, dataclasses.field(default=value)))
    bases = () if options is None else (options,)
    return dataclasses.make_dataclass(type(values).__name__, fields, bases=bases)


def field_values(filled: Any, names: set[str]) -> dict[str, Any]:
    """The values of a twin's fields, by dotted name."""
    return {name: reduce(getattr, name.split("."), filled) for name in sorted(names)}


def field_names(values: BaseModel, prefix: str = "") -> set[str]:
    """The dotted names of all fields of a model that hold a value themselves."""
    found: set[str] = set()
    for name in type(values).model_fields:
        value = getattr(values, name)
        found |= field_names(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name}
    return found


def refuse_others(words: Words, options: Mapping[str, Option], task: str, what: str) -> None:
    """Raises for an option that other tasks have, and not this one.

    Raises:
        ValueError: as said.
    """
    for name in words.options:
        only = options[name].only if name in options else ()
        if only and task not in only:
            raise UserError(f"--{name} is for {' and '.join(only)}, and {what}; leave it off")


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
