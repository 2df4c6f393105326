"""Batches from a data set that lies on the device."""

import pytest
import torch

from resnets.data.preprocessing import Preprocessing
from resnets.data.pruning import LossPruning
from resnets.data.resident import Batch, ResidentLoader


def loader(count: int = 10, batch_size: int = 3, **options: object) -> ResidentLoader:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    return ResidentLoader(images, torch.arange(count), Preprocessing(size=4, channels=1), batch_size, **options)  # type: ignore[arg-type]


def labels(batches: object) -> list[list[int]]:
    return [(batch.labels if isinstance(batch, Batch) else batch[1]).tolist() for batch in batches]  # type: ignore[attr-defined]


def test_in_order_sees_every_picture_once() -> None:
    assert labels(loader().in_order()) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_an_epoch_is_a_shuffle_in_whole_batches() -> None:
    seen = labels(loader().epoch(seed=0, epoch=0))
    assert [len(batch) for batch in seen] == [3, 3, 3]
    flat = [label for batch in seen for label in batch]
    assert len(set(flat)) == 9
    assert flat != sorted(flat)


def test_an_epoch_may_end_with_a_smaller_batch() -> None:
    made = loader(drop_last=False)
    assert made.steps_in(0) == 4
    assert [len(batch) for batch in labels(made.epoch(0, 0))] == [3, 3, 3, 1]


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
    for batch in changed.epoch(0, 0):
        torch.testing.assert_close(batch.images[:, 0, 0, 0], (batch.labels + 1) * 2 / 255)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.indices, batch.labels)
        assert batch.weights is None


def test_the_augmentation_knows_place_and_epoch() -> None:
    seen: list[tuple[list[int], int]] = []

    def before(images: torch.Tensor, indices: torch.Tensor, epoch: int) -> torch.Tensor:
        seen.append((indices.tolist(), epoch))
        return images

    batches = labels(loader(augment=(before, lambda x: x)).epoch(0, epoch=4))
    assert seen == [(batch, 4) for batch in batches]  # here a picture's label is its place


def test_a_small_data_set_is_one_batch_and_an_empty_one_an_error() -> None:
    assert loader(4, batch_size=100).steps_in(0) == 1
    with pytest.raises(ValueError, match="no pictures"):
        loader(0)


def pruned() -> ResidentLoader:
    made = loader(20, pruning=LossPruning(20, 0.3, torch.device("cpu")))
    assert made.pruning is not None
    made.pruning.record(torch.arange(20), torch.arange(20.0))
    return made


def test_pruning_leaves_out_small_losses_and_keeps_the_mean_loss_unbiased() -> None:
    losses, sums, seen = torch.arange(20.0), [], torch.zeros(20)
    for seed in range(300):
        made = pruned()
        assert made.pruning is not None
        made.pruning.begin_epoch()
        order, weights = made.pruning.choose(torch.randperm(20), torch.Generator().manual_seed(seed))
        assert len(order) == 14
        seen[order] += 1
        sums.append(float((losses * weights)[order].sum()))
    assert bool((seen[10:] == 300).all())  # the ten below the mean are candidates, no other goes
    assert bool((seen[:10] < 300).all())
    assert sum(sums) / len(sums) == pytest.approx(float(losses.sum()), rel=0.01)


def test_where_few_losses_are_small_the_next_ones_are_candidates_too() -> None:
    pruning = LossPruning(20, 0.6, torch.device("cpu"))
    pruning.record(torch.arange(20), torch.tensor([0.0] + [10.0] * 18 + [11.0]))  # one alone lies below the mean
    pruning.begin_epoch()
    order, weights = pruning.choose(torch.randperm(20), torch.Generator().manual_seed(0))
    assert len(order) == 8
    assert weights.tolist() == [4.0] * 16 + [1.0] * 4


def test_pruned_epochs_are_shorter_and_steps_find_their_place() -> None:
    made = pruned()
    assert [made.steps_in(epoch) for epoch in range(3)] == [6, 4, 4]
    assert [made.place(step) for step in (0, 5, 6, 9, 10, 14)] == [(0, 0), (0, 5), (1, 0), (1, 3), (2, 0), (3, 0)]
    assert [len(labels(made.epoch(0, epoch))) for epoch in range(3)] == [6, 4, 4]


def test_a_pruned_epoch_goes_on_in_its_middle_although_losses_have_changed() -> None:
    made = pruned()
    whole = labels(made.epoch(0, 1))
    assert made.pruning is not None
    made.pruning.record(torch.arange(20), -torch.arange(20.0))
    assert labels(made.epoch(0, 1, first_step=2)) == whole[2:]
    assert labels(made.epoch(0, 1)) != whole  # from its start it goes by the new losses
