"""report.html: one self-contained page about a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.files import write_atomically
from . import plots
from .confusion import class_rows, coarse_shares, confused_pairs
from .images import matrix_image, overlay, thumbnail
from .tables import duration, percent

if TYPE_CHECKING:
    from jinja2 import Environment

    from ..training.base_recipe import RunRecipe
    from .findings import Findings, JudgedImage

MANY_CLASSES = 40
"""With more than these the matrix is an image, its largest entries a table, and the class table is folded."""
MOST_PAIRS, MOST_EXCLUDED = 30, 200
"""Rows shown."""
THUMBNAIL, EXPLAINED = 160, 224
"""Pixels along the longer side; the page shows them at about half of that, for sharp screens."""


def write_report(
    path: Path,
    recipe: RunRecipe,
    events: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    environment: Mapping[str, Any],
    findings: Findings | None = None,
    *,
    excluded: Sequence[tuple[str, str]] = (),
) -> None:
    """Writes the page for a run whose logged `events` end with "done".

    Args:
        path: of the page.
        recipe: of the run.
        events: the lines of metrics.jsonl; the last has what `EvaluationResult.summary` gives, training_seconds and images_per_second.
        classes: names, in the order of the confusion matrix.
        environment: hardware and versions, by name.
        findings: what the network said about the evaluated images; without them the page has no mistakes, calibration and heat maps.
        excluded: images that were left out, each with the reason.

    Raises:
        OSError: it cannot be written.
    """
    from markupsafe import Markup

    done = events[-1]
    rows = class_rows(done["confusion"], classes)
    page = (
        environment_of_templates()
        .get_template("run.html")
        .render(
            recipe=recipe,
            done=done,
            curves=[Markup(plots.svg(drawn, f"Curve: {title}")) for title, drawn in plots.training_curves(events).items()],
            classes=classes,
            many=len(classes) > MANY_CLASSES,
            rows=rows,
            worst=sorted((row for row in rows if row.num_images), key=lambda row: row.accuracy or 0.0)[:10],
            pairs=confused_pairs(done["confusion"], classes, MOST_PAIRS),
            matrix=matrix_image(coarse_shares(done["confusion"], 500), (0, 114, 178), 500) if len(classes) > MANY_CLASSES else None,
            findings=findings,
            mistakes=[] if findings is None else [_shown(image, classes, THUMBNAIL) for image in findings.mistakes],
            explanations=[] if findings is None else _explanations(findings, classes),
            **_calibration(findings),
            excluded=excluded[:MOST_EXCLUDED],
            num_excluded=len(excluded),
            changed=flattened(recipe.model_dump(mode="json", exclude_defaults=True)),
            environment=environment,
        )
    )
    write_atomically(path, page)


def environment_of_templates() -> Environment:
    """Where the pages' templates come from, with the filters that they use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("resnets.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters.update(percent=percent, duration=duration, thousands="{:,}".format)
    return templates


def _calibration(findings: Findings | None) -> dict[str, Any]:
    """The numbers and the diagram; None where there are none, as for a network whose weights are no numbers any more."""
    from markupsafe import Markup

    if findings is None or not bool(findings.confidences.isfinite().all()):
        return {"calibration": None, "reliability": None}
    found = findings.calibration()
    description = f"Reliability diagram: expected calibration error {percent(found.error)} over {len(found.bins)} bins"
    return {"calibration": found, "reliability": Markup(plots.svg(plots.reliability_diagram(found), description))}


def _shown(image: JudgedImage, classes: Sequence[str], side: int) -> dict[str, Any]:
    """An image as the templates use it."""
    return {
        "image": thumbnail(image.pixels, side),
        "name": image.name or f"number {image.index:,}",
        "label": classes[image.label],
        "predicted_as": classes[image.predicted_as],
        "right": image.right,
        "probability": image.probability,
        "label_probability": image.label_probability,
    }


def _explanations(findings: Findings, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            **_shown(explained.image, classes, EXPLAINED),
            "for_taken": overlay(explained.image.pixels, explained.predicted_as, EXPLAINED),
            "for_label": None if explained.label is None else overlay(explained.image.pixels, explained.label, EXPLAINED),
        }
        for explained in findings.explanations
    ]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by the names that the command line gives them: optimizer.learning_rate."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat
