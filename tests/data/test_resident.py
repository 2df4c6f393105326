"""Batches from a data set that lies on the device."""

import pytest
import torch

from resnets.data.preprocessing import Preprocessing
from resnets.data.resident import ResidentLoader


def loader(count: int = 10, batch_size: int = 3, **options: object) -> ResidentLoader:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    return ResidentLoader(images, torch.arange(count), Preprocessing(size=4, channels=1), batch_size, **options)  # type: ignore[arg-type]


def labels(batches: object) -> list[list[int]]:
    return [batch[1].tolist() for batch in batches]  # type: ignore[attr-defined]


def test_in_order_sees_every_picture_once() -> None:
    assert labels(loader().in_order()) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_an_epoch_is_a_shuffle_in_whole_batches() -> None:
    seen = labels(loader().epoch(seed=0, epoch=0))
    assert [len(batch) for batch in seen] == [3, 3, 3]
    flat = [label for batch in seen for label in batch]
    assert len(set(flat)) == 9
    assert flat != sorted(flat)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = labels(loader().epoch(0, 0))
    torch.rand(5)
    assert labels(loader().epoch(0, 0)) == first
    assert labels(loader().epoch(0, 1)) != first
    assert labels(loader().epoch(1, 0)) != first


def test_an_epoch_can_begin_in_its_middle() -> None:
    assert labels(loader().epoch(0, 0, first_step=1)) == labels(loader().epoch(0, 0))[1:]


def test_pictures_and_labels_stay_together_and_are_augmented() -> None:
    changed = loader(augment=(lambda x, indices, epoch: x + 1, lambda x: x * 2))
    for images, targets in changed.epoch(0, 0):
        torch.testing.assert_close(images[:, 0, 0, 0], (targets + 1) * 2 / 255)
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_augmentation_knows_place_and_epoch() -> None:
    seen: list[tuple[list[int], int]] = []

    def before(images: torch.Tensor, indices: torch.Tensor, epoch: int) -> torch.Tensor:
        seen.append((indices.tolist(), epoch))
        return images

    batches = labels(loader(augment=(before, lambda x: x)).epoch(0, epoch=4))
    assert seen == [(batch, 4) for batch in batches]  # here a picture's label is its place


def test_a_small_data_set_is_one_batch_and_an_empty_one_an_error() -> None:
    assert loader(4, batch_size=100).steps_per_epoch == 1
    with pytest.raises(ValueError, match="no pictures"):
        loader(0)
