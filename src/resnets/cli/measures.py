"""What an evaluation found, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..reports.tables import print_table, table
from .options import results

if TYPE_CHECKING:
    from ..training.session import Measures


def print_measures(measures: Measures, on: str, *, most: int | None = None, after: str = "") -> None:
    """Tables, then the sentence.

    Args:
        on: on what it was measured, said before the sentence.
        most: rows up to which a table other than the first is printed.
        after: said after the sentence.
    """
    console = results()
    for number, each in enumerate(measures.listings):
        if most is None or len(each.rows) <= (most if number else 40):
            print_table(console, table(each.title, each.columns, each.rows))
    console.print(f"{on}{': ' if on else ''}{measures.sentence}{after}", markup=False, soft_wrap=True)
