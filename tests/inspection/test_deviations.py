"""References: their tables against the modules that the packages build, and the comparison itself."""

from functools import cache

import pytest
import timm
import torch
import torchvision
from torch import nn

from resnets.inspection.deviations import WHAT, compare
from resnets.inspection.reference_family import Family
from resnets.inspection.references import REFERENCES
from resnets.networks import NetworkSpec, build, get_spec

PACKAGES = [
    (reference, name, family) for reference in ("torchvision", "timm") for family in REFERENCES[reference] for name in family.networks
]  # fmt: skip
INITIALISED = {
    "torchvision": ["resnet18", "resnet50"],
    "timm": ["resnet18", "resnet50d", "seresnet18", "resnetv2_50", "inception_v4", "inception_resnet_v2"],
}


@cache
def theirs(reference: str, name: str, device: str = "meta") -> nn.Module:
    with torch.device(device):
        if reference == "torchvision":
            network: nn.Module = torchvision.models.get_model(name, weights=None)
        else:
            network = timm.create_model(name, pretrained=False)
    return network


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm))]


@pytest.mark.parametrize(("reference", "name", "family"), PACKAGES, ids=[f"{r}-{n}" for r, n, _ in PACKAGES])
def test_the_tables_say_what_the_packages_build(reference: str, name: str, family: Family) -> None:
    network, spec = theirs(reference, name), family.spec(name)
    with torch.device("meta"):
        ours = build(spec)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in ours.parameters())
    found = norms(network)
    assert len(found) == len(norms(ours))
    assert {norm.eps for norm in found} == {spec.norm_epsilon}
    if spec.norm == "batch":
        assert {norm.momentum for norm in found} == {spec.norm_momentum}
    assert any(isinstance(norm, nn.GroupNorm) for norm in found) == (spec.norm == "group")
    # the strided convolutions outside the shortcuts have the same kernels
    strided = [
        sorted(
            (module.kernel_size, module.stride)
            for key, module in convolutions(each).items()
            if module.stride != (1, 1) and "downsample" not in key and "shortcut" not in key
        )
        for each in (network, ours)
    ]
    assert strided[0] == strided[1]
    gates = [key for key in convolutions(network) if ".se." in key]
    assert bool(gates) == (spec.squeeze_excitation > 0)
    if not spec.is_inception:
        biased = [
            key for key, m in convolutions(network).items() if m.bias is not None and ".se." not in key and "head.fc" not in key
        ]
        assert bool(biased) == spec.conv_bias
    dropouts = {module.p for module in network.modules() if isinstance(module, nn.Dropout)} | {getattr(network, "drop_rate", 0.0)}
    assert max(dropouts) == spec.head_dropout


@pytest.mark.parametrize(("reference", "name"), [(r, n) for r, names in INITIALISED.items() for n in names])
def test_the_tables_say_how_the_packages_initialise(reference: str, name: str) -> None:
    torch.manual_seed(0)
    network = theirs(reference, name, "cpu")
    family = next(family for family in REFERENCES[reference] if name in family.networks)  # type: ignore[index]
    spec = family.spec(name)
    large = [m for key, m in convolutions(network).items() if m.weight.numel() >= 30_000 and "head.fc" not in key]
    assert large
    for conv in large:
        fan_in = conv.weight[0].numel()
        fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]  # as torch counts it, groups or not
        expected = {"he-fan-out": (2 / fan_out) ** 0.5, "torch": (1 / (3 * fan_in)) ** 0.5}[spec.initialization]
        assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.05)
    gammas = [norm.weight.detach() for norm in norms(network)]
    assert any(bool((gamma == 0).all()) for gamma in gammas) == spec.zero_init_residual
    assert sum(bool((gamma == 0).all()) for gamma in gammas) == (sum(spec.blocks) if spec.zero_init_residual else 0)


def test_the_remarks_about_packages_hold() -> None:
    torch.manual_seed(0)
    gate = next(module for name, module in theirs("timm", "seresnet18", "cpu").named_modules() if name.endswith("se.fc1"))
    assert bool(gate.bias.detach().abs().max() > 0)
    ours = build(get_spec("se-resnet18"))
    assert not ours.conv2_x[0].residual.squeeze_excitation.reduce.bias.any()
    classifier = theirs("timm", "resnetv2_50", "cpu").head.fc
    assert float(classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert not classifier.bias.any()
    stem = theirs("timm", "resnetv2_50").stem
    assert not any(isinstance(module, nn.BatchNorm2d) for module in stem.modules())


def test_strides_of_bottlenecks() -> None:
    for reference in ("torchvision", "timm"):
        first = theirs(reference, "resnet50").layer2[0]
        assert (first.conv1.stride, first.conv2.stride) == ((1, 1), (2, 2))


def fields(name: str, reference: str) -> dict[str, tuple[object, object]]:
    return {d.field: (d.ours, d.theirs) for d in compare(get_spec(name), reference).deviations if d.field}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "reference", "network", "expected"),
    [
        ("resnet50", "torchvision", "resnet50", {}),
        ("resnet50", "he2015", "ResNet-50", {"bottleneck_stride": ("3x3", "1x1")}),
        ("resnet50-v1", "he2015", "ResNet-50", {}),
        ("resnet50-v1", "torchvision", "resnet50", {"bottleneck_stride": ("1x1", "3x3")}),
        ("resnet50", "timm", "resnet50", {"zero_init_residual": (False, True)}),
        ("resnet50:zero_init_residual=true", "timm", "resnet50", {}),
        ("resnet18", "he2015", "ResNet-18", {"shortcut": ("B", "A")}),
        ("resnet34", "he2015", "ResNet-34 B", {}),
        ("plain34", "he2015", "plain-34", {}),
        ("cifar-resnet56", "he2015", "ResNet-56 for CIFAR-10", {}),
        ("se-resnet18", "timm", "seresnet18", {"zero_init_residual": (False, True), "squeeze_multiple": ((4, 8, 16, 32), (8, 8, 16, 32))}),
        ("se-resnet50", "timm", "seresnet50", {"zero_init_residual": (False, True)}),  # its gates' widths are multiples of 8 anyway
        ("preact-resnet50", "timm", "resnetv2_50", {"stem_activation": (True, False)}),
        ("preact-resnet50", "he2015", "ResNet-50", {
            "activation_order": ("full-preactivation", "original"), "bottleneck_stride": ("3x3", "1x1"), "projection_norm": (False, True),
        }),
        ("inception-v4", "timm", "inception_v4", {"initialization": ("he-fan-out", "torch"), "head_dropout": (0.2, 0.0)}),
        ("cifar-preact-resnet110", "he2016", "ResNet-110, full-preactivation (text)", {}),
        ("cifar-preact-resnet164", "he2016", "ResNet-164 (resnet-pre-act.lua)", {}),
        ("cifar-preact-resnet164:shared_preactivation=first-unit", "he2016", "ResNet-164, full-preactivation (text)", {}),
        ("cifar-resnet110:activation_order=relu-before-addition", "he2016", "ResNet-110, relu-before-addition (text)", {}),
        ("preact-resnet200", "he2016", "ResNet-200 (preresnet.lua)", {}),
        ("preact-resnet50:bottleneck_stride=1x1", "he2016", "ResNet-50 (preresnet.lua)", {"bottleneck_stride": ("1x1", "3x3")}),
        ("wrn-28-10", "wrn", "WRN-28-10", {}),
        ("wrn-28-10:dropout=0.3", "wrn", "WRN-28-10", {}),
        ("wrn-40-1", "wrn", "WRN-40-1", {"stem_activation": (True, False)}),
        ("wrn-28-10:dropout=0.5,stem_width=160", "wrn", "WRN-28-10", {"dropout": (0.5, "0.3 or 0.4"), "stem_width": (160, 16)}),
        ("wide-resnet50-2", "wrn", "WRN-50-2-bottleneck", {}),
        ("inception-v4", "inception", "Inception-v4 (TF-slim)", {"num_classes": (1000, 1001), "norm_momentum": (0.1, 3e-4)}),
        ("inception-resnet-v2", "inception", "Inception-ResNet-v2 (TF-slim)", {"num_classes": (1000, 1001), "norm_momentum": (0.1, 3e-4)}),
        ("inception-resnet-v2:linear_last_unit=false,norm_momentum=0.0003,num_classes=1001", "inception", "Inception-ResNet-v2 (TF-slim)", {
            "linear_last_unit": (False, True),
        }),
        ("inception-resnet-v2-paper", "inception", "Inception-ResNet-v2 (figures)", {}),
        ("inception-resnet-v1", "inception", "Inception-ResNet-v1 (figures)", {}),
        ("tutorial-resnet18", "torchvision", "resnet18", {
            "projection_norm": (False, True), "num_classes": (10, 1000), "in_channels": (1, 3), "input_size": (96, 224),
            "conv_bias": (True, False), "initialization": ("torch", "he-fan-out"),
        }),
        ("resnet50:norm_epsilon=0.001,norm_momentum=0.01", "torchvision", "resnet50", {
            "norm_epsilon": (1e-3, 1e-5), "norm_momentum": (0.01, 0.1),
        }),
    ],
)  # fmt: skip
def test_deviations(name: str, reference: str, network: str, expected: dict[str, tuple[object, object]]) -> None:
    assert compare(get_spec(name), reference).network == network  # type: ignore[arg-type]
    assert fields(name, reference) == expected


def test_values_that_build_the_same_network_are_no_deviations() -> None:
    same = (
        "resnet50:width=[64,128,256,512],strides=[1,2,2,2],stem_stride=2,output_stride=32,residual_scale=[1,1,1,1],"
        "gradient_checkpointing=true,gate_bias=3,norm_groups=7,squeeze_multiple=8,shared_preactivation=first-unit"
    )
    assert compare(get_spec(same), "torchvision").deviations == ()


def test_every_definition_equals_itself_and_cites() -> None:
    for reference, families in REFERENCES.items():
        for family in families:
            assert set(family.sources) | set(family.admits) | family.unstated <= set(WHAT)
            for name in list(family.networks)[:10]:
                found = compare(family.spec(name), reference)
                assert found.network == name
                assert [d for d in found.deviations if d.field] == []
                assert all(d.source for d in found.deviations)


def test_every_field_that_can_deviate_is_compared() -> None:
    assert set(WHAT) | {"widening_factor", "gradient_checkpointing"} == set(NetworkSpec.model_fields)
    wide = compare(get_spec("resnet18:widening_factor=2"), "torchvision").deviations
    assert [(d.field, d.ours) for d in wide] == [("width", (128, 256, 512, 1024))]


def test_what_the_paper_allows_and_leaves_open() -> None:
    assert "initialization" not in fields("resnet34:initialization=he-fan-in", "he2015")
    assert fields("resnet34:initialization=torch", "he2015") == {"initialization": ("torch", "he-fan-in or he-fan-out")}
    left_open = compare(get_spec("resnet34:norm_epsilon=0.1"), "he2015")
    assert left_open.deviations == ()
    assert "norm_epsilon" in left_open.unstated
    released = {d.what for d in compare(get_spec("resnet50-v1"), "he2015").deviations}
    assert released == {"padding of the 3×3 max pool", "statistics of the norms", "bias of conv1"}
    assert "bias of conv1" not in {d.what for d in compare(get_spec("resnet101-v1"), "he2015").deviations}


def test_networks_that_a_reference_does_not_have() -> None:
    with pytest.raises(ValueError, match="torchvision defines no network with 3, 3, 3 units"):
        compare(get_spec("cifar-resnet20"), "torchvision")
    with pytest.raises(ValueError, match="no reference 'keras'; the references are he2015"):
        compare(get_spec("resnet18"), "keras")  # type: ignore[arg-type]
