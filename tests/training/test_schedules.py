"""The learning rate as a function of progress."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnets.training.recipe import Schedule
from resnets.training.schedules import learning_rate_factor

KINDS = ("constant", "step", "linear", "cosine", "one-cycle")


def test_step_is_he_2015() -> None:
    """Divided by 10 at 32k and 48k of 64k iterations."""
    schedule = Schedule(kind="step", milestones=(0.5, 0.75), gamma=0.1)
    factors = [learning_rate_factor(schedule, step / 64_000) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_linear_by_hand() -> None:
    schedule = Schedule(kind="linear", warmup=0.2, final=0.1)
    assert learning_rate_factor(schedule, 0.0) == 0
    assert learning_rate_factor(schedule, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(schedule, 0.2) == 1
    assert learning_rate_factor(schedule, 0.6) == pytest.approx(0.55)
    assert learning_rate_factor(schedule, 1.0) == pytest.approx(0.1)


def test_cosine_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert learning_rate_factor(Schedule(kind="cosine"), step / 50) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_one_cycle_is_torchs() -> None:
    """torch's OneCycleLR with its divisors taken to the limit."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=0.3, div_factor=1e9, final_div_factor=1e9
    )
    # torch's peak lies at step 0.3 * 101 - 1 = 29.3 of 100.
    schedule = Schedule(kind="one-cycle", warmup=0.293)
    for step in range(101):
        assert learning_rate_factor(schedule, step / 100) == pytest.approx(theirs.get_last_lr()[0], abs=1e-6)
        if step < 100:
            optimizer.step()
            theirs.step()


@given(kind=st.sampled_from(KINDS), warmup=st.floats(0, 1), final=st.floats(0, 1), progress=st.floats(0, 1))
def test_a_factor_is_a_share(kind: str, warmup: float, final: float, progress: float) -> None:
    factor = learning_rate_factor(Schedule(kind=kind, warmup=warmup, final=final), progress)  # type: ignore[arg-type]
    assert 0 <= factor <= 1
    assert math.isfinite(factor)


@pytest.mark.parametrize("progress", [-0.1, 1.1])
def test_progress_outside_the_run(progress: float) -> None:
    with pytest.raises(ValueError, match="progress"):
        learning_rate_factor(Schedule(), progress)
