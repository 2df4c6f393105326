"""Evaluation of a detector: every image once, then COCO's and VOC's measures of all that it found.

Legend: b images of a batch, N in all, K classes without the background, D detections of all images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..reports.tables import percent
from ..training.distributed import ALONE, World
from ..training.session import Listing, Measures
from .coco_ap import CocoAP, coco_ap
from .detections import Detections
from .voc_ap import VocAP, voc_ap

if TYPE_CHECKING:
    from ..data.annotations.objects import Objects

Progress = Callable[[int], None]
"""Is told how many images this process has seen, after each batch."""
Observer = Callable[[list[int], list[dict[str, Tensor]]], None]
"""Is shown each batch's places in the data set and detections."""


@dataclass(frozen=True)
class DetectionResult:
    """What an evaluation found. Values are in [0, 1]; None where there are no objects to find."""

    coco: CocoAP
    voc: VocAP
    num_images: int
    """N."""
    seconds: tuple[float, ...]
    """Of each batch, an image: from the images on the device to the boxes, without reading and decoding."""

    @property
    def score(self) -> float:
        """What the best checkpoint is chosen by: COCO's AP, 0 where there is no object."""
        return self.coco.numbers["ap"] or 0.0

    def headline(self) -> dict[str, Any]:
        """For a line of a log."""
        return {"ap": self.coco.numbers["ap"], "ap50": self.coco.numbers["ap50"], "num_images": self.num_images}

    def per_class(self, classes: tuple[str, ...]) -> list[dict[str, Any]]:
        """For each class its name, its objects that count, COCO's AP and AP50, and VOC's AP in the forms of 2012 and 2007."""
        rows = zip(classes, self.coco.class_ap, self.coco.class_ap50, self.voc.classes, strict=True)
        return [
            {
                "label": name,
                "num_objects": voc.num_objects,
                "ap": ap,
                "ap50": ap50,
                "voc_ap": voc.voc12,
                "voc07_ap": voc.voc07,
            }
            for name, ap, ap50, voc in rows
        ]

    def summary(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All of it as plain JSON values; `classes` are the K names."""
        return {
            **self.coco.numbers,
            "voc07": self.voc.voc07,
            "voc12": self.voc.voc12,
            "num_images": self.num_images,
            "num_objects": sum(row.num_objects for row in self.voc.classes),
            "seconds_per_image": {"median": median(self.seconds), "mean": fmean(self.seconds)},
            "per_class": self.per_class(classes),
        }

    def measures(self, classes: tuple[str, ...]) -> Measures:
        """Average precision by class and over all classes."""
        rows = tuple(
            (row["label"], f"{row['num_objects']:,}", *(percent(row[key]) for key in ("ap", "ap50", "voc_ap")))
            for row in self.per_class(classes)
        )
        numbers = self.coco.numbers
        return Measures(
            (Listing("Classes", ("class", "objects", "COCO AP", "COCO AP at 0.5", "VOC AP"), rows),),
            f"COCO AP {percent(numbers['ap'])} (IoU 0.5 to 0.95), {percent(numbers['ap50'])} at IoU 0.5; "
            f"VOC AP {percent(self.voc.voc12)} (area), {percent(self.voc.voc07)} (11 points); {self.num_images:,} images, "
            f"{1000 * median(self.seconds):,.0f} ms each",
        )


@torch.inference_mode()
def evaluate_detector(
    detector: nn.Module,
    batches: Iterable[tuple[list[Tensor], list[int]]],
    objects: Callable[[int], Objects],
    *,
    num_classes: int | None = None,
    precision: str = "fp32",
    world: World = ALONE,
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> DetectionResult:
    """Runs `detector` over images and measures what it finds; it is left in the mode it was in.

    Several processes bring a part of the images each and all get the result for all of them; an image that two of them bring is
    counted once.

    Args:
        detector: takes a list of images, each (3, H, W) float32 in [0, 1], and gives for each a dict of boxes (n, 4) in its pixels,
            labels (n,) from 1 and scores (n,).
        batches: images on the detector's device, and their places in the data set.
        objects: what is in the image at a place.
        num_classes: K; None for what the detector's spec says.
        precision: "fp32", or "bf16" for autocast.
        observe: is shown each batch's places and detections.

    Raises:
        ValueError: no images, or a label outside the K classes.
    """
    if num_classes is None:
        num_classes = int(detector.spec.num_classes) - 1  # type: ignore[union-attr, arg-type]
    was_training = detector.training
    detector.eval()
    places, seconds, rows = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, 8).double()]
    seen = 0
    for images, batch_places in batches:
        device = images[0].device
        _wait_for(device)
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs = detector(images)
        _wait_for(device)
        seconds.append(torch.tensor([(time.perf_counter() - started) / len(images)], dtype=torch.float64))
        places.append(torch.tensor(batch_places))
        rows += [_row(place, output, world.rank) for place, output in zip(batch_places, outputs, strict=True)]
        if observe is not None:
            observe(batch_places, outputs)
        seen += len(images)
        if progress is not None:
            progress(seen)
    detector.train(was_training)
    all_places = sorted(set(world.gathered(torch.cat(places)).tolist()))
    if not all_places:
        raise UserError("there are no images to evaluate on")
    found = _by_place(world.gathered(torch.cat(rows)).numpy())
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    detections = [found.get(place, nothing) for place in all_places]
    truth = [objects(place) for place in all_places]
    return DetectionResult(
        coco_ap(truth, detections, num_classes),
        voc_ap(truth, detections, num_classes),
        len(all_places),
        tuple(world.gathered(torch.cat(seconds)).tolist()),
    )


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _row(place: int, output: dict[str, Tensor], rank: int) -> Tensor:
    """An image's detections as (n, 8) float64, which holds each value exactly: place, rank, box, label from 1, score."""
    boxes, labels, scores = (output[name].detach().cpu().double() for name in ("boxes", "labels", "scores"))
    origin = torch.tensor([[place, rank]], dtype=torch.float64).expand(len(scores), 2)
    return torch.cat([origin, boxes, labels[:, None], scores[:, None]], 1)


def _by_place(rows: np.ndarray) -> dict[int, Detections]:
    """The detections (D, 8) of each image that has some, in the order in which they come; where two processes brought the same image,
    those of the first."""
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    places, starts = np.unique(rows[:, 0], return_index=True)
    found = {}
    for place, part in zip(places, np.split(rows, starts[1:]) if len(places) else [], strict=True):
        own = part[part[:, 1] == part[0, 1]]
        boxes, labels, scores = own[:, 2:6].astype(np.float32), own[:, 6].astype(np.int64) - 1, own[:, 7].astype(np.float32)
        found[int(place)] = Detections(boxes, labels, scores)
    return found
