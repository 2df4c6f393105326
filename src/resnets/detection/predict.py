"""Prediction: what is where on ordinary image files.

Legend: C channels, H W height and width of an image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import UserError
from ..core.reading import read_file
from ..data.decoding.decode import EncodedImage, Pixels
from ..data.errors import Unreadable
from .detector import Detector


@dataclass(frozen=True)
class Found:
    """One object on an image."""

    label: str
    score: float
    """Probability of its class, in [0, 1]."""
    box: tuple[float, float, float, float]
    """x1 y1 x2 y2 in pixels of the image."""


@dataclass(frozen=True, eq=False)
class DetectedImage:
    """What the detector found on one image, or why it could not be read."""

    path: Path
    pixels: Pixels | None = None
    """(H, W, C) uint8, the image as a viewer shows it."""
    objects: tuple[Found, ...] = ()
    """From the surest on."""
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """One object per image, without its pixels."""
        if self.error is not None:
            return {"path": str(self.path), "error": self.error}
        objects = [{"label": found.label, "score": found.score, "box": list(found.box)} for found in self.objects]
        return {"path": str(self.path), "objects": objects}


def predict_boxes(
    detector: Detector, paths: Iterable[Path], *, min_score: float = 0.5, precision: str = "fp32"
) -> Iterator[DetectedImage]:
    """What is on image files, in their order; unreadable ones carry an error.

    Args:
        min_score: objects with a smaller score are left out.

    Raises:
        ValueError: the detector does not know its classes.
    """
    if detector.classes is None:
        raise UserError("this detector does not know its classes; load it from a model file, or set its `classes`")
    device = next(detector.parameters()).device
    detector.eval()
    for path in paths:
        try:
            pixels = EncodedImage(read_file(path), 1 if len(detector.spec.image_mean) == 1 else 3).pixels()
        except (OSError, Unreadable) as error:
            reason = f"cannot be read: {error.strerror or error}" if isinstance(error, OSError) else str(error)
            yield DetectedImage(path, error=reason)
            continue
        image = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(2, 0, 1).float().div_(255)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = detector([image])[0]
        rows = zip(output["boxes"].tolist(), output["labels"].tolist(), output["scores"].tolist(), strict=True)
        objects = [
            Found(detector.classes[label - 1], score, (box[0], box[1], box[2], box[3]))
            for box, label, score in rows
            if score >= min_score
        ]
        yield DetectedImage(path, pixels, tuple(sorted(objects, key=lambda found: -found.score)))
