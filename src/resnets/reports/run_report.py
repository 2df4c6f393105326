"""report.html: one self-contained page about a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_atomically
from . import plots
from .tables import duration, percent

if TYPE_CHECKING:
    from ..training.recipe import Recipe


def write_report(
    path: Path, recipe: Recipe, events: Sequence[dict[str, Any]], classes: Sequence[str], environment: Mapping[str, Any]
) -> None:
    """Writes the page for a run whose logged `events` end with "done".

    Raises:
        OSError: it cannot be written.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    done = events[-1]
    templates = Environment(loader=PackageLoader("resnets.reports"), autoescape=True)
    page = templates.get_template("run.html").render(
        recipe=recipe,
        done=done,
        curves=Markup(plots.svg(plots.training_curves(events))),
        confusion=Markup(plots.svg(plots.confusion_matrix(done["confusion"], classes))),
        environment=environment,
        percent=percent,
        duration=duration,
    )
    write_atomically(path, page)
