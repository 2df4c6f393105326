"""Segmenters compute what torchvision's do from the same weights, in both directions of the key table.

Weights, affine parameters and running statistics are random. float64 with narrow images, so that agreement is to rounding.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead

from resnets.segmentation import SegmenterSpec, get_segmenter_spec
from resnets.segmentation.segmenter import Segmenter
from resnets.weights import convert

NAMES = ("fcn-resnet50", "fcn-resnet101", "deeplabv3-resnet50", "deeplabv3-resnet101")


def peer(name: str, **options: Any) -> nn.Module:
    options = {"num_classes": 21, "aux_loss": True, **options}
    made: nn.Module = torchvision.models.get_model(name.replace("-", "_"), weights=None, weights_backbone=None, **options)
    return made


def randomized(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A meta network on the CPU in evaluation mode, every tensor of it random."""
    network = network.to(dtype).to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(3)
    pool = torch.randn(1_000_003, dtype=dtype, generator=generator)
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(5)
        elif name.endswith("running_var") or (value.dim() == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.dim() == 1:
            value.normal_(0, 0.1, generator=generator)
        else:
            shift = int(torch.randint(len(pool), (), generator=generator))
            numbers = pool.roll(shift).repeat(math.ceil(value.numel() / len(pool)))[: value.numel()]
            value.copy_((numbers / math.sqrt(value[0].numel())).view(value.shape))
    return network


def loaded(spec: SegmenterSpec, state: dict[str, Tensor]) -> Segmenter:
    with torch.device("meta"):
        segmenter = Segmenter(spec)
    segmenter.load_state_dict(state, assign=True)
    return segmenter.eval()


def assert_parity(spec: SegmenterSpec, theirs: nn.Module, images: Tensor, bound: float) -> None:
    """Both logits agree, and the way back gives the very tensors."""
    state = theirs.state_dict()
    segmenter = loaded(spec, convert(state, spec=spec))
    with torch.inference_mode():
        expected, actual = theirs(images), segmenter(images)
        alone = segmenter.logits(images)
    assert list(actual) == list(expected)
    for name in expected:
        scale = float(expected[name].abs().max())
        assert scale > 1e-3  # not a comparison of zeros
        assert actual[name].shape == expected[name].shape == (len(images), spec.num_classes, *images.shape[-2:])
        assert float((actual[name] - expected[name]).abs().max()) < bound * max(1.0, scale)
    assert torch.equal(alone, actual["out"])
    back = convert(segmenter.state_dict(), spec=spec, source="resnets", target="torchvision")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize("name", NAMES)
def test_both_logits_equal_torchvisions(name: str) -> None:
    with torch.device("meta"):
        theirs = peer(name, num_classes=7)
    images = torch.randn(1, 3, 41, 33, generator=torch.Generator().manual_seed(1))  # odd sizes tell rounding conventions apart
    assert_parity(get_segmenter_spec(name, num_classes=7), randomized(theirs, torch.float32), images, bound=1e-4)


@pytest.mark.parametrize("head", ["fcn", "deeplabv3"])
@pytest.mark.parametrize(("stride", "dilated"), [(8, (False, True, True)), (16, (False, False, True))])
def test_output_strides_equal_torchvisions_dilation(head: str, stride: int, dilated: tuple[bool, ...]) -> None:
    """float64; torchvision offers a stride of 16 only to who assembles the parts, which this does."""
    blocks = (1, 1, 2, 2)
    with torch.device("meta"):
        trunk = torchvision.models.resnet.ResNet(
            torchvision.models.resnet.Bottleneck, list(blocks), replace_stride_with_dilation=list(dilated)
        )
        maps = torchvision.models._utils.IntermediateLayerGetter(trunk, {"layer3": "aux", "layer4": "out"})
        rates = (12, 24, 36) if stride == 8 else (6, 12, 18)
        classifier = FCNHead(2048, 5) if head == "fcn" else DeepLabHead(2048, 5, rates)
        theirs = DeepLabV3(maps, classifier, FCNHead(1024, 5))  # one class with FCN, but for its name
    spec = get_segmenter_spec(f"{head}-resnet50", blocks=blocks, num_classes=5, output_stride=stride)
    images = torch.randn(1, 3, 49, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert_parity(spec, randomized(theirs, torch.float64), images, bound=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("auxiliary", [True, False])
def test_parameter_counts_equal_torchvisions(name: str, auxiliary: bool) -> None:
    with torch.device("meta"):
        theirs, ours = peer(name, aux_loss=auxiliary), Segmenter(get_segmenter_spec(name, auxiliary=auxiliary))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert {tuple(p.shape) for p in ours.parameters()} == {tuple(p.shape) for p in theirs.parameters()}


def test_training_gives_torchvisions_gradients() -> None:
    """Dropout off on both sides: then norms with batch statistics, both losses and all gradients are those of the peer."""
    with torch.device("meta"):
        trunk = torchvision.models.resnet.ResNet(
            torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True]
        )
        maps = torchvision.models._utils.IntermediateLayerGetter(trunk, {"layer3": "aux", "layer4": "out"})
        theirs = DeepLabV3(maps, DeepLabHead(2048, 4), FCNHead(1024, 4))
    theirs = randomized(theirs, torch.float64)
    spec = get_segmenter_spec("deeplabv3-resnet50", blocks=(1, 1, 1, 1), num_classes=4, head_dropout=0)
    ours = loaded(spec, {key: value.clone() for key, value in convert(theirs.state_dict(), spec=spec).items()})
    for network in (theirs.train(), ours.train()):
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    images = torch.randn(2, 3, 17, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    masks = torch.randint(4, (2, 17, 17), generator=torch.Generator().manual_seed(5))
    for network in (theirs, ours):
        outputs = network(images)
        sum(nn.functional.cross_entropy(outputs[name], masks) * weight for name, weight in (("out", 1), ("aux", 0.5))).backward()
    gradients = convert(
        {**ours.state_dict(), **{name: p.grad for name, p in ours.named_parameters()}},
        spec=spec,
        source="resnets",
        target="torchvision",
    )
    for name, parameter in theirs.named_parameters():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-6, atol=1e-9 * max(1.0, scale))
