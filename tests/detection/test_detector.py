"""The detector as a whole: what it takes and gives, what it refuses, what it does not train."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnets.detection import Detector, DetectorSpec, create_detector, get_detector_spec
from resnets.detection.boxes import clipped
from resnets.detection.trunk import build_trunk, feature_maps
from resnets.networks import build

SMALL: dict[str, Any] = {
    "num_classes": 4, "min_size": 64, "max_size": 128, "box_batch": 16, "rpn_post_nms_train": 50, "rpn_post_nms_test": 20,
}  # fmt: skip
NAMES = ["resnet18-fpn:pyramid_width=16,head_width=32", "resnet18-c4:rpn_width=16,anchor_sizes=[[16,32]]"]
LOSSES = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}


def small(name: str, **overrides: Any) -> Detector:
    torch.manual_seed(0)
    plain, _, fields = name.partition(":")
    layout = plain.rpartition("-")[2]
    network = f"{plain.removesuffix('-' + layout)}:width=8,stem_width=8,blocks=[1,1,1,1]"
    return create_detector(f"{plain}:{fields}", **{"network": network, **SMALL, **overrides})


def target(*boxes: list[float], label: int = 1) -> dict[str, Tensor]:
    return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "labels": torch.full((len(boxes),), label)}


def backward(losses: dict[str, Tensor], detector: Detector) -> None:
    sum(losses.values()).backward()
    for name, value in detector.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, name
            assert bool(value.grad.isfinite().all()), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("context", [False, True])
def test_training_and_prediction(name: str, context: bool) -> None:
    detector = small(name, global_context=context, box_min_score=0.0)
    images = [torch.rand(3, 50, 70), torch.rand(3, 40, 90)]
    losses = detector(images, [target([5, 5, 40, 40]), target([10, 3, 80, 39], [1, 1, 9, 9], label=3)])
    assert set(losses) == LOSSES
    assert all(value.dim() == 0 and bool(value.isfinite()) for value in losses.values())
    backward(losses, detector)
    with torch.no_grad():
        found = detector.eval()(images)
    for each, image in zip(found, images, strict=True):
        assert len(each["boxes"]) == len(each["labels"]) == len(each["scores"]) > 0
        assert set(each["labels"].tolist()) <= {1, 2, 3}
        assert bool((each["scores"].diff() <= 0).all())
        torch.testing.assert_close(each["boxes"], clipped(each["boxes"], (image.shape[1], image.shape[2])))


def test_boxes_are_in_the_images_pixels() -> None:
    """Detections of an image twice as large are in its own pixels; those of one that is not resized are the batch's."""
    detector = small(NAMES[0], box_min_score=0.0).eval()
    image = torch.rand(3, 32, 48)
    twice = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    detector.spec = detector.spec.updated(min_size=(32,))
    with torch.no_grad():
        batch = detector.prepare([image])
        maps = detector.maps(batch.images)
        plain = detector.finish(*detector.classify(maps, detector.propose(maps, batch.sizes), batch.sizes), batch.sizes)
        (found,) = detector([image])
        (large,) = detector([twice])
    assert torch.equal(found["boxes"], plain[0]["boxes"])  # 32 pixels high already
    assert large["boxes"].max() > 1.5 * found["boxes"].max()


@pytest.mark.parametrize("name", NAMES)
def test_images_without_objects_train(name: str) -> None:
    detector = small(name)
    images = [torch.rand(3, 50, 70), torch.rand(3, 40, 90)]
    losses = detector(images, [target(), target()])
    assert float(losses["loss_box_reg"].detach()) == float(losses["loss_rpn_box_reg"].detach()) == 0
    assert all(bool(value.isfinite()) for value in losses.values())
    backward(losses, detector)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (300, 1), (7, 7)])
def test_images_smaller_than_a_stride_or_very_thin(name: str, shape: tuple[int, int]) -> None:
    detector = small(name)
    image = torch.rand(3, *shape)
    losses = detector([image, torch.rand(3, 50, 60)], [target([0.0, 0, shape[1] * 0.9, shape[0] * 0.9]), target()])
    assert all(bool(value.isfinite()) for value in losses.values())
    backward(losses, detector)
    with torch.no_grad():
        found = detector.eval()([image])[0]
    assert bool(found["boxes"].isfinite().all())


def test_an_object_outside_the_image_trains_without_nan() -> None:
    detector = small(NAMES[0])
    losses = detector([torch.rand(3, 50, 60)], [target([500.0, 500, 600, 600])])
    assert all(bool(value.isfinite()) for value in losses.values())


IMAGE = torch.rand(3, 40, 50)
GOOD = target([5, 5, 20, 20])
BAD_TARGETS = [
    (None, "training needs targets"),
    ([GOOD], "1 targets for 2 images"),
    ([GOOD, target([5, 5, 20, 20], [8, 9, 8, 12])], r"image 1, box 1 is \[8.0, 9.0, 8.0, 12.0\]: a box is x1 y1 x2 y2"),
    ([target([9, 9, 3, 12]), GOOD], r"image 0, box 0 is \[9.0, 9.0, 3.0, 12.0\]"),
    ([target([1, 1, float("nan"), 12]), GOOD], r"image 0, box 0 is \[1.0, 1.0, nan, 12.0\]"),
    ([target([1, 1, float("inf"), 12]), GOOD], r"image 0, box 0 is \[1.0, 1.0, inf, 12.0\]"),
    ([GOOD, target([5, 5, 20, 20], label=0)], "image 1, box 0 has label 0; labels are 1 to 3"),
    ([GOOD, target([5, 5, 20, 20], label=4)], "image 1, box 0 has label 4; labels are 1 to 3"),
    ([GOOD, {"boxes": GOOD["boxes"]}], "target 1 has no 'labels'; it has boxes"),
    ([GOOD, {"boxes": torch.zeros(4), "labels": GOOD["labels"]}], r"boxes of image 1 have shape \(4,\)"),
    ([GOOD, {"boxes": torch.zeros(0, 4), "labels": GOOD["labels"]}], "image 1 has 0 boxes and 1 labels"),
    ([GOOD, {"boxes": GOOD["boxes"], "labels": GOOD["labels"].int()}], "labels of torch.int32"),
]


@pytest.mark.parametrize(("targets", "reason"), BAD_TARGETS)
def test_wrong_targets_are_refused(targets: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        small(NAMES[0])([IMAGE, IMAGE], targets)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([], "no image"),
        ([IMAGE, IMAGE[0]], r"image 1 has shape \(40, 50\)"),
        ([IMAGE[:1]], r"takes \(3, h, w\)"),
        ([IMAGE[:, :0]], r"image 0 has shape \(3, 0, 50\)"),
        ([(IMAGE * 255).byte()], r"image 0 is torch.uint8; .*image.float\(\) / 255"),
    ],
)
def test_wrong_images_are_refused(images: list[Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        small(NAMES[0]).eval()(images)


def test_losses_are_float32_under_autocast() -> None:
    detector = small(NAMES[1])
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector([IMAGE], [GOOD])
    assert {value.dtype for value in losses.values()} == {torch.float32}
    backward(losses, detector)
    exact = small(NAMES[1])([IMAGE], [GOOD])
    torch.testing.assert_close(losses["loss_objectness"], exact["loss_objectness"], rtol=0.1, atol=0.05)


def test_frozen_parts_neither_learn_nor_change() -> None:
    """Also where the norm is not frozen: its statistics stay."""
    for name, part in ((NAMES[0], "conv3_x"), (NAMES[1], "conv5_x")):
        detector = small(name, frozen_parts=("conv1", part))
        before = copy.deepcopy(detector.state_dict())
        optimizer = torch.optim.SGD(detector.parameters(), 0.1)
        backward(detector.train()([IMAGE], [GOOD]), detector)
        optimizer.step()
        changed = {key for key, value in detector.state_dict().items() if not torch.equal(value, before[key])}
        assert not any(".conv1.conv" in f".{key}" and key.startswith("network.conv1.") for key in changed)
        assert not any(f".{part}." in key for key in changed)
        assert any(".conv4_x." in key and "running" in key for key in changed)


def test_the_same_seed_gives_the_same_losses() -> None:
    detector = small(NAMES[0])
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append([float(value.detach()) for value in detector([IMAGE], [GOOD]).values()])
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_channels_last_changes_nothing() -> None:
    detector = small(NAMES[0], box_min_score=0.0).eval()
    with torch.no_grad():
        expected = detector([IMAGE])[0]
        found = detector.to(memory_format=torch.channels_last)([IMAGE])[0]
    torch.testing.assert_close(found["boxes"], expected["boxes"], rtol=1e-3, atol=1e-2)


def test_global_context_is_the_whole_images_feature() -> None:
    """Appendix A: as "RoI" pooling with the image's bounding box, joined to each region's own."""
    detector = small(NAMES[1], global_context=True).eval()
    with torch.no_grad():
        batch = detector.prepare([IMAGE, torch.rand(3, 30, 60)])
        maps = detector.maps(batch.images)
        boxes = [torch.tensor([[3.0, 4, 50, 60], [0, 0, 9, 9]]), torch.tensor([[1.0, 2, 30, 40]])]
        features = detector.describe(maps, boxes, batch.sizes)
        whole = [torch.tensor([[0.0, 0, w, h]]) for h, w in batch.sizes]
        detector.spec = detector.spec.updated(global_context=False)
        own, context = detector.describe(maps, boxes, batch.sizes), detector.describe(maps, whole, batch.sizes)
    expected = torch.cat((own, context[[0, 0, 1]]), dim=1)
    torch.testing.assert_close(features, expected)
    assert detector.box_predictor.scores.in_features == expected.shape[1]


def test_c4_shares_all_but_the_last_stage() -> None:
    """Trunk and head together compute what the whole network does."""
    spec = get_detector_spec("preact-resnet18-c4", network="preact-resnet18:width=8,stem_width=8", norm="batch")
    torch.manual_seed(0)
    network, head = build_trunk(spec)
    torch.manual_seed(0)
    whole = build(spec.network_spec)
    assert head is not None
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps = feature_maps(network.eval(), images)
        features = whole.eval().features(images)
        assert list(maps) == ["conv2_x", "conv3_x", "conv4_x"]
        for name, value in maps.items():
            torch.testing.assert_close(value, features[name])
        torch.testing.assert_close(head.eval()(maps["conv4_x"]), whole(images))


@pytest.mark.parametrize("network", ["inception-v4", "inception-resnet-v1", "inception-resnet-v2"])
def test_inception_maps_are_aligned(network: str) -> None:
    spec = get_detector_spec(f"{network}-fpn", network=f"{network}:blocks=[1,1,1]")
    with torch.device("meta"):
        detector = Detector(spec)
        sizes = [tuple(x.shape[2:]) for x in detector.maps(torch.empty(1, 3, 192, 320))]
    assert sizes == [(192 // s, 320 // s) for s in (8, 16, 32, 64)]


def test_the_stride_of_the_head() -> None:
    """7x7 after a stride of 2 from 14x14, or from 7x7 without: the same parameters."""
    seen = []
    for size, stride in ((14, None), (14, 2), (7, 1)):
        spec = get_detector_spec("resnet18-c4", roi_size=size, head_stride=stride)
        with torch.device("meta"):
            head = Detector(spec).box_head
            stage = nn.Sequential(*head.conv5_x)
            seen.append((tuple(stage(torch.empty(2, 256, size, size)).shape), sum(p.numel() for p in head.parameters())))
    assert len(set(seen)) == 1
    assert seen[0][0] == (2, 512, 7, 7)


def test_images_of_one_channel() -> None:
    detector = small(NAMES[0], image_mean=(0.5,), image_std=(0.25,))
    assert set(detector([torch.rand(1, 40, 50)], [GOOD])) == LOSSES


@pytest.mark.parametrize(
    "network",
    [
        "resnext50-32x4d",
        "preact-resnet50",
        "wide-resnet50-2",
        "se-resnet50",
        "resnet50-d",
        "plain18",
        "resnet34",
        "tutorial-resnet18",
    ],
)
@pytest.mark.parametrize("layout", ["fpn", "c4"])
def test_every_family_is_a_backbone(network: str, layout: str) -> None:
    """On the meta device: maps at the strides that the spec says."""
    spec = get_detector_spec(f"{network}-{layout}", network=f"{network}:blocks=[1,1,1,1]")
    with torch.device("meta"):
        detector = Detector(spec)
        maps = detector.maps(torch.empty(2, 3, 128, 192))
    assert [tuple(x.shape[2:]) for x in maps] == [(128 // s, 192 // s) for s in spec.level_strides]


def test_from_scratch_norms_learn() -> None:
    little = {"network": "resnet18:width=8,stem_width=8", "pyramid_width": 8, "head_width": 8}
    named = create_detector("resnet18-fpn", **little)
    assert (named.spec.norm, named.spec.frozen_parts) == ("batch", ())
    assert create_detector("resnet18-fpn", norm="frozen-batch", **little).spec.norm == "frozen-batch"
    spec = get_detector_spec("resnet18-fpn", **little)
    assert create_detector(spec).spec == spec


def test_a_specs_epsilon_reaches_the_frozen_norms() -> None:
    network, _ = build_trunk(DetectorSpec(network="resnet18:width=8,stem_width=8", norm_epsilon=0.0))
    norms = {module.epsilon for module in network.modules() if hasattr(module, "epsilon")}
    assert norms == {0.0}
