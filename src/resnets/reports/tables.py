"""Tables and numbers for a terminal: rich on a terminal, plain text elsewhere, both from the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.console import PlainConsole


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table; columns of numbers are aligned right, the others left. Cells are shown as they are, never as markup."""
    built = Table(title=Text(title) if title else None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    texts = [[str(cell) for cell in row] for row in rows]
    for i, column in enumerate(columns):
        numbers = all(not row[i] or row[i][0].isdigit() or row[i][0] in "-·" for row in texts)
        built.add_column(column, justify="right" if numbers and i else "left", overflow="fold", no_wrap=i == 0)
    for row in texts:
        built.add_row(*(Text(cell) for cell in row))
    return built


def print_table(console: Console, built: Table) -> None:
    """Prints at the terminal's width; into a file or a pipe as wide as the table needs."""
    if not console.is_terminal:
        console = PlainConsole(file=console.file, width=1000)
    console.print(built)


def percent(share: float | None, digits: int = 2) -> str:
    """A share in [0, 1] as percent, or a dash."""
    return "-" if share is None else f"{100 * share:.{digits}f}%"


def duration(seconds: float) -> str:
    """Seconds as people write them: 12.3 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def giga(count: int) -> str:
    """A count in millions or thousands of millions."""
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.1f} M"


def confusion_rows(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[list[str]]:
    """Rows of a confusion matrix: the true class, then how many were predicted as each; zeros as dots."""
    return [[name, *(str(n) if n else "·" for n in row)] for name, row in zip(classes, confusion, strict=True)]
