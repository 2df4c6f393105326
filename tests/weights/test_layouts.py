"""The layouts' contract: every key is used or an error, shapes are checked, and what a package cannot express is refused."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from peers import loaded, make_images, on_meta, randomized, transformers_network
from torch import Tensor

from resnets.detection import Detector, get_detector_spec
from resnets.networks import NetworkSpec, build, get_spec
from resnets.weights.layouts import LAYOUTS, convert, layout_keys, spec_for

SMALL = get_spec("resnet18", num_classes=10)


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    """A torchvision resnet18 of 10 classes, without storage."""
    return on_meta(lambda: torchvision.models.resnet18(num_classes=10)).state_dict()


def refused(theirs: dict[str, Tensor], spec: NetworkSpec = SMALL, source: str = "torchvision") -> str:
    """The message with which the state dict is refused."""
    with pytest.raises(ValueError) as error:
        convert(theirs, source=source, spec=spec)
    return str(error.value)


def test_missing_keys_are_listed(theirs: dict[str, Tensor]) -> None:
    short = {k: v for k, v in theirs.items() if k not in ("layer3.1.conv2.weight", "bn1.running_var")}
    message = refused(short)
    assert "missing: bn1.running_var, layer3.1.conv2.weight" in message
    assert "left over" not in message


def test_keys_left_over_are_listed(theirs: dict[str, Tensor]) -> None:
    message = refused({**theirs, "fc2.weight": torch.empty(3, 3), "layer5.0.conv1.weight": torch.empty(3)})
    assert message.endswith("left over: fc2.weight, layer5.0.conv1.weight")


def test_many_keys_are_counted(theirs: dict[str, Tensor]) -> None:
    message = refused({})
    listed = re.search(r"missing: (.*) and (\d+) more", message)
    assert listed is not None
    counted = sum(not key.endswith("num_batches_tracked") for key in theirs)
    assert len(listed[1].split(", ")) + int(listed[2]) == counted


def test_other_shapes_name_the_layer_and_both_shapes(theirs: dict[str, Tensor]) -> None:
    message = refused(theirs, get_spec("resnet18", num_classes=7, in_channels=1))
    assert "conv1.weight is (64, 3, 7, 7) where the spec's conv1.conv.weight makes it (64, 1, 7, 7)" in message
    assert "fc.weight is (10, 512) where the spec's head.fc.weight makes it (7, 512)" in message
    assert "fc.bias is (10,)" in message


def test_a_transposed_tensor_is_not_reshaped_into_place(theirs: dict[str, Tensor]) -> None:
    assert "(512, 10)" in refused({**theirs, "fc.weight": theirs["fc.weight"].t()})


def test_a_prefix_is_named(theirs: dict[str, Tensor]) -> None:
    message = refused({f"module.{key}": value for key, value in theirs.items()})
    assert "perhaps remove the prefix 'module.'" in message


def test_another_depth_is_refused(theirs: dict[str, Tensor]) -> None:
    assert "missing: layer1.2.bn1.bias" in refused(theirs, get_spec("resnet34", num_classes=10))


def test_a_missing_counter_is_zero_and_a_present_one_is_kept() -> None:
    state = randomized(on_meta(lambda: torchvision.models.resnet18(num_classes=10))).state_dict()
    without = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    filled, kept = convert(without, spec=SMALL), convert(state, spec=SMALL)
    assert filled.keys() == kept.keys()
    counters = [k for k in kept if k.endswith("num_batches_tracked")]
    assert len(counters) == 20
    assert all(int(filled[k]) == 0 and filled[k].dtype == torch.int64 and int(kept[k]) == 7 for k in counters)


def test_frozen_batch_norms_have_no_counters_elsewhere() -> None:
    make = torchvision.models.resnet18
    frozen = on_meta(lambda: make(num_classes=10, norm_layer=torchvision.ops.FrozenBatchNorm2d))
    spec = SMALL.updated(norm="frozen-batch")
    peer = randomized(frozen)
    ours = convert(peer.state_dict(), spec=spec)
    network = loaded(spec, ours)
    images = make_images(33, 49)
    torch.testing.assert_close(network(images), peer(images), rtol=1e-9, atol=1e-9)
    assert convert(ours, source="resnets", target="torchvision", spec=spec).keys() == peer.state_dict().keys()


def test_conversion_between_two_packages() -> None:
    peer = randomized(on_meta(lambda: torchvision.models.resnet18()))
    state = convert(peer.state_dict(), source="torchvision", target="transformers", spec=get_spec("resnet18"))
    other = transformers_network("resnet-18").double().eval()
    other.load_state_dict(state, strict=True)
    images = make_images(33, 49)
    with torch.no_grad():
        torch.testing.assert_close(other(images).logits, peer(images), rtol=1e-9, atol=1e-9)


def test_without_classes_there_is_no_classifier() -> None:
    for layout in LAYOUTS:
        whole = layout_keys(layout, get_spec("resnet18"))
        headless = layout_keys(layout, get_spec("resnet18", num_classes=0))
        assert {ours for ours in whole if ours not in headless} == {"head.fc.weight", "head.fc.bias"}


def test_an_output_stride_leaves_the_names_alone() -> None:
    assert layout_keys("torchvision", get_spec("resnet50", output_stride=8)) == layout_keys("torchvision", get_spec("resnet50"))


# detectron2 is no package that can be installed here: its names are checked against the rule of its own converter from torchvision
# (tools/convert-torchvision-to-d2.py), and against names written down from its modules.


def detectron2_name(name: str) -> str:
    """The converter's rule; it leaves the classifier, which detectron2's ResNet calls `linear`, at stem.fc."""
    if "layer" not in name:
        name = f"stem.{name}"
    for stage in (1, 2, 3, 4):
        name = name.replace(f"layer{stage}", f"res{stage + 1}")
    for norm in (1, 2, 3):
        name = name.replace(f"bn{norm}", f"conv{norm}.norm")
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm").replace("stem.fc", "linear")


def test_detectron2_has_the_names_of_its_converter() -> None:
    peer = randomized(on_meta(lambda: torchvision.models.resnet50()))
    state = {detectron2_name(name): value for name, value in peer.state_dict().items()}
    spec = spec_for("detectron2", "detectron2://ImageNetPretrained/torchvision/R-50.pkl").updated(num_classes=1000)
    network = loaded(spec, convert(state, source="detectron2", spec=spec))
    images = make_images(33, 49)
    with torch.no_grad():
        torch.testing.assert_close(network(images), peer(images), rtol=1e-9, atol=1e-9)


def test_detectron2_backbone_names() -> None:
    spec = spec_for("detectron2", "MSRA/R-50")
    assert (spec.bottleneck_stride, spec.norm, spec.num_classes) == ("1x1", "frozen-batch", 0)
    keys = layout_keys("detectron2", spec)
    assert keys["conv1.conv.weight"] == "stem.conv1.weight"
    assert keys["conv1.norm.running_mean"] == "stem.conv1.norm.running_mean"
    assert keys["conv2_x.0.residual.conv1.weight"] == "res2.0.conv1.weight"
    assert keys["conv4_x.5.residual.norm3.bias"] == "res4.5.conv3.norm.bias"
    assert keys["conv5_x.0.shortcut.match.conv.weight"] == "res5.0.shortcut.weight"
    assert keys["conv5_x.0.shortcut.match.norm.running_var"] == "res5.0.shortcut.norm.running_var"
    assert not any("linear" in theirs for theirs in keys.values())


REFUSED = [
    ("torchvision", "resnet18:shortcut=A", "shortcut='A'"),
    ("torchvision", "resnet50-v1", "bottleneck_stride='1x1'"),
    ("torchvision", "resnet50-d", "shortcut='average-pool'"),
    ("torchvision", "se-resnet50", "squeeze_excitation=16"),
    ("torchvision", "preact-resnet50", "activation_order='full-preactivation'"),
    ("torchvision", "cifar-resnet20:shortcut=B", "stage_widths="),
    ("torchvision", "resnet18:widening_factor=2", "stage_widths=(128, 256, 512, 1024)"),
    ("torchvision", "resnet18:dims=3", "dims=3"),
    ("torchvision", "resnet18:join=exclusive-gating", "join='exclusive-gating'"),
    ("torchvision", "resnet18:residual_scale=0.5", "stage_scales=(0.5, 0.5, 0.5, 0.5)"),
    ("torchvision", "resnet18:shortcut_scale=0.5", "shortcut_scale=0.5"),
    ("torchvision", "tutorial-resnet18", "projection_norm=False"),
    ("torchvision", "inception-v4", "residual="),
    ("torchvision", "alphazero-2x16", "head="),
    ("timm", "preact-resnet50", "stem_activation=True"),
    ("timm", "preact-resnet50:stem_activation=false,shared_preactivation=first-unit", "shared_preactivation='first-unit'"),
    ("timm", "preact-resnet50:stem_activation=false,projection_norm=true", "projection_norm=True"),
    ("timm", "preact-resnet50:stem_activation=false,activation_order=relu-only-preactivation", "activation_order"),
    ("timm", "preact-resnet50:stem_activation=false,cardinality=32,base_width=4", "cardinality=32"),
    ("timm", "se-resnet18", "squeeze_multiple=8"),
    ("timm", "resnet18:squeeze_excitation=4", "squeeze_excitation=4"),
    ("timm", "resnet18:shortcut=C", "shortcut='C'"),
    ("timm", "resnet18:stem_width=32", "stem_width=32"),
    ("timm", "inception-resnet-v1", "stem='inception-resnet-v1'"),
    ("timm", "inception-resnet-v2-paper", "stem='inception-v4'"),
    ("timm", "inception-resnet-v2:blocks=[5,10,5]", "blocks=(5, 10, 5)"),
    ("timm", "inception-resnet-v2:linear_last_unit=false", "linear_last_unit=False"),
    ("timm", "inception-resnet-v2:residual_scale=0.1", "residual_scale=0.1"),
    ("transformers", "resnext50-32x4d", "cardinality=32"),
    ("transformers", "wide-resnet50-2", "base_width=128"),
    ("transformers", "resnet18:norm=group", "norm='group'"),
    ("transformers", "resnet18:norm_epsilon=0.001", "norm_epsilon=0.001"),
    ("transformers", "resnet50:output_stride=8", "output_stride=8"),
    ("detectron2", "resnet50-d", "shortcut='average-pool'"),
    ("detectron2", "resnet18:width=[64,64,128,128]", "stage_widths=(64, 64, 128, 128)"),
]


@pytest.mark.parametrize(("layout", "network", "reason"), REFUSED)
def test_what_a_package_cannot_express_is_refused(layout: str, network: str, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        layout_keys(layout, get_spec(network))
    message = str(error.value)
    assert layout in message
    assert reason in message


def test_a_package_without_such_a_rounding_is_no_matter_where_nothing_rounds() -> None:
    assert layout_keys("timm", get_spec("se-resnet50")) == layout_keys("timm", spec_for("timm", "seresnet50"))


def test_unknown_layouts_are_refused() -> None:
    for attempt in (
        lambda: layout_keys("keras", SMALL),
        lambda: spec_for("keras", "resnet18"),
        lambda: convert({}, source="keras", spec=SMALL),
        lambda: convert({}, target="keras", spec=SMALL),
    ):
        with pytest.raises(
            ValueError, match="no layout 'keras'; the layouts are resnets, torchvision, timm, transformers, detectron2"
        ):
            attempt()


def test_a_layout_called_ours_is_the_identity() -> None:
    state = on_meta(lambda: build(SMALL)).state_dict()
    assert convert(state, source="resnets", spec=SMALL).keys() == state.keys()
    assert "left over: extra" in refused({**state, "extra": torch.empty(1)}, source="resnets")


@pytest.mark.parametrize(
    ("layout", "name", "network"),
    [
        ("torchvision", "resnet18", "resnet18"),
        ("torchvision", "wide_resnet50_2", "wide-resnet50-2"),
        ("torchvision", "resnext101_64x4d", "resnext101-64x4d"),
        ("timm", "resnet50", "resnet50"),
        ("timm", "resnet50.a1_in1k", "resnet50"),
        ("timm", "timm/resnet50d.ra2_in1k", "resnet50-d"),
        ("timm", "resnext50_32x4d", "resnext50-32x4d"),
        ("timm", "seresnet50", "se-resnet50:squeeze_multiple=8"),
        ("timm", "resnetv2_50", "preact-resnet50:stem_activation=false"),
        ("timm", "inception_v4", "inception-v4"),
        ("transformers", "microsoft/resnet-50", "resnet50"),
        ("detectron2", "FAIR/X-101-32x8d", "resnext101-32x8d:norm=frozen-batch,num_classes=0"),
    ],
)
def test_peer_names(layout: str, name: str, network: str) -> None:
    assert spec_for(layout, name) == get_spec(network)


@pytest.mark.parametrize(
    ("layout", "name", "hint"),
    [
        ("torchvision", "resnet51", "did you mean resnet"),
        ("torchvision", "wide_resnet50-2", "wide_resnet50_2"),
        ("timm", "resnet50t", "resnet50"),
        ("transformers", "microsoft/swin", "its networks are resnet-18, resnet-34"),
    ],
)
def test_unknown_peers_name_the_nearest(layout: str, name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(name))) as error:
        spec_for(layout, name)
    assert hint in str(error.value)


@pytest.mark.parametrize("layout", ["torchvision", "detectron2"])
def test_a_detectors_spec_is_taken_too(layout: str) -> None:
    """There and back, also with frozen norms, whose counters the packages do not write and a file may have all the same."""
    spec = get_detector_spec("resnet50-fpn", network="resnet50:blocks=[1,1,1,1],width=64", num_classes=3)
    state = Detector(spec).state_dict()
    theirs = convert(state, spec=spec, source="resnets", target=layout)
    assert not any(key.endswith("num_batches_tracked") for key in theirs)
    back = convert(theirs, spec=spec, source=layout)
    assert all(torch.equal(back[key], value) for key, value in state.items() if "box_predictor.deltas" not in key)
    counter = layout_keys(layout, spec)["network.conv1.norm.num_batches_tracked"]
    assert convert({**theirs, counter: torch.tensor(7)}, spec=spec, source=layout)["network.conv1.norm.num_batches_tracked"] == 7
    with pytest.raises(ValueError, match="no layout 'timm' of detectors"):
        convert(state, spec=spec, source="timm")
