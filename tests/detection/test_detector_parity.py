"""Detections and losses are those of torchvision's Faster R-CNN with the same weights, images and draws."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.rpn import AnchorGenerator, RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision_peers import BLOCKS, make_images, network_peer, pyramid_peer, randomized, targets

from resnets.detection import Detector, DetectorSpec, get_detector_spec
from resnets.weights import convert

CLASSES = 5
SMALL: dict[str, Any] = {"min_size": 64, "max_size": 100}
NETWORK = f"resnet50:blocks={list(BLOCKS)}"
# Fewer regions than by default, in torchvision's words and in ours; the images have hardly more anchors.
THEIRS = {"rpn_post_nms_top_n_train": 150, "rpn_post_nms_top_n_test": 60, "box_batch_size_per_image": 24}
OURS = {"rpn_post_nms_train": 150, "rpn_post_nms_test": 60, "box_batch": 24}


def loaded(spec: DetectorSpec, state: dict[str, Tensor]) -> Detector:
    detector = Detector(spec)
    detector.load_state_dict(state)
    return detector.eval()


def assert_same_detections(ours: Detector, theirs: FasterRCNN) -> None:
    theirs.eval()
    with torch.no_grad():
        images, _ = theirs.transform(make_images())
        maps = theirs.backbone(images.tensors)
        maps = OrderedDict([("0", maps)]) if isinstance(maps, Tensor) else maps
        batch = ours.prepare(make_images())
        own_maps = ours.maps(batch.images)
        torch.testing.assert_close(batch.images, images.tensors)
        assert batch.sizes == images.image_sizes
        for own, other in zip(own_maps, maps.values(), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
        for own, other in zip(ours.propose(own_maps, batch.sizes), theirs.rpn(images, maps)[0], strict=True):
            assert len(own) > 20
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-2)
        found, expected = ours(make_images()), theirs(make_images())
    for own, other in zip(found, expected, strict=True):
        assert own.keys() == other.keys()
        assert len(own["boxes"]) > 10
        assert torch.equal(own["labels"], other["labels"])
        torch.testing.assert_close(own["scores"], other["scores"], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(own["boxes"], other["boxes"], rtol=1e-4, atol=1e-2)


def assert_same_losses(ours: Detector, theirs: FasterRCNN, *, gradient_of: tuple[str, str]) -> None:
    """Equal seeds have to give equal draws. One weight's gradient is compared too, by its name here and there."""
    ours.train()
    theirs.train()
    torch.manual_seed(7)
    own = ours(make_images(), targets(CLASSES))
    torch.manual_seed(7)
    other = theirs(make_images(), targets(CLASSES))
    assert list(own) == list(other)
    for name in own:
        assert float(other[name].detach()) > 1e-3
        torch.testing.assert_close(own[name], other[name], rtol=1e-4, atol=1e-5)
    sum(own.values()).backward()
    sum(other.values()).backward()
    gradients = [model.get_parameter(name).grad for model, name in zip((ours, theirs), gradient_of, strict=True)]
    assert gradients[1] is not None
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3 * float(gradients[1].abs().max()))


def test_resnet50_fpn_equals_torchvisions() -> None:
    theirs = pyramid_peer(CLASSES, **SMALL, **THEIRS)
    spec = get_detector_spec("resnet50-fpn", network=NETWORK, num_classes=CLASSES, **SMALL, **OURS)
    ours = loaded(spec, convert(theirs.state_dict(), spec=spec, source="torchvision"))
    assert_same_detections(ours, theirs)
    trainable = {name for name, value in ours.named_parameters() if value.requires_grad}
    assert len(trainable) == sum(value.requires_grad for value in theirs.parameters())
    assert_same_losses(ours, theirs, gradient_of=("network.conv3_x.0.residual.conv2.weight", "backbone.body.layer2.0.conv2.weight"))


def test_training_from_scratch_equals_torchvisions() -> None:
    """Batch norm that learns, nothing frozen; several sizes to draw from."""
    sizes = {"min_size": (48, 56, 64), "max_size": 100}
    theirs = pyramid_peer(CLASSES, frozen=False, **sizes, **THEIRS)
    spec = get_detector_spec("resnet50-fpn", network=NETWORK, num_classes=CLASSES, norm="batch", frozen_parts=(), **sizes, **OURS)
    ours = loaded(spec, convert(theirs.state_dict(), spec=spec, source="torchvision"))
    assert_same_losses(ours, theirs, gradient_of=("network.conv1.conv.weight", "backbone.body.conv1.weight"))


def test_resnet50_fpn_v2_equals_torchvisions() -> None:
    backbone = _resnet_fpn_extractor(network_peer(frozen=False), 5, norm_layer=nn.BatchNorm2d)
    head = FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], norm_layer=nn.BatchNorm2d)
    theirs = FasterRCNN(backbone, CLASSES, rpn_head=RPNHead(256, 3, conv_depth=2), box_head=head, **SMALL, **THEIRS)
    randomized(theirs)
    spec = get_detector_spec("resnet50-fpn-v2", network=NETWORK, num_classes=CLASSES, frozen_parts=(), **SMALL, **OURS)
    assert_same_detections(loaded(spec, convert(theirs.state_dict(), spec=spec, source="torchvision")), theirs)


class LastStage(nn.Module):
    """conv5_x and the mean of its map."""

    def __init__(self, layer4: nn.Module) -> None:
        super().__init__()
        self.layer4 = layer4

    def forward(self, x: Tensor) -> Tensor:
        return self.layer4(x).mean((2, 3))


class Predictor(nn.Module):
    """torchvision's, for features of the last stage."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.cls_score, self.bbox_pred = nn.Linear(features, CLASSES), nn.Linear(features, 4 * CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x)


def test_c4_equals_an_assembly_of_torchvisions_parts() -> None:
    sizes = ((16, 32, 64),)
    body = network_peer(frozen=True)
    trunk = nn.Sequential(
        OrderedDict((name, getattr(body, name)) for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"))
    )
    trunk.out_channels = 1024
    theirs = FasterRCNN(
        trunk,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),)),
        rpn_head=RPNHead(1024, 9),
        box_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
        box_head=LastStage(body.layer4),
        box_predictor=Predictor(2048),
        **SMALL,
        **{**THEIRS, "box_batch_size_per_image": 12, "rpn_post_nms_top_n_test": 25},
    )
    randomized(theirs)
    spec = get_detector_spec(
        "resnet50-c4", network=NETWORK, num_classes=CLASSES, anchor_sizes=sizes, rpn_width=None, rpn_objectness="sigmoid",
        rpn_pre_nms_train=2000, rpn_pre_nms_test=1000, rpn_ignore_outside=False, roi_pooling="align",
        box_loss_beta=1 / 9, box_nms_iou=0.5, frozen_parts=(), **SMALL, **{**OURS, "box_batch": 12, "rpn_post_nms_test": 25},
    )  # fmt: skip
    body.fc = nn.Identity()
    state = convert(body.state_dict(), source="torchvision", spec=spec.network_spec)
    state = {f"{'box_head' if name.startswith('conv5_x') else 'network'}.{name}": value for name, value in state.items()}
    for ours, module in {
        "proposer.convs.0": theirs.rpn.head.conv[0][0],
        "proposer.objectness": theirs.rpn.head.cls_logits,
        "proposer.deltas": theirs.rpn.head.bbox_pred,
        "box_predictor.scores": theirs.roi_heads.box_predictor.cls_score,
        "box_predictor.deltas": theirs.roi_heads.box_predictor.bbox_pred,
    }.items():
        state |= {f"{ours}.weight": module.weight.detach(), f"{ours}.bias": module.bias.detach()}
    ours = loaded(spec, state)
    assert_same_detections(ours, theirs)
    assert_same_losses(
        ours, theirs, gradient_of=("box_head.conv5_x.0.residual.conv2.weight", "roi_heads.box_head.layer4.0.conv2.weight")
    )


def test_the_comparison_sees_a_changed_field() -> None:
    """Guards the comparison itself: another value of a field gives other detections."""
    theirs = pyramid_peer(CLASSES, **SMALL, **THEIRS)
    base = get_detector_spec("resnet50-fpn", network=NETWORK, num_classes=CLASSES, **SMALL, **OURS)
    state = convert(theirs.state_dict(), spec=base, source="torchvision")
    for change in ({"box_nms_iou": 0.3}, {"roi_sampling": 0}, {"anchor_rounding": False}):
        with pytest.raises(AssertionError):
            assert_same_detections(loaded(base.updated(**change), state), theirs)
