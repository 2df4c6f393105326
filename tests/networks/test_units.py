"""One unit by hand: y = f(shortcut(p(x), F(p(x)))), in scalars.

The networks here have one dimension, one channel and length-1 signals, so that a convolution is a product with its middle weight, a
norm in eval mode an affine map, and a whole unit a formula on numbers that this file writes out (He 2016, eq. 1-2, Table 1, Fig. 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from resnets.networks import NetworkSpec, ResidualUnit, build
from resnets.networks.network import build_unit
from resnets.networks.residuals import Place
from resnets.networks.shortcuts import DropoutJoin, ZeroPadding

ORDERS = ("original", "bn-after-addition", "relu-before-addition", "relu-only-preactivation", "full-preactivation")
JOINS = ("sum", "exclusive-gating", "shortcut-only-gating", "dropout")
SHORTCUTS = ("A", "B", "C", "average-pool", "none")
COMBINATIONS = [(o, j, s) for o, j, s in product(ORDERS, JOINS, SHORTCUTS) if s != "none" or j == "sum"]

WEIGHTS = {"residual.conv1": 0.5, "residual.conv2": -2.0, "shortcut.match.conv": 3.0, "shortcut.join.conv": 0.4}
NORMS = {
    "residual.norm1": (1.5, 0.25),
    "residual.norm2": (-0.5, 1.0),
    "shortcut.match.norm": (2.0, -1.0),
    "after.norm": (0.75, 0.5),
}
GATE_BIAS, LAMBDA, FACTOR = -0.7, 0.8, 0.3
INPUTS = (-1.3, 0.0, 0.7, 2.0)


def spec_of(order: str = "original", **fields: object) -> NetworkSpec:
    """A one-dimensional, one-channel network of three units."""
    return NetworkSpec.model_validate(
        {
            "blocks": [3],
            "width": 1,
            "stem": "cifar",
            "stem_width": 1,
            "dims": 1,
            "num_classes": 2,
            "activation_order": order,
            **fields,
        }
    )


def middle_unit(spec: NetworkSpec, in_channels: int = 1, out_channels: int = 1, stride: int = 1) -> ResidualUnit:
    """A unit that is neither the first nor the last, with the numbers above, in eval mode."""
    unit = build_unit(spec, Place(0, 1, in_channels, out_channels, stride, 1, last=False), later_dilation=1).double().eval()
    with torch.no_grad():
        for name, module in unit.named_modules():
            if isinstance(module, nn.Conv1d):
                module.weight.zero_()[:, :, module.kernel_size[0] // 2] = WEIGHTS[name]
                if module.bias is not None:
                    module.bias.fill_(GATE_BIAS)
            elif isinstance(module, nn.BatchNorm1d):
                module.running_var.fill_(1 - module.eps)
                module.weight.fill_(NORMS[name][0])
                module.bias.fill_(NORMS[name][1])
    return unit


def relu(z: float) -> float:
    return max(z, 0.0)


def affine(name: str, z: float) -> float:
    return NORMS[name][0] * z + NORMS[name][1]


def n1(z: float) -> float:
    return affine("residual.norm1", z)


def n2(z: float) -> float:
    return affine("residual.norm2", z)


def w1(z: float) -> float:
    return 0.5 * z


def w2(z: float) -> float:
    return -2.0 * z


FORMULAS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "original": (lambda x: n2(w2(relu(n1(w1(x))))), relu),
    "bn-after-addition": (lambda x: w2(relu(n1(w1(x)))), lambda y: relu(affine("after.norm", y))),
    "relu-before-addition": (lambda x: relu(n2(w2(relu(n1(w1(x)))))), float),
    "relu-only-preactivation": (lambda x: n2(w2(relu(n1(w1(relu(x)))))), float),
    "full-preactivation": (lambda x: w2(relu(n2(w1(relu(n1(x)))))), float),
}
"""F and f of Fig. 4 (a) to (e)."""


def joined(join: str, h: float, r: float) -> float:
    """Table 1, in eval mode."""
    gate = 1 / (1 + math.exp(-(0.4 * h + GATE_BIAS)))
    return {
        "sum": h + r,
        "exclusive-gating": gate * r + (1 - gate) * h,
        "shortcut-only-gating": r + (1 - gate) * h,
        "dropout": h + r,
    }[join]


@pytest.mark.parametrize(("order", "join", "shortcut"), COMBINATIONS)
def test_unit_by_hand(order: str, join: str, shortcut: str) -> None:
    unit = middle_unit(spec_of(order, join=join, shortcut=shortcut))
    residual, f = FORMULAS[order]
    expected = []
    for x in INPUTS:
        h = affine("shortcut.match.norm", 3.0 * x) if shortcut == "C" else x  # only C projects where nothing changes
        expected.append(f(residual(x) if shortcut == "none" else joined(join, h, residual(x))))
    images = torch.tensor(INPUTS, dtype=torch.float64).view(-1, 1, 1)
    kept = images.clone()
    assert unit(images).flatten().tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(images, kept)  # nothing inside works in place on the input


@pytest.mark.parametrize("order", ORDERS)
def test_scaled_shortcut_and_residual(order: str) -> None:
    """Constant scaling (He 2016 §3.1) and Inception-ResNet's factor on F."""
    unit = middle_unit(spec_of(order, shortcut_scale=LAMBDA, residual_scale=FACTOR))
    residual, f = FORMULAS[order]
    images = torch.tensor(INPUTS, dtype=torch.float64).view(-1, 1, 1)
    assert unit(images).flatten().tolist() == pytest.approx([f(LAMBDA * x + FACTOR * residual(x)) for x in INPUTS], abs=1e-12)


def test_dropout_join_thins_out_the_shortcut_only() -> None:
    join = DropoutJoin(0.25).train()
    torch.manual_seed(0)
    x, r = torch.full((40_000,), 3.0), torch.full((40_000,), 0.5)
    result = join(x, r)
    assert set(result.tolist()) == {0.5, 4.5}  # r alone, or r + 3 / (1 - 0.25)
    assert float((result == 0.5).double().mean()) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("shortcut", "expected_h"),
    [
        # From one channel to two at stride 2, x = 1, 3, -4.
        ("A", [[1.0, -4.0], [0.0, 0.0]]),
        ("B", [[5.0, -25.0]] * 2),  # 2 (3 x) - 1 at positions 0 and 2
        ("C", [[5.0, -25.0]] * 2),
        ("average-pool", [[11.0, -25.0]] * 2),  # 2 (3 m) - 1 of the means 2 and -4: the last window has one member
    ],
)
def test_shortcut_where_the_shape_changes(shortcut: str, expected_h: list[list[float]]) -> None:
    unit = middle_unit(spec_of(shortcut=shortcut), out_channels=2, stride=2)
    x = torch.tensor([[[1.0, 3.0, -4.0]]], dtype=torch.float64)
    zeros = torch.zeros(1, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(unit.shortcut(x, zeros)[0], torch.tensor(expected_h, dtype=torch.float64))


def test_plain_network_returns_the_residual() -> None:
    unit = middle_unit(spec_of(shortcut="none"), out_channels=2, stride=2)
    x = torch.tensor([[[1.0, 3.0, -4.0]]], dtype=torch.float64)
    assert torch.equal(unit(x), torch.relu(unit.residual(x)))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("extra", "stride"), [(0, 2), (3, 1), (3, 2), (5, 3)])
def test_option_a_against_a_loop(dims: int, extra: int, stride: int) -> None:
    x = torch.randn(2, 3, *(5, 4, 7)[:dims])
    result = ZeroPadding(3, 3 + extra, stride, dims)(x)
    shape = [math.ceil(n / stride) for n in x.shape[2:]]
    assert list(result.shape) == [2, 3 + extra, *shape]
    for place in product(*(range(n) for n in shape)):
        here = (slice(None), slice(None), *place)
        there = (slice(None), slice(None), *(p * stride for p in place))
        assert torch.equal(result[here], torch.cat([x[there], torch.zeros(2, extra)], dim=1))


def test_option_a_cannot_shrink() -> None:
    with pytest.raises(ValueError, match="cannot go from 8 to 4 channels; use shortcut='B'"):
        build(NetworkSpec(blocks=(1, 1), width=(8, 4), stem="cifar", stem_width=8, shortcut="A"))


def test_prelude_activates_for_both_the_branch_and_the_shortcut() -> None:
    """Full pre-activation where the shape changes: x' = relu(norm(x)) feeds F's first convolution and the projection."""
    unit = (
        build_unit(spec_of("full-preactivation", projection_norm=False), Place(0, 1, 1, 2, 1, 1, last=False), later_dilation=1)
        .double()
        .eval()
    )
    with torch.no_grad():
        prelude = unit.prelude.norm
        prelude.running_var.fill_(1 - prelude.eps)
        prelude.weight.fill_(2.0)
        prelude.bias.fill_(-1.0)
    x = torch.tensor([[[1.5, 0.25, -3.0]]], dtype=torch.float64)
    activated = torch.tensor([[[2.0, 0.0, 0.0]]], dtype=torch.float64)  # relu(2 x - 1)
    expected = unit.shortcut.match.conv(activated) + unit.residual(activated)
    torch.testing.assert_close(unit(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("order", "join", "shortcut"), [c for c in COMBINATIONS if c[2] in ("A", "B", "none")])
def test_gradients_pass_a_numerical_check(order: str, join: str, shortcut: str) -> None:
    """In eval mode, from one channel to two: sums and ReLUs in place must not spoil what autograd kept."""
    torch.manual_seed(0)
    spec = spec_of(order, join=join, shortcut=shortcut)
    unit = build_unit(spec, Place(0, 1, 1, 2, 2, 1, last=False), later_dilation=1).double().eval()
    x = torch.randn(2, 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, (x,))


SHAPES = {
    "basic": {"residual": "basic"},
    "bottleneck": {"residual": "bottleneck"},
    "squeeze-excitation": {"residual": "bottleneck", "squeeze_excitation": 4},
    "inception": {"residual": "inception-resnet-v2-a"},
}


@pytest.mark.parametrize(("shape", "order"), [(s, o) for s, o in product(SHAPES, ORDERS) if s != "inception" or o == "original"])
def test_zero_init_makes_every_unit_the_identity(shape: str, order: str) -> None:
    """Goyal 2017 §5.1: F starts at zero. x is not negative, as it is after a ReLU."""
    spec = NetworkSpec.model_validate(
        {
            "blocks": [3], "width": 4, "stem": "cifar", "stem_width": 16, "zero_init_residual": True, "activation_order": order,
            "conv_bias": True, "initialization": "torch",  # random biases too
            **SHAPES[shape],
        }
    )  # fmt: skip
    network = build(spec).eval()
    units = network.units()[1:]
    x = torch.rand(2, units[0].residual(network.conv2_x[0](torch.rand(1, 16, 5, 5))).shape[1], 5, 5)
    for unit in units:
        assert torch.equal(unit.residual(x), torch.zeros_like(x))
        torch.testing.assert_close(unit(x), x, rtol=1e-4, atol=1e-4)  # a norm after the sum divides by sqrt(1 + epsilon)


def test_without_zero_init_no_unit_is_the_identity() -> None:
    network = build(NetworkSpec(blocks=(2,), width=4, stem="cifar", stem_width=4)).eval()
    x = torch.rand(2, 4, 5, 5)
    for unit in network.units():
        assert not torch.allclose(unit(x), x, atol=1e-3)


def test_gates_start_at_their_bias() -> None:
    network = build(spec_of(join="exclusive-gating", gate_bias=-3.5))
    for unit in network.units():
        assert torch.equal(unit.shortcut.join.conv.bias, torch.full((1,), -3.5))


def test_squeeze_and_excitation_by_hand() -> None:
    """x * sigmoid(W2 relu(W1 mean(x))) at F's end, after its last norm."""
    spec = NetworkSpec(blocks=(2,), width=4, stem="cifar", stem_width=4, squeeze_excitation=2)
    residual = build(spec).double().eval().units()[1].residual
    gate = residual.squeeze_excitation
    nn.init.normal_(gate.reduce.bias)
    x: Tensor = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    before = residual[:-1](x)
    squeezed = before.sum((2, 3)) / 9
    hidden = torch.relu(squeezed @ gate.reduce.weight.view(2, 4).T + gate.reduce.bias)
    factor = torch.sigmoid(hidden @ gate.expand.weight.view(4, 2).T + gate.expand.bias)
    torch.testing.assert_close(residual(x), before * factor[:, :, None, None])


@pytest.mark.parametrize(
    ("channels", "multiple", "inner"), [(64, 1, 4), (64, 8, 8), (96, 8, 8), (192, 8, 16), (8, 1, 1), (256, 8, 16)]
)
def test_squeeze_width(channels: int, multiple: int, inner: int) -> None:
    spec = NetworkSpec(
        blocks=(1,), width=channels, stem="cifar", stem_width=channels, squeeze_excitation=16, squeeze_multiple=multiple
    )
    assert build(spec).units()[0].residual.squeeze_excitation.reduce.out_channels == inner
