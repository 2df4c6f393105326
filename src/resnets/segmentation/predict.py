"""Prediction: a class for every pixel of ordinary image files, and masks as PNG files with a palette.

Legend: K classes (the background is class 0), H W height and width of an image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.files import write_atomically
from ..core.reading import read_file
from ..data.annotated.mask_rows import resized_pixels
from ..data.annotations.masks import encoded_mask
from ..data.decoding.decode import EncodedImage, Pixels
from ..data.decoding.sides import at_shorter_side
from ..data.errors import Unreadable
from .evaluate import segmenter_classes
from .segmenter import Segmenter
from .spec import BACKGROUND

Mask = NDArray[np.uint8]
"""(H, W), a class each."""


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """What the segmenter says of one image, or why it could not be read."""

    path: Path
    pixels: Pixels | None = None
    """(H, W, C) uint8, the image as a viewer shows it."""
    mask: Mask | None = None
    shares: tuple[tuple[str, float], ...] = ()
    """Share of the image's pixels that each class takes, from the largest on; classes that take none are left out."""
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """One object per image, without its pixels."""
        if self.error is not None:
            return {"path": str(self.path), "error": self.error}
        return {"path": str(self.path), "shares": [{"label": label, "share": share} for label, share in self.shares]}


def segment(segmenter: Segmenter, paths: Iterable[Path], *, precision: str = "fp32") -> Iterator[SegmentedImage]:
    """The masks of image files, in their order; unreadable ones carry an error.

    Images are segmented at the spec's `size`, or at their own, and masks always have the image's own size.

    Raises:
        ValueError: the segmenter does not know its classes.
    """
    if segmenter.classes is None:
        raise UserError("this segmenter does not know its classes; load it from a model file, or set its `classes`")
    spec, names = segmenter.spec, (BACKGROUND, *segmenter.classes)
    preprocessing = spec.preprocessing
    device = next(segmenter.parameters()).device
    segmenter.eval()
    for path in paths:
        try:
            pixels = EncodedImage(read_file(path), preprocessing.channels).pixels()
            size = at_shorter_side(pixels.shape[0], pixels.shape[1], spec.size)
        except (OSError, Unreadable) as error:
            reason = f"cannot be read: {error.strerror or error}" if isinstance(error, OSError) else str(error)
            yield SegmentedImage(path, error=reason)
            continue
        height, width = pixels.shape[:2]
        seen = torch.from_numpy(np.ascontiguousarray(resized_pixels(pixels, *size)))
        images = preprocessing.normalized(seen[None].to(device).permute(0, 3, 1, 2))
        with torch.inference_mode():
            found = segmenter_classes(segmenter, images, (height, width), precision=precision)[0]
        mask: Mask = found.to(torch.uint8).cpu().numpy()
        counts = np.bincount(mask.reshape(-1), minlength=len(names))
        order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
        yield SegmentedImage(path, pixels, mask, tuple((names[i], float(counts[i] / mask.size)) for i in order))


def write_mask(mask: Mask, path: Path) -> None:
    """Writes a mask as a PNG whose pixels are the classes and whose palette shows them in VOC's colours.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, encoded_mask(mask))
