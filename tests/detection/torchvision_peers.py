"""torchvision's Faster R-CNN with random weights, images and targets, for comparison with ours."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

BLOCKS = (1, 2, 1, 1)
"""Units a stage: fewer than resnet50's save time."""


def network_peer(*, frozen: bool) -> ResNet:
    """torchvision's ResNet of bottlenecks, small."""
    return ResNet(Bottleneck, list(BLOCKS), norm_layer=FrozenBatchNorm2d if frozen else None)


def pyramid_peer(num_classes: int, *, frozen: bool = True, **settings: object) -> FasterRCNN:
    """fasterrcnn_resnet50_fpn, with fewer units, as it is for training from ImageNet weights (or, not frozen, from scratch)."""
    backbone = _resnet_fpn_extractor(network_peer(frozen=frozen), 3 if frozen else 5)
    return randomized(FasterRCNN(backbone, num_classes, **settings))


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, biases and statistics, such that maps stay of the order of 1 and proposals move."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.dim() == 1 and name.endswith("weight"):  # gamma; a small last one keeps residual sums small
            value.uniform_(0.5, 1.5, generator=generator).mul_(0.3 if "bn3" in name else 1)
        elif value.dim() == 1:
            value.normal_(0, 0.1, generator=generator)
        else:
            value.normal_(0, math.sqrt(2 / value[0].numel()), generator=generator)
    with torch.no_grad():
        model.rpn.head.bbox_pred.weight.mul_(0.2)  # offsets of some pixels
        model.roi_heads.box_predictor.bbox_pred.weight.mul_(0.2)
    return model


def make_images() -> list[Tensor]:
    """Three images of different shapes in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *size, generator=generator) for size in ((50, 80), (72, 60), (40, 44))]


def targets(num_classes: int) -> list[dict[str, Tensor]]:
    """For each image some objects, for the last none."""
    boxes = [[[5.0, 8, 40, 45], [30, 5, 75, 30], [60, 20, 72, 48.5]], [[3, 30, 50.5, 70]], []]
    labels = [[1, num_classes - 1, 2], [2], []]
    return [
        {"boxes": torch.tensor(b).reshape(-1, 4), "labels": torch.tensor(n, dtype=torch.int64)}
        for b, n in zip(boxes, labels, strict=True)
    ]
