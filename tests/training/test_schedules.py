"""The learning rate as a function of progress."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnets.training.optim.schedules import learning_rate_factor
from resnets.training.settings import Schedule

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
    # torch's peak is at step 0.3 * 101 - 1 = 29.3 of 100.
    schedule = Schedule(kind="one-cycle", warmup=0.293)
    for step in range(101):
        assert learning_rate_factor(schedule, step / 100) == pytest.approx(theirs.get_last_lr()[0], abs=1e-6)
        if step < 100:
            optimizer.step()
            theirs.step()


def test_110_layers_wait_at_a_hundredth() -> None:
    """He 2015 §4.2: 0.01 for 400 of 64k iterations, then 0.1 and the same milestones."""
    schedule = Schedule(kind="step", milestones=(0.5, 0.75), warmup=400 / 64_000, warmup_shape="constant", warmup_factor=0.1)
    factors = [learning_rate_factor(schedule, (step + 0.5) / 64_000) for step in (0, 399, 400, 31_999, 32_000, 48_000)]
    assert factors == pytest.approx([0.1, 0.1, 1, 1, 0.1, 0.01])


def test_steps_by_epoch_are_torchs_warmup_and_cosine() -> None:
    """torchvision's reference: LinearLR from 0.01 over 5 epochs, then CosineAnnealingLR over the others, stepped once per epoch."""
    epochs, per_epoch = 100, 3
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs - 5)
    theirs = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[5])
    schedule = Schedule(kind="cosine", warmup=5 / epochs, warmup_factor=0.01, stairs=epochs)
    for epoch in range(epochs):
        for step in range(per_epoch):
            progress = (epoch * per_epoch + step + 0.5) / (epochs * per_epoch)
            assert learning_rate_factor(schedule, progress) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        assert learning_rate_factor(schedule, epoch / epochs) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_a_rise_begins_at_its_factor() -> None:
    for kind in ("linear", "one-cycle"):
        schedule = Schedule(kind=kind, warmup=0.5, warmup_factor=0.2)  # type: ignore[arg-type]
        assert learning_rate_factor(schedule, 0.0) == pytest.approx(0.2)
        assert learning_rate_factor(schedule, 0.25) == pytest.approx(0.6)
        assert learning_rate_factor(schedule, 0.5) == 1


@given(
    kind=st.sampled_from(KINDS),
    shape=st.sampled_from(("rise", "constant")),
    shares=st.tuples(*[st.floats(0, 1)] * 4),
    stairs=st.integers(0, 700),
)
def test_a_factor_is_a_share(kind: str, shape: str, shares: tuple[float, float, float, float], stairs: int) -> None:
    warmup, start, final, progress = shares
    schedule = Schedule(
        kind=kind, warmup=warmup, warmup_shape=shape, warmup_factor=start, final=final, stairs=stairs  # type: ignore[arg-type]
    )  # fmt: skip
    factor = learning_rate_factor(schedule, progress)
    assert 0 <= factor <= 1
    assert math.isfinite(factor)


@pytest.mark.parametrize("progress", [-0.1, 1.1])
def test_progress_outside_the_run(progress: float) -> None:
    with pytest.raises(ValueError, match="progress"):
        learning_rate_factor(Schedule(), progress)
