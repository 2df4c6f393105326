"""torchvision's files and backbones' weights: every tensor in its place or an error, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn, fasterrcnn_resnet50_fpn_v2
from torchvision_peers import BLOCKS, pyramid_peer

from resnets.detection import DetectorSpec, create_detector, get_detector_spec
from resnets.detection.layouts import shapes_of
from resnets.detection.weights import detector_layout, read_detector
from resnets.networks import build, get_spec
from resnets.weights import WeightsUnavailable
from resnets.weights.layouts import convert, layout_keys

SMALL: dict[str, Any] = {"network": f"resnet50:blocks={list(BLOCKS)}", "num_classes": 5}


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    return pyramid_peer(5).state_dict()


@pytest.fixture(scope="module")
def theirs_file(theirs: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "detector.pth"
    torch.save(theirs, path)
    return path


@pytest.mark.parametrize(
    ("name", "make"), [("resnet50-fpn", fasterrcnn_resnet50_fpn), ("resnet50-fpn-v2", fasterrcnn_resnet50_fpn_v2)]
)
def test_all_names_of_torchvisions_detectors_are_known(name: str, make: Any) -> None:
    """Not frozen there without weights, so that counters are compared too."""
    with torch.device("meta"):
        state = make(weights=None, weights_backbone=None).state_dict()
    spec = get_detector_spec(name, norm="batch")
    keys, shapes = layout_keys("torchvision", spec), shapes_of(spec)
    assert set(keys.values()) == set(state)
    assert list(keys) == list(shapes)
    assert {theirs: shapes[ours] for ours, theirs in keys.items()} == {k: v.shape for k, v in state.items()}


def test_there_and_back(theirs: dict[str, Tensor]) -> None:
    spec = get_detector_spec("resnet50-fpn", **SMALL)
    back = convert(convert(theirs, spec=spec, source="torchvision"), spec=spec, source="resnets", target="torchvision")
    assert back.keys() == theirs.keys()
    assert all(back[key] is theirs[key] for key in theirs)


def test_names_of_released_files_are_read(theirs: dict[str, Tensor]) -> None:
    """Their convolutions were not yet wrapped with their activations."""
    old = {
        key.replace("rpn.head.conv.0.0.", "rpn.head.conv.").replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if key.startswith(("rpn.head.conv", "backbone.fpn"))
        else key: value
        for key, value in theirs.items()
    }
    assert "backbone.fpn.inner_blocks.3.weight" in old
    assert "rpn.head.conv.weight" in old
    spec = get_detector_spec("resnet50-fpn", **SMALL)
    ours, expected = convert(old, spec=spec, source="torchvision"), convert(theirs, spec=spec, source="torchvision")
    assert all(torch.equal(ours[key], expected[key]) for key in expected)


def refused(state: dict[str, Tensor], spec: DetectorSpec) -> str:
    with pytest.raises(ValueError) as error:
        convert(state, spec=spec, source="torchvision")
    return str(error.value)


def test_missing_left_over_and_other_shapes_are_named(theirs: dict[str, Tensor]) -> None:
    spec = get_detector_spec("resnet50-fpn", **SMALL)
    state = {key: value for key, value in theirs.items() if key != "rpn.head.cls_logits.bias"}
    message = refused({**state, "roi_heads.mask_head.weight": torch.zeros(1)}, spec)
    assert "missing: rpn.head.cls_logits.bias" in message
    assert "left over: roi_heads.mask_head.weight" in message
    message = refused(theirs, spec.updated(num_classes=7))
    assert (
        "roi_heads.box_predictor.cls_score.weight is (5, 1024) where the spec's box_predictor.scores.weight makes it (7, 1024)"
        in message
    )


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("resnet50-c4", {"network": "resnet50"}, "layout='c4'"),
        ("resnet50-fpn", {"rpn_objectness": "softmax"}, "rpn_objectness='softmax'"),
        ("resnet50-fpn", {"global_context": True}, "global_context=True"),
        ("resnet50-fpn", {"network": "resnet50-v1"}, "bottleneck_stride='1x1'"),
        ("resnet50-fpn", {"head_layers": 3}, "head_layers=3"),
    ],
)
def test_what_torchvision_cannot_express_is_refused(name: str, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match="torchvision") as error:
        layout_keys("torchvision", get_detector_spec(name, **change))
    assert reason in str(error.value)


def test_a_file_of_torchvisions_gives_its_detector(theirs: dict[str, Tensor], theirs_file: Path) -> None:
    detector = create_detector("resnet50-fpn", network=SMALL["network"], weights=theirs_file)
    assert not detector.training
    assert detector.spec.num_classes == 5
    assert detector.spec.norm == "frozen-batch"
    assert detector.spec.norm_epsilon is None  # only torchvision's released file was made with 0
    back = convert(detector.state_dict(), spec=detector.spec, source="resnets", target="torchvision")
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)


def test_other_classes_make_a_fresh_predictor(theirs: dict[str, Tensor], theirs_file: Path) -> None:
    said: list[str] = []
    detector = create_detector("resnet50-fpn", network=SMALL["network"], num_classes=3, weights=theirs_file, report=said.append)
    assert "5 classes with the background; the predictor is freshly initialised for 3" in said[0]
    assert detector.box_predictor.scores.out_features == 3
    assert torch.equal(detector.proposer.objectness.weight, theirs["rpn.head.cls_logits.weight"])


def test_a_file_of_ours(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = get_detector_spec("resnet18-c4", network="resnet18:width=8,stem_width=8", num_classes=4, rpn_width=8)
    saved = create_detector(spec)
    torch.save(saved.state_dict(), tmp_path / "ours.pth")
    read = create_detector(spec, weights=tmp_path / "ours.pth")
    assert all(torch.equal(value, saved.state_dict()[key]) for key, value in read.state_dict().items())
    with pytest.raises(ValueError, match=r"ours\.pth: this is not the resnets state dict .*missing: box_head\.conv5_x\.2"):
        create_detector(spec.updated(network="resnet34:width=8,stem_width=8"), weights=tmp_path / "ours.pth")


@pytest.mark.parametrize("layout", ["fpn", "c4"])
def test_a_backbones_weights_fill_the_trunk(layout: str, tmp_path: Path) -> None:
    """With a classifier and norms that learn in the file, and neither in the detector."""
    torch.manual_seed(0)
    network = build(get_spec("resnet18:width=8,stem_width=8,num_classes=10"))
    torch.save(network.state_dict(), tmp_path / "network.pth")
    fields = {"network": "resnet18:width=8,stem_width=8", "pyramid_width": 8, "head_width": 8}
    detector = create_detector(f"resnet18-{layout}", weights=tmp_path / "network.pth", num_classes=3, **fields)
    state = detector.state_dict()
    for key, value in network.state_dict().items():
        if not key.startswith("head."):
            place = "box_head" if layout == "c4" and key.startswith("conv5_x") else "network"
            assert torch.equal(state[f"{place}.{key}"], value), key
    assert detector.training
    assert not any(value.requires_grad for value in detector.network.conv2_x.parameters())
    with pytest.raises(ValueError, match="network"):
        create_detector(
            f"resnet34-{layout}", weights=tmp_path / "network.pth", **{**fields, "network": "resnet34:width=8,stem_width=8"}
        )


def test_torchvisions_backbone_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    peer = torchvision.models.resnet18()
    torch.save(peer.state_dict(), tmp_path / "resnet18.pth")
    detector = create_detector("resnet18-fpn", weights=tmp_path / "resnet18.pth", pyramid_width=8, head_width=8)
    assert torch.equal(detector.network.conv1.conv.weight, peer.conv1.weight)


def test_the_released_weights_are_looked_for_and_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    monkeypatch.setenv("RESNETS_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name, file in (("resnet50-fpn", "fasterrcnn_resnet50_fpn_coco-"), ("resnet50-fpn-v2", "fasterrcnn_resnet50_fpn_v2_coco-")):
        with pytest.raises(WeightsUnavailable, match=file):
            create_detector(name, weights="coco-v1")
    with pytest.raises(ValueError, match="coco-v1 are those of resnet50-fpn and of resnet50-fpn-v2; this is another"):
        create_detector("resnet101-fpn", weights="coco-v1")


def test_the_released_file_was_made_without_epsilon(theirs_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known by its hash, which this one is given."""
    monkeypatch.setattr("resnets.detection.torchvision_weights.sha256", lambda path: "258fb6c6" + "0" * 56)
    read = read_detector(theirs_file, get_detector_spec("resnet50-fpn", **SMALL))
    assert read is not None
    assert read.fields == {"norm_epsilon": 0.0}
    assert read.classes is not None
    assert read.classes[0] == "person"


def test_whose_detector() -> None:
    assert detector_layout(["box_predictor.scores.weight"]) == "resnets"
    assert detector_layout(["rpn.head.cls_logits.weight"]) == "torchvision"
    assert detector_layout(["proposal_generator.rpn_head.objectness_logits.weight"]) == "detectron2"
    assert detector_layout(["conv1.weight", "layer1.0.conv1.weight"]) is None
