"""LAMB, step by step against timm's and against algebra."""

import copy

import pytest
import torch
from timm.optim.lamb import Lamb as TimmLamb
from torch import nn

from resnets.training.optim.lamb import Lamb
from resnets.training.optim.optimizers import build_optimizer
from resnets.training.settings import Optimizer


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5))
    return ours, copy.deepcopy(ours)


def groups(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Norms and biases apart, without decay."""
    return [
        {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in network.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_every_step_is_timms(decay: float, scale: float) -> None:
    """Small gradients, and such as are clipped; learning rates that change; twelve steps."""
    mine, other = networks()
    ours = Lamb(groups(mine, decay), lr=0.01)
    theirs = TimmLamb(groups(other, decay), lr=0.01)
    generator = torch.Generator().manual_seed(1)
    for step in range(12):
        for group in (*ours.param_groups, *theirs.param_groups):
            group["lr"] = 0.01 * (1 + step % 3)
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            a.grad = scale * torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        before = [p.grad.clone() for p in mine.parameters() if p.grad is not None]
        ours.step()
        theirs.step()
        for a, b, gradient in zip(mine.parameters(), other.parameters(), before, strict=True):
            torch.testing.assert_close(a.detach(), b.detach(), rtol=2e-6, atol=2e-7)
            assert a.grad is not None
            assert torch.equal(a.grad, gradient)


def test_the_first_step_by_hand() -> None:
    """Of a group that decays, each tensor moves by the learning rate times its own length, whatever the gradient's size."""
    weight, zero = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.zeros(2))
    optimizer = Lamb([{"params": [weight, zero], "weight_decay": 0.5}], lr=0.1, eps=0.0, max_norm=None)
    weight.grad, zero.grad = torch.tensor([1e3, -1e3]), torch.tensor([2.0, -2.0])
    optimizer.step()
    update = torch.tensor([1.0 + 1.5, -1.0 + 2.0])  # m / sqrt(v) is the sign at first; plus decay times the weight
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 4.0]) - 0.1 * 5 / update.norm() * update)
    torch.testing.assert_close(zero.detach(), torch.tensor([-0.1, 0.1]))  # no length: a trust ratio of 1


def test_its_state_goes_on_as_it_was() -> None:
    mine, other = networks()
    one, two = Lamb(groups(mine, 0.1), lr=0.01), Lamb(groups(other, 0.1), lr=0.01)
    generator = torch.Generator().manual_seed(2)

    def step(network: nn.Module, optimizer: Lamb, seed: int) -> None:
        generator.manual_seed(seed)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    step(mine, one, 0)
    other.load_state_dict(mine.state_dict())
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    step(mine, one, 1)
    step(other, two, 1)
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), other.parameters(), strict=True))


def test_the_recipe_names_it() -> None:
    settings = Optimizer(name="lamb", learning_rate=5e-3, epsilon=1e-6, weight_decay=0.02, decay_norms_and_biases=False)
    network, _ = networks()
    optimizer = build_optimizer(settings, network)
    assert isinstance(optimizer, Lamb)
    assert {(group["weight_decay"], group["eps"], group["peak"]) for group in optimizer.param_groups} == {
        (0.02, 1e-6, 5e-3),
        (0.0, 1e-6, 5e-3),
    }


def test_a_step_without_gradients_changes_nothing() -> None:
    network, same = networks()
    Lamb(network.parameters(), lr=0.1, weight_decay=0.1).step()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), same.parameters(), strict=True))
