"""A command as a value: its name, its options as a dataclass, and the function that carries it out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

from ..core.errors import UserError
from .options import Options, parse
from .words import Option, options_of


class Runnable(Protocol):
    """What a name on the command line stands for."""

    def run(self, arguments: Sequence[str]) -> int:
        """Carries it out with the words after its name, and gives the exit status."""

    def leaves(self) -> Mapping[str, Sequence[Option]]:
        """Its options, by the words between `resnets` and them: one entry for a command, several for a group."""


@dataclass(frozen=True)
class Command(Generic[Options]):
    """A command."""

    name: str
    """As it is typed after `resnets`, such as "data check"."""
    options: type[Options]
    """A dataclass: its fields are the options, its docstrings their help."""
    about: str
    """For its help."""
    carry_out: Callable[[Options], int]
    """Gives the exit status."""

    def run(self, arguments: Sequence[str]) -> int:
        """Carries it out."""
        return self.carry_out(parse(self.options, arguments, self.name, self.about))

    def leaves(self) -> Mapping[str, Sequence[Option]]:
        """Its own options."""
        return {self.name: tuple(options_of(self.options))}


@dataclass(frozen=True)
class Group:
    """Commands of one name: resnets data list, resnets data check ..."""

    name: str
    about: str
    """The help's first lines."""
    commands: Mapping[str, tuple[str, Runnable]]
    """Name to a line of help and what it stands for."""

    def run(self, arguments: Sequence[str]) -> int:
        """Carries out the command that the first word names; without one, or with --help, says what there is.

        Raises:
            ValueError: no such command; the message names the nearest.
        """
        if not arguments or arguments[0] in ("-h", "--help", "--help-all"):
            lines = "\n".join(f"  {name:<13} {words}" for name, (words, _) in self.commands.items())
            usage = f"usage: resnets {self.name} COMMAND [OPTIONS]        resnets {self.name} COMMAND --help"
            print(f"{self.about}\n\n{usage}\n\n{lines}")
            return 0
        name, *rest = arguments
        if name not in self.commands:
            near = difflib.get_close_matches(name, self.commands, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.commands)}."
            raise UserError(f"there is no command `resnets {self.name} {name}`; {hint}")
        return self.commands[name][1].run(rest)

    def leaves(self) -> Mapping[str, Sequence[Option]]:
        """Those of its commands."""
        return {name: options for _, command in self.commands.values() for name, options in command.leaves().items()}
