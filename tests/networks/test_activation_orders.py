"""The five activation orders layer by layer, as in He 2016, Fig. 4, and §4.1's rule for the first and the last unit."""

from __future__ import annotations

import pytest
from torch import nn

from resnets.networks import Network, NetworkSpec, ResidualUnit, build

KINDS = {nn.Conv2d: "weight", nn.BatchNorm2d: "BN", nn.ReLU: "ReLU", nn.Dropout: "dropout"}

FIGURE_4 = {  # (layers of F, layers after the addition)
    "original": ("weight BN ReLU weight BN", "ReLU"),
    "bn-after-addition": ("weight BN ReLU weight", "BN ReLU"),
    "relu-before-addition": ("weight BN ReLU weight BN ReLU", ""),
    "relu-only-preactivation": ("ReLU weight BN ReLU weight BN", ""),
    "full-preactivation": ("BN ReLU weight BN ReLU weight", ""),
}
BOTTLENECKS = {
    "original": ("weight BN ReLU weight BN ReLU weight BN", "ReLU"),
    "bn-after-addition": ("weight BN ReLU weight BN ReLU weight", "BN ReLU"),
    "relu-before-addition": ("weight BN ReLU weight BN ReLU weight BN ReLU", ""),
    "relu-only-preactivation": ("ReLU weight BN ReLU weight BN ReLU weight BN", ""),
    "full-preactivation": ("BN ReLU weight BN ReLU weight BN ReLU weight", ""),
}
PREACTIVATIONS = {"relu-only-preactivation": "ReLU", "full-preactivation": "BN ReLU"}


def layers(module: nn.Module | None) -> str:
    """The kinds of the module's layers in order; no module, no layers."""
    leaves = [] if module is None else [m for m in module.modules() if not list(m.children())]
    return " ".join(KINDS[type(leaf)] for leaf in leaves)


def parts(unit: ResidualUnit) -> tuple[str, str, str]:
    """Prelude, F and f."""
    return layers(unit.prelude), layers(unit.residual), layers(unit.after)


def network(order: str, **fields: object) -> Network:
    """Two stages of three units; with basic units only the fourth changes the shape, with bottlenecks the first one too."""
    base = {"blocks": [3, 3], "width": 4, "stem": "cifar", "stem_width": 4, "activation_order": order}
    return build(NetworkSpec.model_validate({**base, **fields}))


@pytest.mark.parametrize("order", FIGURE_4)
def test_inner_unit_is_figure_4(order: str) -> None:
    residual, after = FIGURE_4[order]
    assert parts(network(order).units()[1]) == ("", residual, after)


@pytest.mark.parametrize("order", BOTTLENECKS)
def test_inner_bottleneck(order: str) -> None:
    residual, after = BOTTLENECKS[order]
    assert parts(network(order, residual="bottleneck").units()[1]) == ("", residual, after)


@pytest.mark.parametrize("order", ["original", "bn-after-addition", "relu-before-addition"])
def test_postactivation_units_are_all_alike(order: str) -> None:
    net = network(order)
    assert {(layers(u.prelude), layers(u.residual), layers(u.after)) for u in net.units()} == {("", *FIGURE_4[order])}
    assert layers(net.conv1) == "weight BN ReLU"


@pytest.mark.parametrize("order", PREACTIVATIONS)
def test_first_and_last_unit_of_preactivation(order: str) -> None:
    """§4.1: the first activation is before the first unit's two paths, an extra one after the last addition."""
    activation = PREACTIVATIONS[order]
    residual = FIGURE_4[order][0]
    units = network(order, shared_preactivation="first-unit").units()
    activated = residual.removeprefix(activation).strip()
    assert layers(network(order).conv1) == "weight BN ReLU"
    assert parts(units[0]) == ("", activated, "")  # the stem has activated
    assert [parts(unit) for unit in units[1:5]] == [("", residual, "")] * 4
    assert parts(units[5]) == ("", residual, activation)


@pytest.mark.parametrize("order", PREACTIVATIONS)
def test_shape_changes_share_their_preactivation(order: str) -> None:
    """resnet-pre-act.lua: where the shape changes, the projection sees the activated input."""
    activation, residual = PREACTIVATIONS[order], FIGURE_4[order][0]
    activated = residual.removeprefix(activation).strip()
    units = network(order, shared_preactivation="shape-change").units()
    assert parts(units[3]) == (activation, activated, "")
    assert parts(units[2]) == parts(units[4]) == ("", residual, "")


@pytest.mark.parametrize("order", PREACTIVATIONS)
@pytest.mark.parametrize(
    ("residual", "shared", "in_prelude"),
    [
        ("basic", "first-unit", True),
        ("basic", "shape-change", False),  # as in timm's resnetv2_18: nothing changes, so that the shortcut is x itself
        ("bottleneck", "first-unit", True),
        ("bottleneck", "shape-change", True),
    ],
)
def test_without_an_activation_in_the_stem_the_first_unit_activates(
    order: str, residual: str, shared: str, in_prelude: bool
) -> None:
    net = network(order, residual=residual, shared_preactivation=shared, stem_activation=False)
    whole = (FIGURE_4 if residual == "basic" else BOTTLENECKS)[order][0]
    activation = PREACTIVATIONS[order]
    assert layers(net.conv1) == "weight"
    expected = (activation, whole.removeprefix(activation).strip(), "") if in_prelude else ("", whole, "")
    assert parts(net.units()[0]) == expected


def test_dropout_stands_before_the_last_convolution() -> None:
    """WRN §2.4: between the convolutions, after the activation."""
    net = network("full-preactivation", dropout=0.3)
    assert layers(net.units()[1].residual) == "BN ReLU weight BN ReLU dropout weight"


@pytest.mark.parametrize(
    ("linear", "after"),
    [(False, ["ReLU", "ReLU", "ReLU"]), (True, ["ReLU", "ReLU", ""])],
)
def test_linear_last_unit(linear: bool, after: list[str]) -> None:
    """TF-slim's Inception-ResNet-v2: the last unit neither scales F nor activates the sum."""
    net = build(NetworkSpec(blocks=(3,), width=4, stem="cifar", stem_width=4, residual_scale=0.2, linear_last_unit=linear))
    assert [layers(unit.after) for unit in net.units()] == after
    assert ["scale" in dict(unit.residual.named_children()) for unit in net.units()] == [True, True, not linear]


def test_inception_v4_units_end_in_their_branches() -> None:
    spec = NetworkSpec(
        residual="inception-v4-a", blocks=(2,), stem="cifar", stem_width=8, shortcut="none", strides=(1,), num_classes=3
    )
    net = build(spec)
    assert [layers(unit.after) for unit in net.units()] == ["", ""]
    assert net.feature_channels == {"conv1": 8, "conv2_x": 384}  # 4 branches of 96, whatever comes in
