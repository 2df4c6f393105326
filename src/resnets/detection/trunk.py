"""The network of a detector: one of ours, its maps, and in layout c4 its last stage as the box head.

Legend: N images, C channels, H W height and width in pixels; R regions, r height and width of a pooled region.
He 2015, Appendix A: conv1 ... conv4_x are shared, and all layers of conv5_x are applied to each region.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..networks import Network, build
from ..networks.layers import FrozenBatchNorm
from .spec import DetectorSpec


class StageHead(nn.Module):
    """A network's last stage on pooled regions: (R, C, r, r) to its map's mean, (R, out_channels).

    It takes the stage, with what leads into it and follows it, out of `network`, under the same names.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        name = network.stage_names[-1]
        self.stage_name = name
        self.out_channels = network.feature_channels[name]
        self.transitions = nn.ModuleDict()
        if name in network.transitions:
            self.transitions[name] = network.transitions.pop(name)
        self.add_module(name, getattr(network, name))
        self.final = network.final
        delattr(network, name)
        network.final = nn.Identity()
        network.stage_names = network.stage_names[:-1]
        del network.feature_channels[name]

    def forward(self, pooled: Tensor) -> Tensor:
        x = pooled
        if self.stage_name in self.transitions:
            x = self.transitions[self.stage_name](x)
        x = self.final(getattr(self, self.stage_name)(x))
        mean: Tensor = x.mean(dim=(2, 3))
        return mean


def build_trunk(spec: DetectorSpec) -> tuple[Network, StageHead | None]:
    """The spec's network, freshly initialised, without its head; in layout c4 without its last stage, which is the second result."""
    network = build(spec.network_spec)
    if network.spec.is_inception:
        align_maps(network)
    if spec.norm_epsilon is not None:
        for module in network.modules():
            if isinstance(module, FrozenBatchNorm):
                module.epsilon = spec.norm_epsilon
    head = StageHead(network) if spec.layout == "c4" else None
    freeze(network, head, spec.frozen_parts)
    return network, head


def align_maps(network: nn.Module) -> None:
    """Pads every convolution and pool of an Inception network that has no padding, in place.

    Without, its maps are a few positions smaller than image over stride, and a region's features would be looked for beside it.
    TF-slim's `align_feature_maps` does the same to detect objects with Inception-ResNet-v2 (Huang 2017, 1611.10012). Weights stay.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.padding == (0, 0):
            module.padding = tuple(side // 2 for side in module.kernel_size)
        elif isinstance(module, nn.MaxPool2d) and module.padding == 0:
            module.padding = 1


def freeze(network: Network, head: StageHead | None, parts: tuple[str, ...]) -> None:
    """Takes the named parts out of training: no gradients, and for ever in evaluation mode."""
    own = network.parts
    network.eval_only = frozenset(part for part in parts if part in own)
    for part in parts:
        for module in own.get(part, (head,)):
            assert module is not None
            module.requires_grad_(False)


def feature_maps(network: Network, images: Tensor) -> dict[str, Tensor]:
    """The maps of all stages by name, finest first, of images (N, C, H, W).

    `Network.features` gives them too, but also activates and keeps the largest map, conv1's, which no detector needs.
    """
    x: Tensor = network.pool(network.conv1(images))
    maps = {}
    parts = network.parts
    for name in network.stage_names:
        for module in parts[name]:
            x = module(x)
        maps[name] = x
    return maps
