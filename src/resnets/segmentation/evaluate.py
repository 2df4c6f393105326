"""Evaluation of a segmenter: every image once at its own size, everything derived from one confusion matrix of pixels.

Legend: b images of a batch, K classes (the background is class 0), h w height and width of an image in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..core.errors import UserError
from ..reports.tables import percent
from ..training.distributed import ALONE, World
from ..training.session import Listing, Measures
from .iou import class_ious, confusion_of, mean_iou, pixel_accuracy
from .segmenter import Segmenter
from .spec import BACKGROUND

Observer = Callable[[Tensor, Tensor, Any], None]
"""Is shown each batch's images (b, C, h, w) as the network got them, the predicted classes (b, h, w) and the images' places."""


@dataclass(frozen=True)
class SegmentationResult:
    """What an evaluation found; `confusion[i, j]` counts pixels of class i that were predicted as class j, int64 (K, K)."""

    confusion: Tensor
    num_images: int

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that are in the images or were found there, in [0, 1]."""
        return mean_iou(self.confusion)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels whose class was found, in [0, 1]."""
        return pixel_accuracy(self.confusion)

    @property
    def score(self) -> float:
        """The one number by which networks are compared: the mean IoU."""
        return self.mean_iou

    def per_class(self, classes: tuple[str, ...]) -> list[dict[str, Any]]:
        """For each class, the background first, its name, IoU (None where it neither is nor was found) and number of pixels.

        Args:
            classes: names of classes 1 to K - 1.

        Raises:
            ValueError: another number of names.
        """
        names = (BACKGROUND, *classes)
        if len(names) != len(self.confusion):
            raise UserError(f"{len(classes)} class names for {len(self.confusion)} classes, of which the first is the background")
        pixels = self.confusion.sum(1).tolist()
        return [
            {"label": name, "iou": iou, "num_pixels": count}
            for name, iou, count in zip(names, class_ious(self.confusion), pixels, strict=True)
        ]

    def headline(self) -> dict[str, Any]:
        """The numbers for a line."""
        return {"mean_iou": self.mean_iou, "pixel_accuracy": self.pixel_accuracy, "num_images": self.num_images}

    def summary(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All of it as plain JSON values; `absent` names the classes that the mean IoU says nothing about."""
        rows = self.per_class(classes)
        return {
            **self.headline(),
            "absent": [row["label"] for row in rows if row["iou"] is None],
            "per_class": rows,
            "confusion": self.confusion.tolist(),
        }

    def measures(self, classes: tuple[str, ...]) -> Measures:
        """IoU by class and over all classes."""
        rows = tuple((row["label"], f"{row['num_pixels']:,}", percent(row["iou"])) for row in self.per_class(classes))
        return Measures(
            (Listing("Classes", ("class", "pixels", "IoU"), rows),),
            f"mean IoU {percent(self.mean_iou)}, {percent(self.pixel_accuracy)} of the pixels right; {self.num_images:,} images",
        )


@torch.inference_mode()
def evaluate_segmenter(
    segmenter: Segmenter,
    batches: Iterable[tuple[Tensor | Sequence[Tensor], Tensor, Any]],
    *,
    precision: str = "fp32",
    flips: bool = False,
    observe: Observer | None = None,
    world: World = ALONE,
) -> SegmentationResult:
    """Evaluates `segmenter` on batches of (images (b, C, H, W) float32, masks (b, h, w) int64, places); it is left in its mode.

    Images may be a tuple of the same images at several sizes, whose logits are averaged (multi-scale testing, 1706.05587 §4.1).
    Where images were resized and masks were not, the logits are brought to the masks' size. With `flips` the logits of an image and
    its mirror image are averaged. `observe` is shown each batch. Several processes bring a part of the images each and all get the
    result for all of them.

    Raises:
        ValueError: no images, no pixel that counts, or a class in a mask that the segmenter does not have.
    """
    was_training = segmenter.training
    segmenter.eval()
    num_classes = segmenter.spec.num_classes
    count, confusion = 0, torch.zeros(num_classes, num_classes, dtype=torch.long)
    try:
        for images, masks, places in batches:
            predicted = segmenter_classes(segmenter, images, (masks.shape[-2], masks.shape[-1]), precision=precision, flips=flips)
            confusion += confusion_of(predicted, masks, num_classes).cpu()
            if observe is not None:
                observe(images if isinstance(images, Tensor) else images[0], predicted, places)
            count += len(masks)
    finally:
        segmenter.train(was_training)
    if world.size > 1:
        confusion = world.sum(confusion)
        count = int(world.sum(torch.tensor([count])))
    if not count:
        raise UserError("there are no images to evaluate on")
    if not int(confusion.sum()):
        raise UserError(f"no pixel of the {count} images counts: their masks are ignored throughout")
    return SegmentationResult(confusion, count)


def segmenter_classes(
    segmenter: Segmenter,
    images: Tensor | Sequence[Tensor],
    size: tuple[int, int],
    *,
    precision: str = "fp32",
    flips: bool = False,
) -> Tensor:
    """The class with the largest logit at each pixel, (b, *size) int64; the mode is the caller's.

    Args:
        images: normalised, (b, C, H, W); or the same images at several sizes, whose logits are averaged.
        flips: average the logits of an image and its mirror image, too.
    """
    found: Tensor | None = None
    for view in (images,) if isinstance(images, Tensor) else images:
        with torch.autocast(view.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = segmenter.logits(view).float()
            if flips:
                logits = logits + segmenter.logits(view.flip(-1)).float().flip(-1)
        if logits.shape[-2:] != size:
            logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        found = logits if found is None else found + logits
    if found is None:
        raise UserError("there is no image: images are none")
    return found.max(1).indices  # argmax takes seven times as long on a CPU
