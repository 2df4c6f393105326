"""resnets completion: what makes a shell complete commands, options and recipes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import tyro

from ...tasks import TASKS
from ..command import Command
from ..options import print_text
from ..words import Option

_ABOUT = """\
Print a script with which a shell completes commands, options and recipes. Put it where the shell looks:

  resnets completion bash > ~/.local/share/bash-completion/completions/resnets
  resnets completion zsh > ~/.zfunc/_resnets          (with fpath+=~/.zfunc before compinit in ~/.zshrc)
  resnets completion fish > ~/.config/fish/completions/resnets.fish"""


@dataclass
class CompletionOptions:
    """Options of `resnets completion`."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """The shell."""


def run(options: CompletionOptions) -> int:
    """Carries out the command."""
    import shtab

    print_text(shtab.complete(parser(), shell=options.shell))
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and options as an argparse parser, which shtab reads. It parses nothing."""
    from .. import COMMANDS

    root = argparse.ArgumentParser("resnets")
    groups: dict[tuple[str, ...], Any] = {(): root.add_subparsers()}
    for name, summary in COMMANDS.items():
        command = import_module(f".{name}", __package__).COMMAND
        for typed, options in command.leaves().items():
            *above, last = typed.split()
            if tuple(above) not in groups:
                groups[tuple(above)] = groups[()].add_parser(above[0], help=summary).add_subparsers()
            added = groups[tuple(above)].add_parser(last, help=summary, add_help=False)
            for option in options:
                _add(added, option)
    return root


def _add(added: argparse.ArgumentParser, option: Option) -> None:
    import shtab

    words = "" if option.positional else option.help.split("; ")[0].split(". ")[0].replace("%", "%%")
    name = [option.name] if option.positional else [f"--{option.name}"]
    if option.takes == "nothing":
        added.add_argument(*name, action="store_true", help=words)
        return
    many = option.takes == "many" or option.positional
    argument = added.add_argument(*name, help=words, nargs="*") if many else added.add_argument(*name, help=words)
    choices = list(option.choices)
    if option.name == "what":
        choices = [name for task in TASKS for name in task.recipes]
    if choices:
        argument.choices = choices
    elif option.positional or Path in option.kinds:
        argument.complete = shtab.FILE  # type: ignore[attr-defined]


COMMAND = Command("completion", CompletionOptions, _ABOUT, run)
