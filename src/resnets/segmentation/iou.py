"""Intersection over union, from a confusion matrix of pixels.

Legend: K classes. `confusion[i, j]`, int64 (K, K), counts pixels of class i that were predicted as class j. IoU of a class is the number
of pixels where it is and was found, over the number of pixels where it is or was found (Everingham 2010, PASCAL VOC, §4.3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import UserError
from ..data.annotations.objects import IGNORED


def confusion_of(predicted: Tensor, masks: Tensor, num_classes: int) -> Tensor:
    """The confusion (K, K) of predicted classes and masks of one shape; pixels of 255 in the mask are left out.

    Raises:
        ValueError: different shapes, or a value that is no class.
    """
    if predicted.shape != masks.shape:
        raise UserError(f"predictions of shape {tuple(predicted.shape)} are compared with masks of {tuple(masks.shape)}")
    kept = masks != IGNORED
    true, taken = masks[kept].long(), predicted[kept].long()
    for what, values in (("mask", true), ("prediction", taken)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < num_classes:
            wrong = int(values.max()) if int(values.max()) >= num_classes else int(values.min())
            raise UserError(
                f"a {what} has the value {wrong}, but the classes are 0 (background) to {num_classes - 1}, and {IGNORED} in masks for "
                "pixels that do not count"
            )
    return torch.bincount(true * num_classes + taken, minlength=num_classes**2).view(num_classes, num_classes)


def class_ious(confusion: Tensor) -> list[float | None]:
    """IoU of each class in [0, 1]; None for a class that neither is anywhere nor was found anywhere."""
    both = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - both
    return [int(b) / int(e) if int(e) else None for b, e in zip(both, either, strict=True)]


def mean_iou(confusion: Tensor) -> float:
    """The mean over the classes that are or were found somewhere, as in torchvision's reference; others say nothing and are left out.

    Raises:
        ValueError: no pixel at all.
    """
    known = [value for value in class_ious(confusion) if value is not None]
    if not known:
        raise UserError("no pixel counts: all masks are empty or ignored throughout")
    return sum(known) / len(known)


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of the pixels whose class was found, in [0, 1].

    Raises:
        ValueError: no pixel at all.
    """
    total = int(confusion.sum())
    if not total:
        raise UserError("no pixel counts: all masks are empty or ignored throughout")
    return int(confusion.diagonal().sum()) / total
