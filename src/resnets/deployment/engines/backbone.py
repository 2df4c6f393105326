"""Our networks as backbones of torchvision's detection and segmentation models.

Legend: N batch, C channels, H W height and width in pixels. torchvision's models take a module that gives an ordered dict of maps
(N, C, H, W), and attributes that say how many channels the maps have.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from ...core.errors import UserError
from ...networks import Network


class Backbone(nn.Module):
    """Some of a network's maps under the names that a model of torchvision expects.

    The network's head is left off, since parameters that no loss reaches stop distributed training. All other modules and their
    weights are those of `network`, which itself stays as it is.

    Attributes:
        in_channels_list: channels of each map, in their order (what `FeaturePyramidNetwork` takes).
        out_channels: channels of the last map (what a detector without a pyramid takes).

    Args:
        network: a network of ours in two dimensions.
        maps: name of a map in `network.features` -> its new name, such as {"conv2_x": "0", "conv3_x": "1"} for a feature pyramid
            or {"conv5_x": "out"} for segmentation. None takes all stages and counts them from "0".

    Raises:
        ValueError: no maps, one that the network does not have, or two of one name.
    """

    def __init__(self, network: Network, maps: Mapping[str, str] | None = None) -> None:
        super().__init__()
        if maps is None:
            maps = {name: str(i) for i, name in enumerate(network.stage_names)}
        available = network.feature_channels
        for name in maps:
            if name not in available:
                raise UserError(f"the network has no map {name!r}; its maps are {', '.join(available)}")
        if not maps or len(set(maps.values())) < len(maps):
            raise UserError(f"maps={dict(maps)} has to give at least one map, each a name of its own; take {', '.join(available)}")
        # Pyramids go from fine to coarse, whatever the order in which the maps were named.
        self.maps = {name: maps[name] for name in available if name in maps}
        self.in_channels_list = [available[name] for name in self.maps]
        self.out_channels = self.in_channels_list[-1]
        # A shallow copy with a table of modules of its own: replacing the head there leaves the caller's network whole.
        self.body = copy.copy(network)
        self.body._modules = {**network._modules, "head": nn.Identity()}

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """The maps of images (N, spec.in_channels, H, W), floating point, from the finest on."""
        features = self.body.features(images)
        return OrderedDict((new, features[name]) for name, new in self.maps.items())
