"""Detectors as data: names, published sizes, what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn, fasterrcnn_resnet50_fpn_v2

from resnets.detection import Detector, DetectorSpec, get_detector_spec, list_detectors
from resnets.networks import list_models


def on_meta(spec: DetectorSpec) -> Detector:
    with torch.device("meta"):
        return Detector(spec)


def count(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_the_papers_detector_has_the_papers_sizes() -> None:
    """ResNet-101 to conv4_x, conv5_x, an RPN of 512 channels with 9 anchors and two logits each, and 21 classes."""
    detector = on_meta(get_detector_spec("resnet101-c4", norm="batch"))  # gamma and beta count, frozen or not
    parts = (detector.network, detector.box_head, detector.proposer, detector.box_predictor)
    assert [count(part) for part in parts] == [27_535_424, 14_964_736, 4_746_806, 215_145]
    assert count(detector) == 47_462_111
    assert detector.neck is None


def test_the_papers_detector_for_coco() -> None:
    detector = on_meta(get_detector_spec("resnet101-c4-coco", norm="batch"))
    assert (count(detector.proposer), count(detector.box_predictor)) == (4_756_040, 829_845)
    assert count(detector) == 48_086_045


def test_a_wider_region_proposal_network() -> None:
    assert count(on_meta(get_detector_spec("resnet101-c4", rpn_width=1024)).proposer) == 9_493_558


def test_frozen_norms_are_no_parameters() -> None:
    detector = on_meta(get_detector_spec("resnet101-c4"))
    gammas = sum(value.numel() for name, value in detector.named_buffers() if name.endswith(("norm1.weight", "norm1.bias")))
    assert gammas > 0
    assert count(detector) < 47_462_111


@pytest.mark.parametrize(
    ("name", "make"), [("resnet50-fpn", fasterrcnn_resnet50_fpn), ("resnet50-fpn-v2", fasterrcnn_resnet50_fpn_v2)]
)
def test_torchvisions_detectors_have_torchvisions_size(name: str, make: object) -> None:
    with torch.device("meta"):
        theirs = make(weights=None, weights_backbone=None)  # type: ignore[operator]
    assert count(on_meta(get_detector_spec(name, norm="batch"))) == count(theirs)


def test_strides_and_levels() -> None:
    assert get_detector_spec("resnet50-fpn").levels == (2, 3, 4, 5, 6)
    assert get_detector_spec("resnet101-c4").level_strides == (16,)
    assert get_detector_spec("inception-v4-fpn").map_strides == (8, 16, 32)
    assert get_detector_spec("resnet50-c4:network=resnet50:output_stride=16").network_spec.output_stride == 16


@pytest.mark.parametrize("layout", ["fpn", "c4"])
def test_every_network_makes_a_detector_or_says_why_not(layout: str) -> None:
    for network in list_models():
        name = f"{network}-{layout}"
        if network.startswith("alphazero") and layout == "c4":
            with pytest.raises(ValueError, match="has one stage only; use fpn"):
                get_detector_spec(name)
        else:
            spec = get_detector_spec(name)
            assert len(spec.anchor_sizes) == len(spec.level_strides)


def test_a_networks_anchors_grow_with_its_strides() -> None:
    assert get_detector_spec("resnet18-fpn").anchor_sizes == get_detector_spec("resnet50-fpn").anchor_sizes
    assert get_detector_spec("cifar-resnet20-fpn").anchor_sizes == ((8,), (16,), (32,), (64,))


def test_names_with_fields() -> None:
    spec = get_detector_spec("resnet50-fpn:min_size=600,num_classes=21", max_size=1000)
    assert (spec.min_size, spec.max_size, spec.num_classes) == ((600,), 1000, 21)
    assert spec == DetectorSpec(min_size=600, max_size=1000, num_classes=21)
    assert DetectorSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_the_list_matches_patterns() -> None:
    assert list_detectors("*-c4") == ["resnet50-c4", "resnet101-c4"]
    assert "resnet50-fpn" in list_detectors()


REFUSED = [
    ("resnet50-fnp", {}, "no detector named 'resnet50-fnp'; did you mean resnet50-fpn"),
    ("resnet51-fpn", {}, "no network named 'resnet51'"),
    ("resnet50-fpn", {"min_sise": 600}, "no field 'min_sise'; did you mean 'min_size'"),
    ("resnet50-fpn", {"num_classes": 1}, "num_classes"),
    ("resnet50-fpn", {"anchor_sizes": ((32,), (64,))}, "each of the 5 levels"),
    ("resnet50-fpn", {"anchor_sizes": ((32,), (64,), (128,), (256,), (512, 600))}, "give each as many sizes"),
    ("resnet50-fpn", {"network": "resnet50:norm=group"}, "sets norm, which in a detector is said by norm"),
    ("resnet50-fpn", {"network": "resnet50:dims=3"}, "3-dimensional"),
    ("resnet50-fpn", {"network": "resnet50:output_stride=16"}, "strides double"),
    ("resnet50-fpn", {"frozen_parts": ("layer1",)}, "frozen_parts has 'layer1'; the parts of 'resnet50' are conv1, conv2_x"),
    ("resnet50-fpn", {"norm": "batch", "norm_epsilon": 0.0}, "is for norm='frozen-batch'"),
    ("resnet50-fpn", {"head_stride": 1}, "head_stride belongs to layout 'c4'"),
    ("resnet50-c4", {"head_convolutions": 4}, "head_convolutions belongs to layout 'fpn'"),
    ("inception-v4-c4", {"head_stride": 1}, "begins with a fixed stride"),
    ("resnet50-fpn", {"rpn_negative_iou": 0.8}, "rpn_negative_iou=0.8 is above rpn_positive_iou=0.7"),
    ("resnet50-fpn", {"image_mean": (0.5,)}, "image_mean has 1 channels and image_std 3"),
    ("resnet50-fpn", {"min_size": ()}, "min_size is empty"),
]


@pytest.mark.parametrize(("name", "overrides", "reason"), REFUSED)
def test_what_makes_no_detector_is_refused(name: str, overrides: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError) as error:
        get_detector_spec(name, **overrides)
    assert reason in str(error.value)


def test_specs_load_no_torch() -> None:
    code = "import sys, resnets.detection as d; d.get_detector_spec('resnet18-c4'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
