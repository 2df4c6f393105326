"""Help for commands with more options than fit a screen: the dozen that people use, or all of them by part."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping

from .words import ALIASES, Option

_INDENT = 34


def print_short(options: Iterable[Option], command: str, about: str, common: Mapping[str, tuple[str, ...]]) -> None:
    """What the command takes, and a line for each of its common options, by group and in the order of `common`."""
    table = {option.name: option for option in options}
    print(f"usage: resnets {command} WHAT [OPTIONS]\n\n{_wrapped(about)}\n")
    shown = 0
    for group, names in common.items():
        print(f"{group}:")
        for name in names:
            if name in table:
                _print(table[name], first_sentence=True)
                shown += 1
    more = len(table) - shown - 1
    print(
        f"  --help-all{' ' * (_INDENT - 12)}the other {more} options, by part: data, augmentation, optimizer, schedule, evaluation ..."
    )


def print_all(options: Iterable[Option], command: str, about: str) -> None:
    """Every option, grouped by the part that it belongs to, with its whole help."""
    print(f"usage: resnets {command} WHAT [OPTIONS]\n\n{_wrapped(about)}")
    groups: dict[str, list[Option]] = {}
    for option in options:
        if not option.positional:
            groups.setdefault(option.name.rpartition(".")[0], []).append(option)
    for part, members in groups.items():
        print(f"\n{part.replace('-', ' ') or 'options'}:")
        for option in members:
            _print(option, first_sentence=False)


def _print(option: Option, *, first_sentence: bool) -> None:
    """One option: its name and value, then its help beside it."""
    flag = f"--{option.name}"
    if option.takes == "nothing" and option.default is True:
        path, dot, last = option.name.rpartition(".")
        flag = f"--{path}{dot}no-{last}"
    short = next((f", --{alias}" for alias, meant in ALIASES.items() if option.name in meant and alias in ("lr", "model")), "")
    if first_sentence and len(flag) + len(short) > _INDENT - 10:
        flag, short = short.removeprefix(", "), ""
    head = f"  {flag}{short} {option.metavar}".rstrip()
    words = option.help
    if first_sentence:
        words = words.split("; ")[0].split(". ")[0].rstrip(" .,")
    elif option.default not in (None, False, True, ()):
        words = f"{words} (default: {_shown(option.default)})"
    width = shutil.get_terminal_size((120, 24)).columns
    lines = textwrap.wrap(words, max(40, width - _INDENT)) or [""]
    if first_sentence and len(lines) > 1:
        lines = [textwrap.shorten(words, max(40, width - _INDENT), placeholder=" ...")]
    first = f"{head:<{_INDENT}}" if len(head) < _INDENT else f"{head}\n{' ' * _INDENT}"
    print(first + f"\n{' ' * _INDENT}".join(lines))


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _wrapped(about: str) -> str:
    """The text with its long lines broken after what they began with."""
    width = shutil.get_terminal_size((120, 24)).columns
    lines: list[str] = []
    for line in about.splitlines():
        hang = len(line) - len(line.lstrip())
        lines += textwrap.wrap(line, width, subsequent_indent=" " * (48 if hang else 0), break_long_words=False) or [""]
    return "\n".join(lines)
