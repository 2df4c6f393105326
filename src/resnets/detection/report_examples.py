"""Looks on while a detector is evaluated, for the images on the report's page."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..data.annotations.objects import AnnotatedImages
from ..data.decoding.formats import open_image
from ..reports.drawn_objects import draw_boxes
from ..reports.scene_report import Example

SURE = 0.5
"""Detections with a greater score are drawn."""


class DetectionWatcher:
    """Keeps what is found on the first images of the data set."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.found: dict[int, dict[str, Tensor]] = {}

    def add(self, places: list[int], outputs: list[dict[str, Tensor]]) -> None:
        """Takes the detections of the images at `places`."""
        for place, output in zip(places, outputs, strict=True):
            if place < self.most:
                self.found[place] = {name: value.cpu() for name, value in output.items()}

    def examples(self, images: AnnotatedImages, classes: tuple[str, ...]) -> list[Example]:
        """The images, drawn with what is there and with what was found."""
        return [
            Example(images.name_of(place), *_drawn(images, place, output, classes)) for place, output in sorted(self.found.items())
        ]


def _drawn(images: AnnotatedImages, place: int, output: dict[str, Tensor], classes: tuple[str, ...]) -> tuple[Any, Any]:
    image = open_image(images.read(place)).convert("RGB")
    objects, sure = images.objects(place), output["scores"] > SURE
    labels = [int(label) - 1 for label in output["labels"][sure]]
    return (
        draw_boxes(image, objects.boxes, objects.labels.tolist(), None, classes),
        draw_boxes(image, output["boxes"][sure].float().numpy(), labels, output["scores"][sure].tolist(), classes),
    )
