"""The pyramid's box head, and the two sibling layers after every box head (FPN §4.2; Fast R-CNN §2.1).

Legend: R regions, C channels, r height and width of a pooled region, F features, K classes with the background.
Layout c4's head is the network's last stage: `trunk.StageHead`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ..networks.layers import ConvNormReLU
from .spec import DetectorSpec


class PerceptronHead(nn.Module):
    """Pooled regions (R, C, r, r) through 3x3 convolutions (by choice) and linear layers with ReLUs to features (R, F)."""

    def __init__(self, spec: DetectorSpec, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential()
        for i in range(spec.head_convolutions):
            conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")  # torchvision's FastRCNNConvFCHead
            self.convs.add_module(str(i), ConvNormReLU(conv, nn.BatchNorm2d(channels)))
        inputs = [channels * spec.roi_size**2, *[spec.head_width] * (spec.head_layers - 1)]
        self.layers = nn.ModuleList(nn.Linear(width, spec.head_width) for width in inputs)
        self.out_channels = spec.head_width

    def forward(self, pooled: Tensor) -> Tensor:
        x: Tensor = self.convs(pooled).flatten(1)
        for layer in self.layers:
            x = functional.relu(layer(x), inplace=True)
        return x


class BoxPredictor(nn.Module):
    """Features (R, F) to class logits (R, K) and, for each class, box offsets (R, K, 4)."""

    def __init__(self, features: int, num_classes: int, *, gaussian: bool) -> None:
        super().__init__()
        self.scores = nn.Linear(features, num_classes)
        self.deltas = nn.Linear(features, 4 * num_classes)
        if gaussian:
            for layer, deviation in ((self.scores, 0.01), (self.deltas, 0.001)):
                nn.init.normal_(layer.weight, std=deviation)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores(features), self.deltas(features).unflatten(1, (-1, 4))
