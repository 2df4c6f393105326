"""Evaluation of a classifier: every image once, everything derived from one confusion matrix and the logits.

Legend: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.errors import UserError
from ..reports.tables import confusion_rows, percent
from ..training.distributed import ALONE, World
from ..training.session import Listing, Measures

READABLE = 40
"""Classes up to which a confusion matrix is printed."""
Observer = Callable[[Tensor, Tensor, Tensor], None]
"""Is shown each batch's images (B, C, H, W) and labels (B,), as the network got them, and its logits (B, K), float32."""


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found; `confusion[i, j]` counts images of class i that were predicted as class j, int64 (K, K)."""

    top1: float
    """Share of images whose largest logit is their class's, in [0, 1]."""
    top5: float | None
    """Share whose class is among the five largest logits; None where there are no more than five classes."""
    loss: float
    """Mean cross-entropy in nats."""
    num_images: int
    confusion: Tensor

    @property
    def score(self) -> float:
        """What the best of several evaluations has most of: the top-1 accuracy."""
        return self.top1

    def headline(self) -> dict[str, Any]:
        """The values of a log line."""
        return {"top1": self.top1, "top5": self.top5, "loss": self.loss, "num_images": self.num_images}

    def per_class(self, classes: tuple[str, ...]) -> list[dict[str, Any]]:
        """For each class its name, number of images, accuracy (recall) and precision; None where there is nothing to divide by."""
        rows = []
        for i, name in enumerate(classes):
            right, total, taken = (int(v) for v in (self.confusion[i, i], self.confusion[i].sum(), self.confusion[:, i].sum()))
            rows.append(
                {
                    "label": name,
                    "num_images": total,
                    "accuracy": right / total if total else None,
                    "precision": right / taken if taken else None,
                }
            )
        return rows

    def summary(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "num_images": self.num_images,
            "per_class": self.per_class(classes),
            "confusion": self.confusion.tolist(),
        }

    def measures(self, classes: tuple[str, ...]) -> Measures:
        """Accuracy and precision by class, the confusion matrix where it can be read, and the accuracy in a sentence."""
        rows = tuple(
            (row["label"], f"{row['num_images']:,}", percent(row["accuracy"]), percent(row["precision"]))
            for row in self.per_class(classes)
        )
        listings = [Listing("Classes", ("class", "images", "accuracy", "precision"), rows)]
        if len(classes) <= READABLE:
            columns = ("true \\ predicted", *classes)
            cells = tuple(tuple(row) for row in confusion_rows(self.confusion.tolist(), classes))
            listings.append(Listing("Confusion matrix", columns, cells))
        top5 = "" if self.top5 is None else f", top-5 {percent(self.top5)}"
        return Measures(tuple(listings), f"accuracy {percent(self.top1)}{top5} of {self.num_images:,} images, loss {self.loss:.4f}")


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    precision: str = "fp32",
    flips: bool = False,
    observe: Observer | None = None,
    world: World = ALONE,
) -> EvaluationResult:
    """Evaluates `network` on batches of (images (B, C, H, W) float32, labels (B,) int64); it is left in the mode it was in.

    With `flips` the logits of an image and its mirror image are averaged. `observe` is shown each batch.
    Several processes bring a part of the images each and all get the result for all of them.

    Raises:
        ValueError: no images, or a label outside the network's classes.
    """
    was_training = network.training
    network.eval()
    count, top5, loss, confusion = 0, 0, 0.0, torch.zeros(0)
    for images, labels in batches:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images).float()
            if flips:
                logits = (logits + network(images.flip(-1)).float()) / 2
        num_classes = logits.shape[1]
        if int(labels.max()) >= num_classes:
            raise UserError(f"the data has a label {int(labels.max())}, but the network only {num_classes} classes")
        if not count:
            confusion = torch.zeros(num_classes * num_classes, dtype=torch.long, device=logits.device)
        confusion += torch.bincount(labels * num_classes + logits.argmax(1), minlength=num_classes**2)
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        if observe is not None:
            observe(images, labels, logits)
        if num_classes > 5:
            top5 += int((logits.topk(5).indices == labels[:, None]).sum())
        count += len(labels)
    network.train(was_training)
    if world.size > 1:
        # A process whose part is empty does not know the number of classes yet.
        length = int(world.gathered(torch.tensor([len(confusion)])).max())
        confusion = world.sum(confusion.cpu() if len(confusion) else torch.zeros(length, dtype=torch.long))
        count, top5 = (int(value) for value in world.sum(torch.tensor([count, top5])))
        loss = float(world.sum(torch.tensor([loss], dtype=torch.float64)))
    if not count:
        raise UserError("there are no images to evaluate on")
    size = round(len(confusion) ** 0.5)
    confusion = confusion.view(size, size).cpu()
    right = int(confusion.diagonal().sum())
    return EvaluationResult(right / count, top5 / count if size > 5 else None, loss / count, count, confusion)
