"""A data set that lives on the compute device: uint8 images in memory, batches made there.

Legend: N images of the data set, b rows of a batch that this process makes, C channels, H W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..decoding.preprocessing import Preprocessing
from ..sampling.order import EpochOrder
from .protocol import Batch, PostNormalize, PreNormalize


class ResidentLoader:
    """Batches from tensors on one device: in random order to train on, in order to evaluate on.

    Args:
        images: (N, C, H, W), uint8.
        labels: (N,), int64.
        preprocessing: resizing and normalising, made on each batch.
        order: which images each step takes; its share says which of them are evaluated by this process.
        augment: changes of a training batch before and after the preprocessing; batches in order are left as they are.
        channels_last: memory layout of the batches.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        preprocessing: Preprocessing,
        order: EpochOrder,
        *,
        augment: tuple[PreNormalize, PostNormalize] | None = None,
        channels_last: bool = True,
    ) -> None:
        self.images, self.labels, self.order = images, labels, order
        self.preprocessing, self.augment = preprocessing, augment
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def __len__(self) -> int:
        """N."""
        return len(self.images)

    def _arranged(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self.memory_format)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """An epoch's training batches from `first_step` on."""
        for plan in self.order.steps(epoch, first_step):
            indices = plan.indices.to(self.images.device)
            images = self.images[indices]
            if self.augment is None:
                images = self.preprocessing.of_pixels(images)
            else:
                pre_normalize, post_normalize = self.augment
                images = post_normalize(self.preprocessing.of_pixels(pre_normalize(images, indices, epoch, plan.draws)), plan.draws)
            weights = None if plan.weights is None else plan.weights.to(images.device)
            yield Batch(self._arranged(images), self.labels[indices], indices, plan.total, plan.draws, weights)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image of this process's share once, in order, as images (b, C, size, size) and labels (b,)."""
        own = self.order.share.of(len(self.images))
        for start in range(own.start, own.stop, self.order.batch_size):
            part = slice(start, min(start + self.order.batch_size, own.stop))
            yield self._arranged(self.preprocessing.of_pixels(self.images[part])), self.labels[part]
