"""The words of a command line, read against a table of options, in any order: which option each belongs to, under which of its names.

`scan` settles names (aliases, the last part of a nested name, typing errors) and how many words each option takes. Types are tyro's work.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro

from ..core.errors import UserError

ALIASES: Mapping[str, tuple[str, ...]] = {
    "lr": ("optimizer.learning-rate",),
    "wd": ("optimizer.weight-decay",),
    "opt": ("optimizer.name",),
    "batch": ("batch-size",),
    "bs": ("batch-size",),
    "b": ("batch-size",),
    "num-epochs": ("epochs",),
    "e": ("epochs",),
    "model": ("network", "detector", "segmenter"),
    "arch": ("network", "detector", "segmenter"),
    "imgsz": ("image-size", "size"),
    "img-size": ("image-size", "size"),
    "pretrained": ("weights",),
    "o": ("output",),
    "out": ("output",),
    "out-dir": ("output",),
    "output-dir": ("output",),
    "j": ("workers",),
    "num-workers": ("workers",),
    "conf": ("score",),
    "topk": ("top",),
    "flip": ("flips",),
    "images": ("images",),
    "amp": ("precision",),
}
"""What people type for an option from other packages or from an earlier version: the first of these that the command has."""
_LONGEST = 32
"""Letters of the choices that are shown in an option's place; longer ones are in its help."""
HELP, HELP_ALL = "help", "help-all"


@dataclass(frozen=True)
class Otherwise:
    """In an option's annotation: what stands for its value where none follows (--prove is --prove 10)."""

    value: str


@dataclass(frozen=True)
class Only:
    """In an option's annotation: the tasks that have it."""

    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Option:
    """One option of a command."""

    name: str
    """As it is typed, without dashes: optimizer.learning-rate."""
    kind: Any
    """Its type."""
    takes: Literal["nothing", "one", "many"]
    """How many words follow it."""
    positional: bool = False
    help: str = ""
    default: Any = None
    otherwise: str | None = None
    only: tuple[str, ...] = ()

    @property
    def kinds(self) -> list[Any]:
        """The types that its value may have, without None."""
        kinds = get_args(self.kind) if is_union(self.kind) else (self.kind,)
        return [bare(each) for each in kinds if each is not type(None)]

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that it may have, where they are few."""
        return tuple(str(value) for kind in self.kinds if get_origin(kind) is Literal for value in get_args(kind))

    @property
    def metavar(self) -> str:
        """What follows it, for help."""
        if self.takes == "nothing":
            return ""
        word = "|".join(self.choices) or "|".join(getattr(each, "__name__", "value").upper() for each in self.kinds).replace(
            "STR", "NAME"
        )
        if len(word) > _LONGEST:
            word = self.name.rpartition(".")[2].upper()
        return f"{word} ..." if self.takes == "many" and "..." not in word else word


def bare(kind: Any) -> Any:
    """A type without its annotations."""
    return bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def is_union(kind: Any) -> bool:
    """Whether it is one of several types."""
    return get_origin(kind) in (Union, types.UnionType)


def takes(kind: Any, metadata: Sequence[Any] = ()) -> Literal["nothing", "one", "many"]:
    """How many words an option of a type takes."""
    if kind is bool and not any(getattr(each, "metavar", None) for each in metadata):
        return "nothing"
    kinds = get_args(kind) if is_union(kind) else (kind,)
    return "many" if any(get_origin(bare(each)) is tuple for each in kinds) else "one"


def options_of(kind: type[Any], prefix: str = "") -> Iterator[Option]:
    """The options of a dataclass, those of nested ones included, in their order."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in dataclasses.fields(kind):
        annotation = hints[each.name]
        metadata = annotation.__metadata__ if get_origin(annotation) is Annotated else ()
        inner = bare(annotation)
        name = next((m.name for m in metadata if getattr(m, "name", None)), each.name)
        typed = prefix + name.replace("_", "-")
        if dataclasses.is_dataclass(inner):
            yield from options_of(inner, f"{typed}.")  # type: ignore[arg-type]
            continue
        helped = next((m.help for m in metadata if getattr(m, "help", None)), None)
        if helped is None:
            helped = _docstrings(kind).get(each.name, "")  # type: ignore[arg-type]  # classes are hashable
        default = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
        yield Option(
            typed, inner, takes(inner, metadata), tyro.conf.Positional in metadata, helped, default,
            next((m.value for m in metadata if isinstance(m, Otherwise)), None),
            next((m.tasks for m in metadata if isinstance(m, Only)), ()),
        )  # fmt: skip


@cache
def _docstrings(kind: type[Any]) -> dict[str, str]:
    """The docstrings after a dataclass's fields, by name; of a class that was made from others nothing."""
    import ast
    import inspect

    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        try:
            body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(each))).body[0].body  # type: ignore[attr-defined]
        except (OSError, TypeError, SyntaxError, AttributeError):
            continue
        for before, after in pairwise(body):
            if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[before.target.id] = " ".join(str(after.value.value).split())  # type: ignore[union-attr]
    return found


@dataclass
class Words:
    """A command line, sorted."""

    positional: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    """By its full name, without dashes."""
    aliases: dict[str, str] = field(default_factory=dict, compare=False)
    """Which of them were typed by another name, and which."""

    def rename(self, known: Collection[str]) -> None:
        """Gives an alias that means several options the one that is known: --model is --network, or --detector."""
        for name in [name for name in self.options if name not in known and name in self.aliases]:
            meant = next((each for each in ALIASES.get(self.aliases[name], ()) if each in known), None)
            if meant is not None:
                self.options[meant] = self.options.pop(name)

    def line(self, without: tuple[str, ...] = ()) -> list[str]:
        """The words again, positional ones first, so that an option that takes many cannot swallow them."""
        words = list(self.positional)
        for name, values in self.options.items():
            if name not in without:
                words += _flag(name, values)
        return words

    @property
    def fields(self) -> set[str]:
        """The options that were typed, by the dotted names of fields."""
        return {name.replace("-", "_") for name in self.options}


def _flag(name: str, values: list[str]) -> list[str]:
    if values == [_OFF]:
        path, dot, last = name.rpartition(".")
        return [f"--{path}{dot}no-{last}"]
    return [f"--{name}", *values]


_OFF = "\0off"
"""The one value of a switched-off flag; no word of a command line can be it."""


def scan(arguments: Sequence[str], options: Sequence[Option], command: str) -> Words:
    """Sorts the words.

    Raises:
        ValueError: an option that the command does not have (the message names the nearest), or one without its value.
    """
    table = {option.name: option for option in options if not option.positional}
    words, rest = Words(), list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words.positional += rest
            break
        if not is_option(word):
            words.positional.append(word)
            continue
        typed, equals, value = word.partition("=")
        name, off = _named(typed, table, command)
        if (spelled := typed.lstrip("-")) in ALIASES:
            words.aliases[name] = spelled
        option = table.get(name)
        if option is None:  # help
            words.options[name] = []
        elif option.takes == "nothing":
            off ^= equals == "=" and value.lower() in ("false", "no", "0", "off")
            words.options[name] = [_OFF] if off else []
        else:
            words.options[name] = _values(option, typed, [value] if equals else None, rest)
    return words


def is_option(word: str) -> bool:
    """Whether a word is an option's name; a negative number and a lone dash are none."""
    return len(word) > 1 and word[0] == "-" and not word[1].isdigit() and word[1] != "."


def _values(option: Option, typed: str, given: list[str] | None, rest: list[str]) -> list[str]:
    if given is not None:
        return given
    values: list[str] = []
    most = len(rest) if option.takes == "many" else 1
    while rest and len(values) < most and not is_option(rest[0]) and _follows(option, rest[0]):
        values.append(rest.pop(0))
    if not values and option.otherwise is not None:
        return [option.otherwise]
    if not values:
        stands = f" ({typed} is --{option.name} here)" if typed.lstrip("-") != option.name else ""
        raise UserError(f"{typed} needs a value after it{stands}, such as --{option.name} {option.metavar}")
    return values


def _follows(option: Option, word: str) -> bool:
    """Whether a word is the value of an option that may have none: only one that looks like what stands for it."""
    if option.otherwise is None:
        return True
    return word.isdigit() if option.otherwise.isdigit() else word in ("True", "False", "true", "false")


def _named(typed: str, table: Mapping[str, Option], command: str) -> tuple[str, bool]:
    """The option that a word names, and whether it switches it off.

    Raises:
        ValueError: the command does not have it.
    """
    name = typed.lstrip("-").replace("_", "-")
    if name in ("h", HELP):
        return HELP, False
    if name == HELP_ALL:
        return HELP_ALL, False
    for spelled, off in ((name, False), (_positive(name), True)):
        if spelled is None:
            continue
        found = _resolve(spelled, table)
        if found is not None and (not off or table[found].takes == "nothing"):
            return found, off
    right = {each: each for each in table} | {each.rpartition(".")[2]: each for each in table if "." in each}
    near = difflib.get_close_matches(name, right, n=1, cutoff=0.5)
    hint = f"did you mean --{right[near[0]]}?" if near else f"resnets {command} --help lists them."
    raise UserError(f"resnets {command} has no option --{name}; {hint}")


def _positive(name: str) -> str | None:
    path, dot, last = name.rpartition(".")
    return f"{path}{dot}{last[3:]}" if last.startswith("no-") else None


def _resolve(name: str, table: Mapping[str, Option]) -> str | None:
    if name in table:
        return name
    for meant in ALIASES.get(name, ()):
        if meant in table:
            return meant
    ends = [each for each in table if each.rpartition(".")[2] == name]
    return ends[0] if len(ends) == 1 else None
