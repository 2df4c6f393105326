"""Which images each step takes, and what it draws: by seed, epoch and step alone, however many processes share it."""

from typing import Any

import pytest
import torch

from resnets.data.sampling.draws import Draws, seed_for
from resnets.data.sampling.order import EpochOrder, Share, StepPlan


def order(count: int = 10, batch_size: int = 3, seed: int = 0, **options: Any) -> EpochOrder:
    return EpochOrder(count, batch_size, seed=seed, **options)


def taken(steps: Any) -> list[list[int]]:
    return [plan.indices.tolist() for plan in steps]


def test_an_epoch_is_a_shuffle_in_whole_batches() -> None:
    seen = taken(order().steps(0))
    assert [len(batch) for batch in seen] == [3, 3, 3]
    flat = [index for batch in seen for index in batch]
    assert len(set(flat)) == 9
    assert flat != sorted(flat)


def test_an_epoch_may_end_with_a_smaller_batch() -> None:
    made = order(drop_last=False)
    assert made.steps_in(0) == 4
    assert [len(batch) for batch in taken(made.steps(0))] == [3, 3, 3, 1]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = taken(order().steps(0))
    torch.rand(5)
    assert taken(order().steps(0)) == first
    assert taken(order().steps(1)) != first
    assert taken(order(seed=1).steps(0)) != first


def test_an_epoch_can_begin_in_its_middle_with_the_same_draws() -> None:
    whole, part = list(order().steps(2)), list(order().steps(2, first_step=1))
    assert taken(part) == taken(whole[1:])
    assert torch.equal(part[0].draws.uniform(4), whole[1].draws.uniform(4))


def test_a_small_data_set_is_one_batch_and_an_empty_one_an_error() -> None:
    assert order(4, batch_size=100).steps_in(0) == 1
    with pytest.raises(ValueError, match="no images"):
        order(0)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_batch_and_its_draws(world: int) -> None:
    """Together the processes take what one takes alone, row by row, and draw the same numbers for it."""
    alone = list(order(23, 8, drop_last=False).steps(1))
    together = [list(order(23, 8, drop_last=False, share=Share(rank, world)).steps(1)) for rank in range(world)]
    assert len(alone) == 3
    for step, whole in enumerate(alone):
        parts: list[StepPlan] = [steps[step] for steps in together]
        assert torch.equal(torch.cat([part.indices for part in parts]), whole.indices)
        assert [part.total for part in parts] == [len(whole.indices)] * world
        numbers = whole.draws.uniform(2)
        assert torch.equal(torch.cat([part.draws.uniform(2) for part in parts]), numbers)
        shared = whole.draws.shared()
        assert all(torch.equal(part.draws.shared(), shared) for part in parts)


def test_a_last_batch_with_fewer_rows_than_processes_is_left_out() -> None:
    assert order(9, 4, drop_last=False).steps_in(0) == 3
    assert order(9, 4, drop_last=False, share=Share(0, 2)).steps_in(0) == 2
    with pytest.raises(ValueError, match="a batch of 2 images has too few for 4 processes"):
        order(9, 2, share=Share(0, 4))


def test_balanced_sampling_draws_by_probability_with_replacement() -> None:
    weights = torch.tensor([1.0] * 90 + [9.0] * 10)
    seen = torch.cat([plan.indices for epoch in range(60) for plan in order(100, 50, probabilities=weights).steps(epoch)])
    share = float((seen >= 90).float().mean())
    assert share == pytest.approx(0.5, abs=4 * (0.25 / len(seen)) ** 0.5)


def test_repeated_augmentation_shows_an_image_several_times_with_other_draws() -> None:
    (plan,) = order(12, 12, repeats=3).steps(0)
    values, counts = plan.indices.unique(return_counts=True)
    assert (len(values), counts.tolist()) == (4, [3, 3, 3, 3])
    assert len(plan.draws.uniform().unique()) == 12


def test_left_out_rows_take_their_draws_with_them() -> None:
    kept = torch.tensor([True, False, True, True])
    whole, part = Draws(5, 4), Draws(5, 4).only(kept)
    assert len(part) == 3
    assert torch.equal(part.uniform(2), whole.uniform(2)[kept])


def test_partners_are_a_permutation_of_the_rows() -> None:
    partners = Draws(3, 8, torch.arange(4, 8)).partners()
    assert sorted(partners.tolist()) == [0, 1, 2, 3]


def test_seeds_of_neighbours_differ_in_about_half_of_their_bits() -> None:
    near = [
        bin(seed_for(0, 2, epoch, step) ^ seed_for(0, 2, epoch, step + 1)).count("1") for epoch in range(5) for step in range(40)
    ]
    assert 28 < sum(near) / len(near) < 35  # of 63
    assert len({seed_for(a, b, c) for a in range(10) for b in range(10) for c in range(10)}) == 1000
    assert seed_for(1, 2) != seed_for(2, 1)
