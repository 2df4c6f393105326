"""Average precision and recall as COCO measures them, by `faster-coco-eval`, which counts in C++ what pycocotools does.

Legend: N images, K classes; T overlaps 0.5, 0.55, ..., 0.95; R recalls 0, 0.01, ..., 1. Lin et al. 2014 (1405.0312) and
cocodataset.org, "Detection Evaluation".

AP is the mean over classes, overlaps and recalls of the largest precision at the recall or a higher one, with at most 100 detections an
image; AR is the mean over classes and overlaps of the recall that at most 1, 10 or 100 detections per image reach. Small, medium and
large objects have areas (of COCO's masks, where there are some, else of the box) up to 32^2, 96^2 and above.

Detections of a crowd, or of an object that VOC calls difficult, count neither for nor against. Any number of detections may be in a
crowd, and overlap with it means the share of the detection that it covers; a difficult object is found once, and as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .detections import Detections, check_labels

if TYPE_CHECKING:
    from ..data.annotations.objects import Objects

NUMBERS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")
"""COCO's twelve numbers, in its order."""

_IGNORED_AREA = -1.0
"""An area outside all ranges, which is how COCO leaves out objects of another size: they are matched, and count neither way."""


@dataclass(frozen=True)
class CocoAP:
    """What COCO's evaluation says; None where there is no object to find."""

    numbers: dict[str, float | None]
    """`NUMBERS` by name, each in [0, 1]."""
    class_ap: tuple[float | None, ...]
    """AP of each class."""
    class_ap50: tuple[float | None, ...]
    """AP of each class at an overlap of 0.5."""


def coco_ap(objects: Sequence[Objects], detections: Sequence[Detections], num_classes: int) -> CocoAP:
    """Measures the detections in N images against their objects.

    Args:
        objects: what is in each image.
        detections: what was found in each; of one score, the first comes first.
        num_classes: K, the background not counted.

    Raises:
        ValueError: not one list of detections for each image, or a label outside the classes.
        ModuleNotFoundError: faster-coco-eval is not installed.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    check_labels(objects, detections, num_classes)
    truth = COCO(coco_annotations(objects, num_classes), print_function=_silent)
    results = truth.loadRes(coco_results(detections))
    evaluation = COCOeval_faster(truth, results, "bbox", print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    precision: np.ndarray = evaluation.eval["precision"][:, :, :, 0, -1]  # (T, R, K): objects of any size, 100 detections
    return CocoAP(
        dict(zip(NUMBERS, (_known(value) for value in evaluation.stats[: len(NUMBERS)]), strict=True)),
        tuple(_mean(precision[:, :, k]) for k in range(num_classes)),
        tuple(_mean(precision[0, :, k]) for k in range(num_classes)),
    )


def coco_annotations(objects: Sequence[Objects], num_classes: int) -> dict[str, Any]:
    """The objects as the content of COCO's annotation file; images, annotations and categories count from 1.

    A number 0 would be read as "no match" by the evaluation.
    """
    annotations: list[dict[str, Any]] = []
    for image, there in enumerate(objects, 1):
        areas = np.where(there.difficult, _IGNORED_AREA, there.areas)
        rows = zip(_corner_and_size(there.boxes), there.labels, there.crowd, areas, strict=True)
        for box, label, crowd, area in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label) + 1,
                    "bbox": box,
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": {},
        "images": [{"id": image} for image in range(1, len(objects) + 1)],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": str(k)} for k in range(num_classes)],
    }


def coco_results(detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """The detections as the content of COCO's result file, numbered as in `coco_annotations`."""
    return [
        {"image_id": image, "category_id": int(label) + 1, "bbox": box, "score": float(score)}
        for image, found in enumerate(detections, 1)
        for box, label, score in zip(_corner_and_size(found.boxes), found.labels, found.scores, strict=True)
    ]


def _corner_and_size(boxes: np.ndarray) -> list[list[float]]:
    """(n, 4) as COCO writes boxes: x, y, width, height."""
    values = np.asarray(boxes, np.float64)
    rows: list[list[float]] = np.concatenate([values[:, :2], values[:, 2:] - values[:, :2]], 1).tolist()
    return rows


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)


def _mean(precision: np.ndarray) -> float | None:
    """Of the entries that COCO could fill, which others are -1."""
    filled = precision[precision > -1]
    return float(filled.mean()) if len(filled) else None


def _silent(*_: object) -> None:
    """Takes the library's remarks."""
