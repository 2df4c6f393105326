"""Signal propagation: by hand on two units of one channel, against plain autograd, and the closed form for scaled shortcuts."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnets.inspection.signal import SignalReport, measure_signal, response_points
from resnets.networks import Network, build, get_spec


def network_of(name: str, seed: int = 0, **overrides: object) -> Network:
    torch.manual_seed(seed)
    return build(get_spec(name, **overrides))


def batch(network: Network, num: int = 4, seed: int = 1) -> Tensor:
    spec = network.spec
    return torch.randn(num, spec.in_channels, *(spec.input_size,) * spec.dims, generator=torch.Generator().manual_seed(seed))


def gradients(report: SignalReport) -> list[float]:
    return [unit.gradient for unit in report.units]


@pytest.fixture
def one_channel() -> Network:
    """x -> 2 x in the stem; F(x) = 0.25 * relu(2 x), then F(x) = 3 * relu(0.5 x); the mean; logits (0.8 m, 0). Norms do nothing."""
    network = network_of(
        "cifar-resnet14", blocks=(2,), width=1, stem_width=1, in_channels=1, num_classes=2, input_size=4, dims=1, norm_epsilon=1e-12
    )
    taps = iter([2.0, 2.0, 0.25, 0.5, 3.0])  # stem, then the convolutions of the two units
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv1d):
                module.weight.copy_(torch.tensor([[[0.0, next(taps), 0.0]]]))
        network.head.fc.weight.copy_(torch.tensor([[0.8], [0.0]]))
        network.head.fc.bias.zero_()
    return network.eval()


def test_two_units_by_hand(one_channel: Network) -> None:
    images = torch.tensor([[[0.1, 0.2, 0.3, 0.4]], [[0.5, 0.5, 0.5, 0.5]]])
    report = measure_signal(one_channel, images, torch.tensor([0, 1]), training=False)
    x = 2 * images  # the first unit's input; all positive, so that no ReLU acts
    after_first, after_second = 1.5 * x, 3.75 * x  # 1 + 0.25 * 2, times 1 + 3 * 0.5
    first, second = report.units
    assert [unit.name for unit in report.units] == ["conv2_x.0", "conv2_x.1"]
    std = float(x.std(correction=0))
    assert [layer.name for layer in first.layers] == ["conv1", "conv2"]
    assert [layer.response_std for layer in first.layers] == pytest.approx([2 * std, 0.5 * std])
    assert [layer.response_std for layer in second.layers] == pytest.approx([0.5 * 1.5 * std, 1.5 * 1.5 * std])
    assert first.response_std == pytest.approx(1.25 * std)
    assert (first.branch_ratio, second.branch_ratio) == pytest.approx((0.5, 1.5))
    pooled = after_second.mean(-1).flatten().tolist()
    probabilities = [1 / (1 + math.exp(-0.8 * m)) for m in pooled]  # of class 0
    assert report.loss == pytest.approx((-math.log(probabilities[0]) - math.log(1 - probabilities[1])) / 2)
    # dE/dm is 0.8 (p - target) / 2 for each of two images, and each of four positions has a quarter of it
    at_the_end = math.sqrt(sum(4 * (0.8 * (p - t) / 2 / 4) ** 2 for p, t in zip(probabilities, (1, 0), strict=True)))
    assert second.gradient == pytest.approx(2.5 * at_the_end)
    assert first.gradient == pytest.approx(2.5 * 1.5 * at_the_end)
    assert (first.shortcut_gradient, second.shortcut_gradient) == pytest.approx((1, 1))  # every ReLU is open here
    assert after_first.min() > 0


def test_gradients_are_those_of_plain_autograd() -> None:
    for name in ("cifar-resnet20", "cifar-preact-resnet20", "cifar-plain20", "cifar-resnet20:join=exclusive-gating"):
        network = network_of(name).train()
        images, labels = batch(network), torch.tensor([3, 1, 4, 1])
        report = measure_signal(network, images, labels)
        inputs = []
        x = network.pool(network.conv1(images))
        for unit in network.units():
            inputs.append(x)
            x = unit(x)
        loss = functional.cross_entropy(network.head(x), labels)
        expected = [float(gradient.norm()) for gradient in torch.autograd.grad(loss, inputs)]
        assert report.loss == pytest.approx(loss.item())
        assert gradients(report) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["cifar-resnet20", "cifar-preact-resnet20:shortcut_scale=0.5"])
def test_ratios_and_responses_against_running_each_unit_apart(name: str) -> None:
    network = network_of(name).train()
    images = batch(network)
    report = measure_signal(network, images)
    x = network.pool(network.conv1(images))
    for unit, measured in zip(network.units(), report.units, strict=True):
        entered = (x if unit.prelude is None else unit.prelude(x)).detach()
        matched = entered if unit.shortcut.match is None else unit.shortcut.match(entered)
        assert measured.branch_ratio == pytest.approx((unit.residual(entered.clone()).norm() / matched.norm()).item(), rel=1e-4)
        value, stds = entered.clone(), []
        layers = list(unit.residual.children())
        for i, layer in enumerate(layers):
            value = layer(value)
            norm_after = i + 1 < len(layers) and isinstance(layers[i + 1], nn.BatchNorm2d)
            norm_of_convolution = isinstance(layer, nn.BatchNorm2d) and i > 0 and isinstance(layers[i - 1], nn.Conv2d)
            if norm_of_convolution or (isinstance(layer, nn.Conv2d) and not norm_after):
                stds.append(float(value.detach().std(correction=0)))
        assert [layer.response_std for layer in measured.layers] == pytest.approx(stds, rel=1e-4)
        x = unit(x).detach()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_gradient_by_shortcuts_alone_is_the_product_of_lambda(scale: float) -> None:
    network = network_of("cifar-preact-resnet44", shortcut_scale=scale)  # seven units per stage, f is the identity
    units = measure_signal(network, batch(network)).units
    for i, unit in enumerate(units):
        to_the_end = 7 - i % 7
        if i in (7, 14):  # the first units of conv3_x and conv4_x subsample
            assert unit.shortcut_product is None
            continue
        assert unit.shortcut_product == scale**to_the_end
        assert unit.shortcut_gradient == pytest.approx(scale**to_the_end, rel=1e-4)


def test_a_relu_after_the_addition_takes_its_share() -> None:
    network = network_of("cifar-resnet20", shortcut_scale=0.5).train()
    images, labels = batch(network), torch.arange(4)
    units = measure_signal(network, images, labels).units
    x = network.pool(network.conv1(images))
    inputs, sums = [], []
    for unit in network.units():
        inputs.append(x)
        matched = x if unit.shortcut.match is None else unit.shortcut.match(x)
        sums.append(matched + unit.residual(x.clone()).detach())
        x = torch.relu(sums[-1])
    loss = functional.cross_entropy(network.head(x), labels)
    at_inputs = [float(g.norm()) for g in torch.autograd.grad(loss, inputs, retain_graph=True)]
    at_sums = [float(g.norm()) for g in torch.autograd.grad(loss, sums)]
    for i, unit in enumerate(units):
        assert unit.shortcut_gradient == pytest.approx(at_inputs[i] / at_sums[3 * (i // 3) + 2], rel=1e-4)
    assert units[0].shortcut_product == 0.125
    assert units[0].shortcut_gradient < 0.9 * 0.125  # type: ignore[operator]
    assert units[2].shortcut_gradient == pytest.approx(0.5)  # down to the last unit's input there is no f


@pytest.mark.parametrize(
    ("change", "product"),
    [
        ("shortcut=C", None),
        ("join=exclusive-gating", None),
        ("join=shortcut-only-gating", None),
        ("join=dropout", None),
        ("shortcut=none", None),
        ("shortcut=A", 1.0),
        ("zero_init_residual=true", 1.0),
    ],
)
def test_where_there_is_a_closed_form(change: str, product: float | None) -> None:
    network = network_of(f"cifar-preact-resnet20:{change}")
    units = measure_signal(network, batch(network)).units
    assert units[1].shortcut_product == product
    assert (units[1].shortcut_gradient is None) == (change == "shortcut=none")
    assert (units[1].branch_ratio is None) == (change == "shortcut=none")
    if change.startswith("zero"):
        assert {unit.branch_ratio for unit in units} == {0.0}
        assert all(unit.gradient > 0 for unit in units)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_explode_in_a_plain_network_and_hardly_in_a_residual_one(seed: int) -> None:
    growth = {}
    for name in ("cifar-plain56", "cifar-resnet56"):
        network = network_of(name, seed)
        found = gradients(measure_signal(network, batch(network, 8, seed)))
        growth[name] = found[0] / found[-1]
    assert growth["cifar-plain56"] > 1_000  # batch norm at initialisation multiplies it by about 1.4 per unit
    assert growth["cifar-resnet56"] < 200


def test_the_network_is_left_as_it_was() -> None:
    network = network_of("cifar-resnet20", gradient_checkpointing=True, stochastic_depth=0.5, dropout=0.1)
    network.conv3_x.eval()
    network.conv1.requires_grad_(False)
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    report = measure_signal(network, batch(network))
    assert len(report.units) == 9
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.conv2_x.checkpointing
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_evaluation_uses_the_running_statistics() -> None:
    network = network_of("cifar-resnet20")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(4.0)
    images = batch(network)
    trained = measure_signal(network, images).units[0]
    evaluated = measure_signal(network, images, training=False).units[0]
    assert trained.layers[0].response_std == pytest.approx(1, rel=1e-3)
    with torch.no_grad():
        x = network.eval().conv1(images)
        expected = float((network.conv2_x[0].residual.conv1(x) / 4.00001**0.5).std(correction=0))
    assert evaluated.layers[0].response_std == pytest.approx(expected, rel=1e-4)


def test_other_heads_dimensions_and_branches() -> None:
    board = network_of("alphazero-2x8", input_size=5, num_classes=26)
    assert len(measure_signal(board, batch(board)).units) == 2
    volume = network_of("resnet18", dims=3, width=2, stem_width=2, input_size=16, num_classes=3)
    assert len(measure_signal(volume, batch(volume)).units) == 8
    inception = network_of("inception-resnet-v1", blocks=(1, 1, 1), stem="cifar", transitions=(), strides=(1, 1, 1), input_size=8)
    names = [name for name, _ in response_points(inception.conv2_x[0].residual)]
    assert names == [
        "split1.0.conv1.conv", "split1.1.conv1.conv", "split1.1.conv2.conv",
        "split1.2.conv1.conv", "split1.2.conv2.conv", "split1.2.conv3.conv", "conv1",
    ]  # fmt: skip
    assert [layer.name for layer in measure_signal(inception, batch(inception)).units[0].layers] == names


def test_wrong_requests() -> None:
    network = network_of("cifar-resnet8")
    with pytest.raises(ValueError, match="labels must be 4 numbers from 0 to 9"):
        measure_signal(network, batch(network), torch.tensor([0, 1, 2, 10]))
    with pytest.raises(ValueError, match="labels must be 4 numbers"):
        measure_signal(network, batch(network), torch.tensor([0, 1]))
    headless = network_of("cifar-resnet8", num_classes=0)
    with pytest.raises(ValueError, match="num_classes=0 has no loss"):
        measure_signal(headless, batch(headless))
