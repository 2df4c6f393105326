"""The published numbers beside ours; kept in published.yaml with the source of each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from .experiment import Answer


@cache
def _published() -> dict[str, Any]:
    return dict(yaml.safe_load(files(__package__).joinpath("published.yaml").read_text(encoding="utf-8")))


def rows(answer: Answer) -> list[dict[str, Any]]:
    """The table's rows that `answer` means; each with model, dataset, metric, value and source.

    Raises:
        KeyError: no such table or row.
    """
    paper, _, table = answer.table.partition("/")
    found = [
        row
        for row in _published()["papers"][paper]["tables"][table]["rows"]
        if row["model"] == answer.model and all(str(row.get(column)) == value for column, value in answer.where.items())
    ]
    if not found:
        raise KeyError(f"{answer.table} has no row {answer.model!r} with {answer.where}")
    return found


def value(answer: Answer) -> float | None:
    """The first row's number, or None where the paper prints a word ("fail")."""
    number = rows(answer)[0].get("mean", rows(answer)[0]["value"])
    return float(number) if isinstance(number, (int, float)) else None


def describe(answer: Answer) -> str:
    """The first row's number as it is in a table: 6.61 ± 0.16, fail, 1.8e+09."""
    row = rows(answer)[0]
    if "mean" in row and "std" in row:
        return f"{row['mean']:g} ± {row['std']:g}"
    number = row["value"]
    if not isinstance(number, (int, float)):
        return str(number)
    bound = "> " if "lower bound" in row["metric"] else "about " if "approximate" in row["metric"] else ""
    return f"{bound}{number / 1e9:g} G" if number >= 1e6 else f"{bound}{number:g}"


def source(answer: Answer) -> str:
    """Where the number is: paper, table, what was measured, and where it was read."""
    paper, _, table = answer.table.partition("/")
    row, published = rows(answer)[0], _published()
    place = table.replace("_", " ").replace("table", "Table").replace("figure 1 6 plain nets", "Fig. 6").replace("figure", "Fig.")
    on = f", {row['dataset']}" if row.get("dataset", "-") != "-" else ""
    return f"{published['papers'][paper]['paper']} {place}: {row['metric']}{on} (read in {published['sources'][row['source']]})"
