"""FCN heads with skips and subpixels: by arithmetic of their own, at the right places, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from resnets.segmentation import create_segmenter, get_segmenter_spec
from resnets.segmentation.segmenter import Segmenter
from resnets.segmentation.weights import load_pretrained_segmenter
from resnets.weights.layouts import layout_keys

SMALL = "fcn-cifar-resnet8:stem_stride=2,strides=[2,2,2],output_stride=16,head_width=6,auxiliary=False,num_classes=3"


def made(**fields: Any) -> Segmenter:
    """In float64 and evaluation mode, with norms that do something."""
    torch.manual_seed(0)
    segmenter = create_segmenter(SMALL, **fields).double().eval()
    for name, value in segmenter.state_dict().items():
        if name.endswith(("running_mean", "norm.bias")):
            value.normal_(0, 0.3)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return segmenter


def make_images(height: int = 43, width: int = 35) -> Tensor:
    return torch.randn(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def normed(state: dict[str, Tensor], x: Tensor, convolution: str, norm: str, padding: int) -> Tensor:
    x = functional.conv2d(x, state[f"{convolution}.weight"], padding=padding)
    mean, variance, scale, shift = (
        state[f"{norm}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


@torch.inference_mode()
def test_logits_follow_from_the_maps_by_hand() -> None:
    segmenter, images = made(skips=2, subpixels=2), make_images()
    state = {name.removeprefix("head."): value for name, value in segmenter.state_dict().items() if name.startswith("head.")}
    maps = segmenter.network.features(images)
    x = normed(state, maps["conv4_x"], "layer.conv", "layer.norm", 1).relu()
    for place, name in enumerate(("conv3_x", "conv2_x")):
        side = normed(state, maps[name], f"skips.{place}.lateral.0", f"skips.{place}.lateral.1", 0)
        x = functional.interpolate(x, maps[name].shape[-2:], mode="bilinear") + side
        x = normed(state, x, f"skips.{place}.layer.conv", f"skips.{place}.layer.norm", 1).relu()
    x = torch.einsum("kc,nchw->nkhw", state["classifier.weight"].flatten(1), x) + state["classifier.bias"][:, None, None]
    fine = torch.empty(2, 3, 2 * x.shape[2], 2 * x.shape[3], dtype=x.dtype)
    for down in range(2):
        for across in range(2):
            fine[:, :, down::2, across::2] = x[:, 2 * down + across :: 4]
    expected = functional.interpolate(fine, images.shape[-2:], mode="bilinear")
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(segmenter(images)["out"], expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(segmenter.logits(images), segmenter(images)["out"])


@pytest.mark.parametrize(("skips", "subpixels", "stride"), [(0, 1, 16), (0, 4, 4), (1, 1, 8), (2, 1, 4), (3, 1, 2), (2, 2, 2)])
def test_the_heads_logits_have_the_stride_of_the_finest_map(skips: int, subpixels: int, stride: int) -> None:
    segmenter = made(skips=skips, subpixels=subpixels)
    assert segmenter.maps == ("conv4_x", "conv3_x", "conv2_x", "conv1")[: skips + 1]
    maps = segmenter.network.features(make_images(32, 64))
    assert segmenter.head(*(maps[name] for name in segmenter.maps)).shape == (2, 3, 32 // stride, 64 // stride)


def test_earlier_maps_of_a_dilated_trunk_join_at_their_own_size() -> None:
    segmenter = made(skips=2, output_stride=8)
    maps = segmenter.network.features(make_images())
    assert maps["conv4_x"].shape[-2:] == maps["conv3_x"].shape[-2:]
    assert segmenter(make_images())["out"].shape == (2, 3, 43, 35)


def test_every_parameter_of_the_skips_learns_and_belongs_to_the_head() -> None:
    segmenter = made(skips=2, subpixels=2, auxiliary=True).train()
    outputs = segmenter(make_images())
    (outputs["out"].square().sum() + outputs["aux"].sum()).backward()
    in_head = {id(p) for module in segmenter.parts["head"] for p in module.parameters()}
    skips = [p for name, p in segmenter.named_parameters() if "skips" in name]
    assert len(skips) == 12
    for parameter in skips:
        assert id(parameter) in in_head
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0


def test_a_segmenter_without_them_has_the_same_tensors_as_before() -> None:
    assert not [name for name in made().state_dict() if "skips" in name]


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (SMALL, {"skips": 4}, "skips=4, but before its last map .* has 3"),
        (SMALL, {"skips": -1}, "skips: "),
        (SMALL, {"subpixels": 0}, "subpixels: "),
        ("deeplabv3-resnet18", {"skips": 1}, "those of head='fcn'; leave them unset for head='deeplabv3'"),
        ("deeplabv3-resnet18", {"subpixels": 2}, "those of head='fcn'"),
    ],
)
def test_wrong_requests_are_refused_with_the_fix(name: str, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_segmenter_spec(name, **fields)


def test_torchvision_has_no_place_for_them() -> None:
    spec = get_segmenter_spec("fcn-resnet50:skips=2")
    with pytest.raises(ValueError, match="set skips=0 and subpixels=1"):
        layout_keys("torchvision", spec)


def test_a_file_of_ours_counts_its_classes_with_subpixels(tmp_path: Path) -> None:
    segmenter = made(skips=1, subpixels=2).float()
    save_file(segmenter.state_dict(), tmp_path / "ours.safetensors")
    again = load_pretrained_segmenter(segmenter.spec, tmp_path / "ours.safetensors")
    assert torch.equal(again.logits(make_images().float()), segmenter.logits(make_images().float()))
    other = load_pretrained_segmenter(segmenter.spec.updated(num_classes=5), tmp_path / "ours.safetensors")
    assert other.logits(make_images().float()).shape == (2, 5, 43, 35)
    kept = "head.skips.0.layer.conv.weight"
    assert torch.equal(other.state_dict()[kept], segmenter.state_dict()[kept])
