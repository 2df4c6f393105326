"""Parameter groups by module type, and the optimizers against torch's and against algebra."""

import pytest
import torch
from torch import nn

import resnets
from resnets.training.optim.optimizers import Muon, build_optimizer, orthogonalize, parameter_kinds, set_learning_rate
from resnets.training.settings import Optimizer


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return resnets.create_model("cifar-resnet8:width=4,stem_width=4,in_channels=1,shortcut=B")


def test_every_parameter_is_in_one_kind(network: nn.Module) -> None:
    kinds = parameter_kinds(network)
    listed = [id(p) for group in kinds.values() for p in group]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())
    assert all(p.dim() == 4 for p in kinds["hidden"])
    assert {tuple(p.shape) for p in kinds["weights"]} == {(4, 1, 3, 3), (10, 16)}  # the stem's convolution and the classifier
    assert all(p.dim() == 1 for p in kinds["norms and biases"])


def test_the_frozen_norms_of_a_detector_are_left_alone() -> None:
    network = resnets.create_model("cifar-resnet8:norm=frozen-batch")
    assert [p.shape for p in parameter_kinds(network)["norms and biases"]] == [(10,)]  # the classifier's bias


@pytest.mark.parametrize("decays", [True, False])
def test_decay_of_norms_is_a_choice(network: nn.Module, decays: bool) -> None:
    optimizer = build_optimizer(Optimizer(weight_decay=0.1, decay_norms_and_biases=decays), network)
    by_decay = {group["weight_decay"]: {p.dim() for p in group["params"]} for group in optimizer.param_groups if decays is False}
    if not decays:
        assert by_decay == {0.1: {2, 4}, 0.0: {1}}
    else:
        assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_each_optimizer_lowers_the_loss(network: nn.Module, name: str) -> None:
    optimizer = build_optimizer(Optimizer(name=name, learning_rate=0.02 if name in ("sgd", "muon") else 0.005), network)  # type: ignore[arg-type]
    images, labels = torch.randn(32, 1, 8, 8), torch.arange(32) % 10
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_the_learning_rate_is_a_factor_on_each_peak(network: nn.Module) -> None:
    optimizer = build_optimizer(Optimizer(name="muon", learning_rate=0.2, sgd_learning_rate=0.6), network)
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.3, 0.3])


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_orthogonalize_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalize(matrix, steps=5)
    assert result.dtype == matrix.dtype
    ours = torch.linalg.svdvals(result)
    assert values.max() / values.min() > 1.2 * ours.max() / ours.min()
    assert ours.min() > 0.5
    assert ours.max() < 1.4
    # It points where the orthogonal factor does.
    assert torch.nn.functional.cosine_similarity(result.flatten(), (left @ right).flatten(), dim=0) > 0.95


def test_muon_without_orthogonalization_is_nesterov_sgd() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    muon = Muon([{"params": [ours], "lr": 0.1}], momentum=0.8)
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.8, nesterov=True)
    for _ in range(4):
        gradient = torch.randn(3, 4)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        sgd.step()
    torch.testing.assert_close(ours, theirs)


def test_muon_decays_weights_by_the_learning_rate() -> None:
    weight = nn.Parameter(torch.full((2, 2), 3.0))
    muon = Muon([{"params": [weight], "lr": 0.1, "weight_decay": 0.5}], momentum=0.9)
    weight.grad = torch.zeros(2, 2)
    muon.step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 3.0 * (1 - 0.1 * 0.5)))
