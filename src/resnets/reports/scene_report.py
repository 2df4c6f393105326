"""report.html of a run whose network says what is where: a detector's or a segmenter's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from ..core.files import write_atomically
from . import plots
from .images import data_address
from .run_report import MOST_EXCLUDED, environment_of_templates, flattened
from .tables import percent

if TYPE_CHECKING:
    from ..training.base_recipe import RunRecipe

SIDE = 480
"""Pixels along the longer side of an example, at most."""


@dataclass(frozen=True)
class Example:
    """An evaluated image, drawn twice."""

    name: str
    known: PIL.Image.Image
    """With what is there."""
    found: PIL.Image.Image
    """With what the network found."""


@dataclass(frozen=True)
class Measure:
    """Something that an evaluation measures, as the page calls it."""

    key: str
    title: str
    share: bool = True
    """Whether it is a share, shown in percent with a bar, or a count."""


@dataclass(frozen=True)
class Contents:
    """What a kind of network has on its page."""

    overall: Sequence[Measure]
    """Of all images, the most important first; keys of the "done" event."""
    per_class: Sequence[Measure]
    """Of each class; keys of the entries of its "per_class"."""
    curves: Sequence[Measure]
    """Over the epochs; keys of "step" and "evaluation" events."""


DETECTION = Contents(
    overall=(
        Measure("ap50", "COCO AP at IoU 0.5"),
        Measure("ap", "COCO AP at IoU 0.5 to 0.95"),
        Measure("voc12", "VOC AP (area)"),
        Measure("voc07", "VOC AP (11 points)"),
    ),
    per_class=(
        Measure("num_objects", "objects", share=False),
        Measure("ap", "COCO AP"),
        Measure("ap50", "COCO AP at 0.5"),
        Measure("voc_ap", "VOC AP (area)"),
    ),
    curves=(
        Measure("loss", "Loss"),
        Measure("objectness", "Loss: objectness"),
        Measure("rpn_box_reg", "Loss: proposals' boxes"),
        Measure("classifier", "Loss: classes"),
        Measure("box_reg", "Loss: boxes"),
        Measure("ap50", "COCO AP at 0.5"),
        Measure("learning_rate", "Learning rate"),
    ),
)
SEGMENTATION = Contents(
    overall=(Measure("mean_iou", "mean IoU"), Measure("pixel_accuracy", "pixels right")),
    per_class=(Measure("num_pixels", "pixels", share=False), Measure("iou", "IoU")),
    curves=(
        Measure("loss", "Loss (nats)"),
        Measure("pixel_accuracy", "Pixels right"),
        Measure("mean_iou", "Mean IoU"),
        Measure("learning_rate", "Learning rate"),
    ),
)


def write_scene_report(
    path: Path,
    contents: Contents,
    recipe: RunRecipe,
    network: str,
    events: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    examples: Sequence[Example],
    *,
    measured_on: str,
    excluded: Sequence[tuple[str, str]] = (),
) -> None:
    """Writes the page for a run whose logged `events` end with "done".

    Args:
        path: of the page.
        contents: what such networks have on it.
        recipe: of the run.
        network: the network's name.
        events: the lines of metrics.jsonl.
        environment: hardware and versions, by name.
        examples: evaluated images, each as it is and as it was found.
        measured_on: which images it was evaluated on, in words.
        excluded: images that were left out, each with the reason.

    Raises:
        OSError: it cannot be written.
    """
    from markupsafe import Markup

    done = events[-1]
    curves = plots.curves(events, [(measure.title, measure.key, measure.key) for measure in contents.curves])
    page = (
        environment_of_templates()
        .get_template("scenes.html")
        .render(
            recipe=recipe,
            network=network.partition(":")[0],  # its fields are in the recipe, further down
            done=done,
            measured_on=measured_on,
            tiles=[{"name": measure.title, "value": percent(done[measure.key])} for measure in contents.overall],
            columns=contents.per_class,
            curves=[Markup(plots.svg(drawn, f"Curve: {title}")) for title, drawn in curves.items()],
            examples=[{"name": shown.name, "known": _address(shown.known), "found": _address(shown.found)} for shown in examples],
            excluded=excluded[:MOST_EXCLUDED],
            num_excluded=len(excluded),
            changed=flattened(recipe.model_dump(mode="json", exclude_defaults=True)),
            environment=environment,
        )
    )
    write_atomically(path, page)


def _address(image: PIL.Image.Image) -> str:
    image = image.copy()
    image.thumbnail((SIDE, SIDE), PIL.Image.Resampling.LANCZOS)
    return data_address(image, "JPEG")
