"""The files of a result: record.json, each figure as SVG, and index.html, one self-contained page; and one page of many studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.files import write_atomically
from ..core.text import to_json
from ..reports.tables import duration
from . import figures
from .metrics import METRICS

Record = dict[str, Any]


def write_study(record: Record, output: Path) -> Path:
    """Writes the files of one study into `output` and returns the page.

    Raises:
        OSError: they cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    drawn = figures.draw(record)
    write_atomically(output / "record.json", to_json(record, indent=1, ensure_ascii=False) + "\n")
    for name, _, svg in drawn:
        write_atomically(output / f"{name}.svg", svg)
    page = output / "index.html"
    write_atomically(page, _render("study.html", [(record, drawn)], record["title"]))
    return page


def write_audit(records: Sequence[Record], path: Path) -> Path:
    """Writes one page of all `records` and returns it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(
        path, _render("audit.html", [(record, figures.draw(record)) for record in records], "Residual learning, audited")
    )
    return path


def _render(template: str, studies: list[tuple[Record, list[tuple[str, str, str]]]], title: str) -> str:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    templates = Environment(loader=PackageLoader("resnets.studies"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    shown = [(record, [(name, caption, Markup(svg)) for name, caption, svg in drawn]) for record, drawn in studies]
    return templates.get_template(template).render(
        title=title, studies=shown, cell=cell, metrics=METRICS, duration=duration, verdict=VERDICTS
    )


VERDICTS = {True: "held", False: "did not hold", None: "not resolved"}


def cell(row: dict[str, Any], name: str) -> str:
    """A row's metric as it is in a table: mean ± standard deviation."""
    measured = row["metrics"].get(name)
    if measured is None:
        return "-"
    metric = METRICS[name]
    spread = measured["deviation"]
    return metric.text(measured["mean"]) + (f" ± {metric.spread(spread)}" if spread else "")
