"""torchvision's detectors and segmentation models on a backbone of ours."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

import resnets
from resnets.deployment.engines.backbone import Backbone

SMALL = "resnet18:width=8,stem_width=8,num_classes=10"


class Pyramid(nn.Module):
    """torchvision's BackboneWithFPN on our adapter."""

    def __init__(self, body: Backbone) -> None:
        super().__init__()
        self.body, self.out_channels = body, 16
        self.fpn = FeaturePyramidNetwork(body.in_channels_list, 16, LastLevelMaxPool())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(self.body(images))


def test_maps_are_the_networks_own_under_new_names() -> None:
    network = resnets.create_model(SMALL).eval()
    backbone = Backbone(network, {"conv5_x": "c5", "conv2_x": "c2"}).eval()
    images = torch.randn(1, 3, 64, 64)
    maps, features = backbone(images), network.features(images)
    assert list(maps) == ["c2", "c5"]  # from fine to coarse
    assert torch.equal(maps["c2"], features["conv2_x"])
    assert torch.equal(maps["c5"], features["conv5_x"])
    assert (backbone.in_channels_list, backbone.out_channels) == ([8, 64], 64)
    every = Backbone(network)
    assert list(every(images)) == ["0", "1", "2", "3"]
    assert every.in_channels_list == [8, 16, 32, 64]


def test_the_head_is_left_off_and_the_network_stays_whole() -> None:
    network = resnets.create_model(SMALL)
    before = {name: id(p) for name, p in network.named_parameters()}
    backbone = Backbone(network)
    kept = {name.removeprefix("body."): id(p) for name, p in backbone.named_parameters()}
    assert kept == {name: number for name, number in before.items() if not name.startswith("head.")}
    assert {name: id(p) for name, p in network.named_parameters()} == before
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 10)
    # every parameter that is left gets a gradient
    sum(m.sum() for m in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_faster_rcnn_with_a_feature_pyramid() -> None:
    torch.manual_seed(0)
    anchors = AnchorGenerator(tuple((size,) for size in (8, 16, 32, 64, 128)), ((0.5, 1.0, 2.0),) * 5)
    detector = FasterRCNN(
        Pyramid(Backbone(resnets.create_model(SMALL))), num_classes=3, rpn_anchor_generator=anchors, min_size=64, max_size=96
    )
    images = [torch.rand(3, 64, 80), torch.rand(3, 72, 64)]
    targets = [{"boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([1])}] * 2
    losses = detector(images, targets)
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    sum(losses.values()).backward()
    assert detector.backbone.body.body.conv1[0].weight.grad.abs().sum() > 0
    found = detector.eval()(images)
    assert len(found) == 2
    assert set(found[0]) == {"boxes", "labels", "scores"}


def test_faster_rcnn_on_one_map() -> None:
    backbone = Backbone(resnets.create_model(SMALL), {"conv4_x": "0"})
    detector = FasterRCNN(
        backbone, num_classes=3, rpn_anchor_generator=AnchorGenerator(((16, 32),), ((1.0,),)), min_size=64, max_size=64
    )
    assert "boxes" in detector.eval()([torch.rand(3, 64, 64)])[0]


def test_deeplab_with_an_auxiliary_head() -> None:
    network = resnets.create_model(SMALL, output_stride=8)
    backbone = Backbone(network, {"conv5_x": "out", "conv4_x": "aux"})
    model = DeepLabV3(backbone, DeepLabHead(backbone.out_channels, 5), FCNHead(backbone.in_channels_list[0], 5))
    result = model(torch.randn(2, 3, 64, 64))
    assert result["out"].shape == result["aux"].shape == (2, 5, 64, 64)
    assert backbone(torch.randn(1, 3, 64, 64))["out"].shape == (1, 64, 8, 8)


def test_wrong_maps() -> None:
    network = resnets.create_model(SMALL)
    with pytest.raises(ValueError, match=r"no map 'layer4'; its maps are conv1, conv2_x"):
        Backbone(network, {"layer4": "out"})
    with pytest.raises(ValueError, match="at least one map"):
        Backbone(network, {})
    with pytest.raises(ValueError, match="each a name of its own"):
        Backbone(network, {"conv4_x": "0", "conv5_x": "0"})
