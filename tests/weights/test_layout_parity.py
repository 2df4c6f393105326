"""Logits equal the peer's own network's on the same random weights, and every peer's names and shapes are ours.

Everything is random and offline. float64, so that agreement is to rounding and not to luck: the bound is 1e-9 of the largest
logit. Networks above 40 million parameters are in float32 to save time, and their bound is 1e-5.
Odd image sizes tell rounding conventions apart (ceil mode of the average pools, paddings).
"""

from __future__ import annotations

import pytest
import timm
import torch
from peers import MAKERS, loaded, make_images, on_meta, randomized, transformers_network
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from resnets.networks import NetworkSpec, get_spec
from resnets.weights.layouts import LAYOUTS, convert, layout_keys, spec_for

NUMERIC = {
    "torchvision": tuple(LAYOUTS["torchvision"].peers),
    "timm": (
        "resnet18", "resnet26d", "resnet50s", "resnet18d", "resnet50_gn",
        "resnext50_32x4d", "seresnet18", "seresnet50", "seresnext26d_32x4d",
        "resnetv2_18", "resnetv2_18d", "resnetv2_50", "resnetv2_50d", "resnetv2_50d_gn",
    ),
    "transformers": ("resnet-18", "resnet-26", "resnet-50"),
}  # fmt: skip
INCEPTION = ("inception_v4", "inception_resnet_v2")


def assert_parity(layout: str, peer: nn.Module, spec: NetworkSpec, images: Tensor) -> None:
    """Same logits, and a bit-exact way back."""
    theirs = peer.state_dict()
    ours = convert(theirs, source=layout, spec=spec)
    network = loaded(spec, ours)
    dtype = network.head.fc.weight.dtype
    with torch.no_grad():
        expected, actual = peer(images.to(dtype)), network(images.to(dtype))
    expected = getattr(expected, "logits", expected)
    scale = float(expected.abs().max())
    assert actual.shape == (len(images), spec.num_classes)
    assert scale > 1e-3  # not a comparison of zeros
    assert float((actual - expected).abs().max()) < (1e-9 if dtype == torch.float64 else 1e-5) * max(1.0, scale)

    back = convert(network.state_dict(), source="resnets", target=layout, spec=spec)
    assert back.keys() == theirs.keys()
    assert all(back[key].shape == theirs[key].shape and torch.equal(back[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout, names in NUMERIC.items() for name in names])
def test_logits_equal_the_peers(layout: str, name: str) -> None:
    peer = on_meta(lambda: MAKERS[layout](name))
    large = sum(p.numel() for p in peer.parameters()) > 40e6
    assert_parity(
        layout, randomized(peer, dtype=torch.float32 if large else torch.float64), spec_for(layout, name), make_images(33, 49)
    )


@pytest.mark.parametrize("name", INCEPTION)
def test_inception_logits_equal_timms(name: str) -> None:
    peer = randomized(on_meta(lambda: MAKERS["timm"](name)))
    assert_parity("timm", peer, spec_for("timm", name), make_images(107, 96, batch=1))


def test_stride_in_the_first_1x1_equals_transformers_downsample_in_bottleneck() -> None:
    peer = randomized(on_meta(lambda: transformers_network("resnet-26", downsample_in_bottleneck=True)))
    spec = spec_for("transformers", "resnet-26").updated(bottleneck_stride="1x1")
    assert_parity("transformers", peer, spec, make_images(33, 49))
    with torch.no_grad():  # the same weights with the stride elsewhere are another network
        other = loaded(spec.updated(bottleneck_stride="3x3"), convert(peer.state_dict(), source="transformers", spec=spec))
        assert not torch.allclose(other(make_images(33, 49)), peer(make_images(33, 49)).logits, rtol=1e-3)


def test_transformers_downsample_in_first_stage() -> None:
    peer = randomized(on_meta(lambda: transformers_network("resnet-18", downsample_in_first_stage=True)))
    assert_parity("transformers", peer, get_spec("resnet18", strides=(2, 2, 2, 2)), make_images(65, 65))


@pytest.mark.parametrize(("dilated", "stride"), [((False, False, True), 16), ((False, True, True), 8)])
def test_dilated_bottlenecks_equal_torchvisions(dilated: tuple[bool, bool, bool], stride: int) -> None:
    peer = randomized(on_meta(lambda: ResNet(Bottleneck, [1, 1, 2, 2], num_classes=7, replace_stride_with_dilation=list(dilated))))
    assert_parity(
        "torchvision", peer, get_spec("resnet50", blocks=(1, 1, 2, 2), num_classes=7, output_stride=stride), make_images(65, 81)
    )


@pytest.mark.parametrize("stride", [16, 8])
def test_dilated_basic_units_equal_timms(stride: int) -> None:
    """torchvision's basic units cannot dilate; timm's can."""
    peer = randomized(on_meta(lambda: timm.create_model("resnet18", output_stride=stride, num_classes=7)))
    assert_parity("timm", peer, get_spec("resnet18", num_classes=7, output_stride=stride), make_images(65, 81))


REST = [
    (layout, name) for layout in MAKERS for name in LAYOUTS[layout].peers if name not in NUMERIC[layout] and name not in INCEPTION
]


@pytest.mark.parametrize(("layout", "name"), REST)
def test_names_and_shapes_of_the_other_peers(layout: str, name: str) -> None:
    peer = on_meta(lambda: MAKERS[layout](name)).state_dict()
    spec = spec_for(layout, name)
    assert set(layout_keys(layout, spec).values()) == set(peer)
    ours = convert(peer, source=layout, spec=spec)
    back = convert(ours, source="resnets", target=layout, spec=spec)
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in peer.items()}
