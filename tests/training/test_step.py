"""The training step: each stage alone, against plain PyTorch."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import resnets
from resnets.classification.losses import Classifying, cross_entropy
from resnets.training.engine.averaging import ExponentialAverage
from resnets.training.engine.objective import Inputs
from resnets.training.engine.step import Diverged, TrainingStep
from resnets.training.settings import Averaging


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(8, 1, 8, 8), torch.arange(8) % 10


def make(**fields: object) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = resnets.create_model("cifar-resnet8:width=4,stem_width=4,in_channels=1,norm=group,norm_groups=2", **fields)
    return network.train(), torch.optim.SGD([{"params": list(network.parameters()), "peak": 0.1}], lr=0.1)


def once(step: TrainingStep, batch: tuple[Tensor, Tensor], factor: float = 1.0) -> float:
    return float(step(Inputs(*batch), step=1, progress=0.0, factor=factor).loss)


def test_a_plain_step_is_sgd(batch: tuple[Tensor, Tensor]) -> None:
    network, optimizer = make()
    reference = copy.deepcopy(network)
    loss = nn.functional.cross_entropy(reference(batch[0]), batch[1])
    loss.backward()
    assert once(TrainingStep(network, optimizer, objective=Classifying()), batch, factor=0.5) == pytest.approx(
        float(loss.detach()), rel=1e-6
    )
    for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), (theirs - 0.05 * theirs.grad).detach())  # type: ignore[operator]


def test_accumulation_is_the_same_step(batch: tuple[Tensor, Tensor]) -> None:
    results = []
    for parts in (1, 2, 8):
        network, optimizer = make()
        loss = once(TrainingStep(network, optimizer, objective=Classifying(), accumulation=parts), batch)
        results.append((loss, torch.cat([p.detach().flatten() for p in network.parameters()])))
    for loss, weights in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-5)
        torch.testing.assert_close(weights, results[0][1])


def test_weights_by_hand(batch: tuple[Tensor, Tensor]) -> None:
    """An image of weight 0 does not count, one of weight 2 counts as two."""
    weights = torch.tensor([2.0, 0, 1, 1, 1, 1, 1, 1])
    twice = torch.cat([batch[0][[0]], batch[0][[0]], batch[0][2:]]), torch.cat([batch[1][[0]], batch[1][[0]], batch[1][2:]])
    results = []
    for images, targets, counts in ((*batch, weights), (*twice, None)):
        network, optimizer = make()
        TrainingStep(network, optimizer, objective=Classifying(), accumulation=2)(
            Inputs(images, targets, counts), step=1, progress=0.0, factor=1.0
        )
        results.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    torch.testing.assert_close(*results)


def test_label_smoothing_by_hand(batch: tuple[Tensor, Tensor]) -> None:
    network, optimizer = make()
    with torch.no_grad():
        log_shares = network(batch[0]).log_softmax(1)
        targets = 0.9 * nn.functional.one_hot(batch[1], 10) + 0.1 / 10
        expected = float(-(targets * log_shares).sum(1).mean())
    assert once(
        TrainingStep(network, optimizer, objective=Classifying(partial(cross_entropy, label_smoothing=0.1))), batch
    ) == pytest.approx(expected, rel=1e-5)


def test_soft_targets_count_by_their_largest_share(batch: tuple[Tensor, Tensor]) -> None:
    network, optimizer = make()
    with torch.no_grad():
        right = int((network(batch[0]).argmax(1) == batch[1]).sum())
    soft = 0.6 * nn.functional.one_hot(batch[1], 10).float() + 0.04
    result = TrainingStep(network, optimizer, objective=Classifying())(Inputs(batch[0], soft), step=1, progress=0.0, factor=1.0)
    assert int(result.measures["accuracy"]) == right


def test_clipping_bounds_the_step(batch: tuple[Tensor, Tensor]) -> None:
    network, optimizer = make()
    before = torch.cat([p.detach().flatten() for p in network.parameters()])
    once(TrainingStep(network, optimizer, objective=Classifying(), clip_norm=0.01), batch)
    moved = torch.cat([p.detach().flatten() for p in network.parameters()]) - before
    assert float(moved.norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_bf16_computes_in_bf16_and_keeps_float32_weights(batch: tuple[Tensor, Tensor]) -> None:
    network, optimizer = make()
    seen: list[torch.dtype] = []
    network.conv2_x.register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))  # type: ignore[union-attr]
    result = TrainingStep(network, optimizer, objective=Classifying(), precision="bf16")(
        Inputs(*batch), step=1, progress=0.0, factor=1.0
    )
    assert seen == [torch.bfloat16]
    assert result.loss.dtype == torch.float32
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(batch: tuple[Tensor, Tensor], value: float) -> None:
    network, optimizer = make()
    before = copy.deepcopy(network.state_dict())
    images = batch[0].clone()
    images[3, 0, 0, 0] = value
    with pytest.raises(Diverged, match=r"at step 1.*learning-rate"):
        once(TrainingStep(network, optimizer, objective=Classifying()), (images, batch[1]))
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_the_average_by_hand() -> None:
    torch.manual_seed(0)
    network = nn.BatchNorm1d(2)
    average = ExponentialAverage(Averaging(decay=0.75, every=2, start=0.5), network, copy.deepcopy(network))

    def at(step: int, progress: float, value: float) -> float:
        with torch.no_grad():
            network.weight.fill_(value)
            network.num_batches_tracked.fill_(step)  # type: ignore[operator,union-attr]
        average.update(step, progress)
        return float(average.average.weight[0])  # type: ignore[index]

    assert at(2, 0.2, 5.0) == 1.0  # before its start
    assert not average.started
    assert at(4, 0.5, 8.0) == 8.0  # begins as a copy
    assert at(5, 0.6, 0.0) == 8.0  # only every second step
    assert at(6, 0.7, 4.0) == pytest.approx(0.75 * 8 + 0.25 * 4)
    assert int(average.average.num_batches_tracked) == 6  # type: ignore[arg-type]
    assert not any(p.requires_grad for p in average.average.parameters())


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_fused_optimizer_leaves_out_what_is_not_finite_and_says_so_later(batch: tuple[Tensor, Tensor], kind: str) -> None:
    """What happens on a GPU, where no step waits to be read; the fused kernels of the CPU understand the same flag."""
    network, _ = make()
    build = torch.optim.SGD if kind == "sgd" else torch.optim.Adam
    optimizer = build(network.parameters(), lr=0.1, fused=True)
    for group in optimizer.param_groups:
        group["peak"] = group["lr"]
    step = TrainingStep(network, optimizer, objective=Classifying())
    step.defers = True
    step(Inputs(*batch), step=1, progress=0.0, factor=1.0)
    step.check()
    before = [p.detach().clone() for p in network.parameters()]
    step(Inputs(batch[0] * float("inf"), batch[1]), step=2, progress=0.0, factor=1.0)
    step(Inputs(*batch), step=3, progress=0.0, factor=1.0)
    for a, b in zip(before, network.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(Diverged, match="at step 2") as caught:
        step.check()
    assert caught.value.step == 2
