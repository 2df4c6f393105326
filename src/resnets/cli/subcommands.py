"""Commands that have commands of their own: `resnets detect train`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from ..core.errors import UserError

Subcommand = Callable[[list[str]], int]


def dispatch(command: str, about: str, subcommands: Mapping[str, tuple[str, Subcommand]], arguments: list[str]) -> int:
    """Carries out the subcommand that the first argument names; without one, or with --help, says what there is.

    Args:
        command: the command itself, behind `resnets`.
        about: the help's first lines.
        subcommands: name to a line of help and what carries it out.

    Raises:
        ValueError: no such subcommand; the message names the nearest.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<10} {words}" for name, (words, _) in subcommands.items())
        print(f"{about}\n\nusage: resnets {command} COMMAND [OPTIONS]        resnets {command} COMMAND --help\n\n{lines}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in subcommands:
        near = difflib.get_close_matches(name, subcommands, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(subcommands)}."
        raise UserError(f"there is no command `resnets {command} {name}`; {hint}")
    return subcommands[name][1](rest)
