"""A data set that lives on the compute device: uint8 pictures in memory, batches made there.

Legend: N pictures of the data set, B of a batch, C channels, H W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .preprocessing import Preprocessing

Before = Callable[[Tensor, Tensor, int], Tensor]
"""Changes a uint8 batch (B, C, H, W), given the pictures' places in the data set (B,) and the epoch."""
Behind = Callable[[Tensor], Tensor]
"""Changes a normalised batch (B, C, size, size)."""


class ResidentLoader:
    """Batches of (images (B, C, size, size) float32, labels (B,) int64) from tensors on one device.

    Args:
        images: (N, C, H, W), uint8.
        labels: (N,), int64.
        preprocessing: resizing and normalising, made on each batch.
        batch_size: B; in training the last, smaller batch of an epoch is left out, so that every step is alike.
        augment: changes of a training batch before and behind the preprocessing; batches in order are left as they are.
        channels_last: memory layout of the batches.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        preprocessing: Preprocessing,
        batch_size: int,
        *,
        augment: tuple[Before, Behind] | None = None,
        channels_last: bool = True,
    ) -> None:
        if len(images) == 0:
            raise ValueError("the data set holds no pictures")
        self.images, self.labels = images, labels
        self.preprocessing, self.augment = preprocessing, augment
        self.batch_size = min(batch_size, len(images))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The pictures at `indices`, preprocessed, and their labels."""
        return self._arranged(self.preprocessing(self.images[indices])), self.labels[indices]

    def training_batch(self, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """The pictures at `indices` (B,), augmented and preprocessed, and their labels."""
        if self.augment is None:
            return self.batch(indices)
        before, behind = self.augment
        images = behind(self.preprocessing(before(self.images[indices], indices, epoch)))
        return self._arranged(images), self.labels[indices]

    def _arranged(self, images: Tensor) -> Tensor:
        if self.memory_format == torch.channels_last and images.shape[1] == 1:
            # With one channel both layouts are the same in memory, and torch would go on in NCHW; only the strides tell.
            height, width = images.shape[2:]
            return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))
        return images.contiguous(memory_format=self.memory_format)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the data set."""
        return len(self.images) // self.batch_size

    def epoch(self, seed: int, epoch: int, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches in its own random order, from `first_step` on: the order depends on seed and epoch alone, so that a
        run can go on in the middle of one."""
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(self.images), generator=generator).to(self.images.device)
        for step in range(first_step, self.steps_per_epoch):
            yield self.training_batch(order[step * self.batch_size : (step + 1) * self.batch_size], epoch)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every picture once, in order; the last batch may be smaller."""
        for start in range(0, len(self.images), self.batch_size):
            yield self.batch(slice(start, start + self.batch_size))
