"""What detectors and segmenters say of images: printed, and drawn into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

from ..core.errors import UserError
from ..core.precision import resolved_precision
from ..deployment.prediction.predict import find_images
from ..detection.model_kind import DETECTOR
from ..detection.predict import DetectedImage, predict_boxes
from ..reports.drawn_objects import draw_boxes, draw_mask
from ..segmentation.model_kind import SEGMENTER
from ..segmentation.predict import SegmentedImage, segment, write_mask
from ..training.session import choose_device
from .drawings import Drawings

if TYPE_CHECKING:
    from .predict_options import PredictOptions


def predict_objects(options: PredictOptions, path: Path) -> int:
    """Carries out `resnets predict` for a detector; the status is 1 where an image could not be read."""
    images = _images(options)
    device = choose_device(options.device)
    detector = DETECTOR.load(path, device=device)
    classes = detector.classes or ()
    precision = resolved_precision(options.precision or "fp32", device.type)[0]

    def drawn(found: DetectedImage, canvas: PIL.Image.Image) -> PIL.Image.Image:
        labels = [classes.index(each.label) for each in found.objects]
        scores = [each.score for each in found.objects]
        return draw_boxes(canvas, [each.box for each in found.objects], labels, scores, classes)

    def said(found: DetectedImage) -> str:
        if not found.objects:
            return f"nothing with a probability of {options.score:g} or more"
        return "  ".join(
            f"{each.label} {100 * each.score:.0f}% at {' '.join(f'{edge:.0f}' for edge in each.box)}" for each in found.objects
        )

    predictions = predict_boxes(detector, images, min_score=options.score, precision=precision)
    return Drawings(options.output, images, as_json=options.json).all(predictions, said, drawn)


def predict_areas(options: PredictOptions, path: Path) -> int:
    """Carries out `resnets predict` for a segmenter; the status is 1 where an image could not be read."""
    images = _images(options)
    device = choose_device(options.device)
    segmenter = SEGMENTER.load(path, device=device)
    classes = segmenter.classes or ()
    precision = resolved_precision(options.precision or "fp32", device.type)[0]
    masks = Drawings(options.masks, images, as_json=options.json)

    def drawn(found: SegmentedImage, canvas: PIL.Image.Image) -> PIL.Image.Image:
        assert found.mask is not None  # where there are pixels
        return draw_mask(canvas, found.mask, classes)

    def said(found: SegmentedImage) -> str:
        return "  ".join(f"{label} {100 * share:.1f}%" for label, share in found.shares)

    def predicted() -> Iterator[SegmentedImage]:
        for found in segment(segmenter, images, precision=precision):
            if options.masks is not None and found.mask is not None:
                write_mask(found.mask, masks.path_for(found.path, ".png"))
            yield found

    return Drawings(options.output, images, as_json=options.json).all(predicted(), said, drawn)


def _images(options: PredictOptions) -> list[Path]:
    if options.output is not None and options.output.suffix.lower() == ".parquet":
        raise UserError(f"--output {options.output}: a Parquet file is for classifiers; name a folder for the drawn images")
    return find_images(options.images)
