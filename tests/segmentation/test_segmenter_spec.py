"""Segmenters as data: names, fields, the dilation that follows from them, and what is refused."""

import re
import subprocess
import sys

import pytest
import torch

from resnets.networks import get_spec
from resnets.segmentation import SegmenterSpec, create_segmenter, get_segmenter_spec, list_segmenters

SMALL = "cifar-resnet8"


def test_torchvisions_names_are_listed() -> None:
    assert list_segmenters() == ["fcn-resnet50", "fcn-resnet101", "deeplabv3-resnet50", "deeplabv3-resnet101"]
    assert list_segmenters("deeplab*") == ["deeplabv3-resnet50", "deeplabv3-resnet101"]
    assert get_segmenter_spec("fcn-resnet101") == SegmenterSpec(network="resnet101", head="fcn", size=520)


def test_any_network_of_the_zoo_serves_as_a_trunk() -> None:
    spec = get_segmenter_spec("deeplabv3-wrn-16-4")
    assert (spec.head, get_spec(spec.network)) == ("deeplabv3", get_spec("wrn-16-4"))


def test_fields_go_to_the_segmenter_first_and_then_to_the_trunk() -> None:
    spec = get_segmenter_spec("fcn-cifar-resnet20:width=32,num_classes=11", auxiliary=False, stem_stride=2)
    assert get_spec(spec.network) == get_spec("cifar-resnet20", width=32, stem_stride=2)
    assert (spec.num_classes, spec.auxiliary) == (11, False)
    assert get_segmenter_spec("fcn-resnet50", network="resnet34").network == "resnet34"
    assert get_segmenter_spec("fcn-resnet50:norm=group").size == 520


@pytest.mark.parametrize(
    ("network", "output_stride", "stride", "rates"),
    [
        ("resnet50", 8, 8, (12, 24, 36)),
        ("resnet50", 16, 16, (6, 12, 18)),
        ("resnet50", 32, 32, (3, 6, 9)),
        ("cifar-resnet20", 8, 4, (24, 48, 72)),
        ("cifar-resnet20:stem_stride=2", 8, 8, (12, 24, 36)),
    ],
)
def test_rates_follow_the_stride_that_is_reached(network: str, output_stride: int, stride: int, rates: tuple[int, ...]) -> None:
    spec = SegmenterSpec(network=network, head="deeplabv3", output_stride=output_stride)  # type: ignore[arg-type]
    assert (spec.stride, spec.pyramid_rates) == (stride, rates)


@pytest.mark.parametrize("output_stride", [4, 8, 16, 32])
@pytest.mark.parametrize("network", ["resnet18:width=8,stem_width=8", SMALL, f"{SMALL}:stem_stride=2,strides=[2,2,2]"])
def test_the_trunks_map_has_the_stride_that_the_spec_says(network: str, output_stride: int) -> None:
    spec = SegmenterSpec(network=network, output_stride=output_stride, num_classes=3)  # type: ignore[arg-type]
    segmenter = create_segmenter(spec).eval()
    with torch.no_grad():
        last = list(segmenter.network.features(torch.zeros(1, 3, 64, 96)).values())[-1]
    assert last.shape[-2:] == (64 // spec.stride, 96 // spec.stride)


def test_grey_trunks_get_one_mean_and_std() -> None:
    spec = get_segmenter_spec(f"fcn-{SMALL}", in_channels=1)
    assert spec.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    assert spec.preprocessing.channels == 1
    assert create_segmenter(spec)(torch.zeros(2, 1, 16, 16))["out"].shape == (2, 21, 16, 16)


def test_a_spec_survives_json() -> None:
    spec = get_segmenter_spec("deeplabv3-resnet18:rates=[2,4],head_width=32,size=192")
    assert SegmenterSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("fcn-resnet51", {}, "no network named 'resnet51'; did you mean resnet"),
        ("fnc-resnet50", {}, "no segmenter named 'fnc-resnet50'; did you mean fcn-resnet50"),
        ("unet", {}, "HEAD-NETWORK, with a head of fcn, deeplabv3"),
        ("fcn-resnet50", {"num_clases": 3}, "no field 'num_clases'; did you mean 'num_classes'"),
        ("fcn-resnet50", {"output_stride": 12}, "output_stride: "),
        ("fcn-resnet50", {"num_classes": 1}, r"num_classes: .* \(got 1\)"),
        ("fcn-resnet50", {"rates": (6, 12)}, "rates=.* are those of head='deeplabv3'"),
        ("fcn-resnet18", {"dims": 1}, "dims=1, but images"),
        ("fcn-alphazero-2x8", {}, "plays a board game"),
        ("deeplabv3-inception-v4", {}, "Inception modules, whose strides cannot"),
        ("fcn-resnet18", {"blocks": (2,)}, "one stage only"),
        ("fcn-resnet50", {"mean": (0.5,)}, "mean has 1 values and std 3, but .* in_channels=3"),
    ],
)
def test_wrong_requests_are_refused_with_the_fix(name: str, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_segmenter_spec(name, **fields)


def test_a_single_image_cannot_train_a_pooled_norm() -> None:
    segmenter = create_segmenter(f"deeplabv3-{SMALL}:head_width=8,rates=[2]")
    with pytest.raises(ValueError, match=re.escape("raise --batch-size to 2 or more")):
        segmenter(torch.zeros(1, 3, 16, 16))
    assert segmenter.eval()(torch.zeros(1, 3, 16, 16))["out"].shape == (1, 21, 16, 16)
    grouped = create_segmenter(f"deeplabv3-{SMALL}:head_width=8,rates=[2],norm=group,norm_groups=4")
    assert grouped(torch.zeros(1, 3, 16, 16))["out"].shape == (1, 21, 16, 16)


def test_a_frozen_trunk_has_heads_that_learn() -> None:
    segmenter = create_segmenter(f"fcn-{SMALL}", norm="frozen-batch")
    learning = [type(module).__name__ for module in segmenter.modules() if "BatchNorm" in type(module).__name__]
    assert learning.count("BatchNorm2d") == 2
    assert learning.count("FrozenBatchNorm") == len(learning) - 2 > 0


def test_parts_name_every_parameter_once() -> None:
    segmenter = create_segmenter("deeplabv3-resnet18:width=8,stem_width=8,head_width=8")
    assert list(segmenter.parts) == ["conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x", "head"]
    named = [id(p) for modules in segmenter.parts.values() for module in modules for p in module.parameters()]
    assert sorted(named) == sorted(id(p) for p in segmenter.parameters())


def test_specs_and_names_load_no_torch() -> None:
    code = "import sys, resnets.segmentation as s; s.get_segmenter_spec('deeplabv3-resnet18'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
