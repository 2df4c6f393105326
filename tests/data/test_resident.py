"""Batches from a data set that is on the device."""

from typing import Any

import torch

from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.loaders.protocol import Batch
from resnets.data.loaders.resident import ResidentLoader
from resnets.data.sampling.draws import Draws
from resnets.data.sampling.order import WHOLE, EpochOrder, Share


def loader(count: int = 10, batch_size: int = 3, share: Share = WHOLE, **options: Any) -> ResidentLoader:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    order = EpochOrder(count, batch_size, seed=0, drop_last=True, share=share)
    return ResidentLoader(images, torch.arange(count), Preprocessing(size=4, channels=1), order, **options)


def labels(batches: object) -> list[list[int]]:
    return [(batch.labels if isinstance(batch, Batch) else batch[1]).tolist() for batch in batches]  # type: ignore[attr-defined]


def test_in_order_sees_every_image_once() -> None:
    assert labels(loader().in_order()) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_each_process_evaluates_its_own_part_and_all_of_them_everything() -> None:
    parts = [labels(loader(share=Share(rank, 3)).in_order()) for rank in range(3)]
    assert parts == [[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8], [9]]]


def test_images_and_labels_stay_together_and_are_augmented() -> None:
    changed = loader(augment=(lambda x, indices, epoch, draws: x + 1, lambda x, draws: x * 2))
    for batch in changed.epoch(0):
        torch.testing.assert_close(batch.images[:, 0, 0, 0], (batch.labels + 1) * 2 / 255)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.indices, batch.labels)
        assert batch.weights is None


def test_the_augmentation_knows_place_and_epoch() -> None:
    seen: list[tuple[list[int], int]] = []

    def before(images: torch.Tensor, indices: torch.Tensor, epoch: int, draws: Draws) -> torch.Tensor:
        seen.append((indices.tolist(), epoch))
        return images

    batches = labels(loader(augment=(before, lambda x, draws: x)).epoch(4))
    assert seen == [(batch, 4) for batch in batches]  # here an image's label is its place
