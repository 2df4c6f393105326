"""What the papers print beside what ours have: each number agrees or has a reason, and each reason holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.inspection.cost import network_cost
from resnets.inspection.published_costs import PublishedCost, published_costs, published_for
from resnets.networks import build, get_spec

COSTS = published_costs()


def counted(name: str) -> tuple[int, int]:
    """Parameters and multiply-adds, counted now."""
    cost = network_cost(get_spec(name))
    return cost.parameters, cost.macs


@pytest.mark.parametrize("network", sorted({cost.network for cost in COSTS}))
def test_ours_agree_with_the_printed_numbers_or_the_difference_has_a_reason(network: str) -> None:
    parameters, macs = counted(network)
    for cost in published_for(network):
        ours = parameters if cost.quantity == "parameters" else macs
        assert ours == cost.ours()
        assert cost.agrees(ours) == (cost.reason is None), cost.sentence()


@pytest.mark.parametrize(
    ("printed", "agreeing", "differing"),
    [
        ("3.8e9", (3_750_000_000, 3_838_000_000, 3_850_000_000), (3_749_000_000, 3_851_000_000)),  # half of 0.1e9 is more than 1 %
        ("11.30e9", (11_187_000_001, 11_412_999_999), (11_186_000_000, 11_414_000_000)),  # 1 % is more than half of 0.01e9
        ("0.27M", (265_000, 274_999), (264_000, 276_000)),
    ],
)
def test_what_agreeing_means(printed: str, agreeing: tuple[int, ...], differing: tuple[int, ...]) -> None:
    cost = PublishedCost("resnet18", "macs", printed, "by hand")
    assert all(cost.agrees(value) for value in agreeing)
    assert not any(cost.agrees(value) for value in differing)


def test_the_papers_headline_numbers_are_all_there() -> None:
    table_1 = {cost.network: cost.value for cost in COSTS if cost.source == "He 2015 (1512.03385), Table 1"}
    assert [table_1[f"resnet{depth}"] for depth in (18, 34, 50, 101, 152)] == [1.8e9, 3.6e9, 3.8e9, 7.6e9, 11.3e9]
    table_6 = [cost.value for cost in COSTS if cost.source == "He 2015 (1512.03385), Table 6"]
    assert table_6 == [0.27e6, 0.46e6, 0.66e6, 0.85e6, 1.7e6, 19.4e6]


def test_the_reasons_hold() -> None:
    for depth in (
        50,
        101,
        152,
    ):  # the 1x1 in front of the strided 3x3 of conv3_1, conv4_1 and conv5_1, at 56, 28, 14 instead of half
        place = sum(
            (side**2 - (side // 2) ** 2) * c_in * c_out for side, c_in, c_out in ((56, 256, 128), (28, 512, 256), (14, 1024, 512))
        )
        assert counted(f"resnet{depth}")[1] - counted(f"resnet{depth}-v1")[1] == place == pytest.approx(0.231e9, abs=5e5)
    with_projections, without = counted("resnet34")[1], counted("resnet34:shortcut=A")[1]
    assert with_projections - without == pytest.approx(0.019e9, abs=5e5)
    assert f"{without / 1e9:.1f}" == "3.6"
    assert f"{counted('resnet50-v1')[1] / 1e9:.3f}" == "3.858"
    for name in ("cifar-resnet1001", "cifar-preact-resnet1001"):
        with torch.device("meta"):
            network = build(get_spec(name))
        norms = sum(p.numel() for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
        assert counted(name)[0] - norms == 10_178_490
    assert f"{counted('cifar-resnet1202')[0] / 1e6:.1f}" == "19.4"  # with norms; without them it would be 19.3
    for depth, printed in ((50, 4.1e9), (101, 7.8e9)):  # of a depth, the ResNet has the printed number and the wider ones the more
        widths = [counted(f"resnext{depth}-{groups}")[1] for groups in ("2x40d", "4x24d", "8x14d", "32x4d")]
        assert counted(f"resnet{depth}")[1] == pytest.approx(printed, rel=0.01)
        assert min(widths) > counted(f"resnet{depth}")[1]


def test_a_network_by_another_name_has_the_same_printed_numbers() -> None:
    assert published_for("resnet50:bottleneck_stride=1x1") == published_for("resnet50-v1")
    assert published_for("resnet50:width=65") == ()
