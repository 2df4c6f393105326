"""`Segmenter`: a residual network that names a class for every pixel.

Legend: N batch, C channels, K classes (the background is class 0), H W height and width of the images in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..core.errors import UserError
from ..networks import build
from .heads import FCNHead, at_pixels, build_head
from .spec import SegmenterSpec


class Segmenter(nn.Module):
    """Trunk (`network`), `head` and, where the spec wants one, `auxiliary` head.

    Calling it with normalised images (N, C, H, W), floating point, gives a dict as torchvision's networks do: "out", and with an
    auxiliary head "aux", both logits (N, K, H, W).
    """

    def __init__(self, spec: SegmenterSpec) -> None:
        super().__init__()
        self.spec = spec
        self.classes: tuple[str, ...] | None = None
        """Names of classes 1 to K - 1, where weights or a data set gave them; class 0 is the background."""
        self.preprocessing: Any = None
        """What turns an image into this segmenter's input, where a model file gave it; the spec says the same."""
        self.network = build(spec.trunk)
        last, *earlier = reversed(self.network.feature_channels)
        self.maps = last, *earlier[: spec.skips]
        """Names of the trunk's maps that the head sees: the last, then those of its skips."""
        self.auxiliary_map = earlier[0]
        """Name of the one that the auxiliary head sees."""
        self.head = build_head(spec, [self.network.feature_channels[name] for name in self.maps])
        self.auxiliary: FCNHead | None = None
        if spec.auxiliary:
            self.auxiliary = FCNHead(
                spec.trunk, self.network.feature_channels[self.auxiliary_map], spec.num_classes, dropout=spec.head_dropout
            )

    @property
    def parts(self) -> dict[str, tuple[nn.Module, ...]]:
        """What fine-tuning takes as one: the trunk's parts, then both heads under "head"."""
        heads = (self.head,) if self.auxiliary is None else (self.head, self.auxiliary)
        return {**{name: modules for name, modules in self.network.parts.items() if name != "head"}, "head": heads}

    def forward(self, images: Tensor, every: int = 1) -> dict[str, Tensor]:
        """Logits of both heads at the images' size.

        Args:
            every: of so many rows and columns only the first; logits are then (N, K, H / every, W / every), rounded up.

        Raises:
            ValueError: training of a DeepLabV3 head on a single image.
        """
        self._check(images)
        maps = self.network.features(images)
        outputs = {"out": self._out(maps, images, every)}
        if self.auxiliary is not None:
            outputs["aux"] = at_pixels(self.auxiliary(maps[self.auxiliary_map]), images.shape[-2:], every)
        return outputs

    def logits(self, images: Tensor) -> Tensor:
        """The head's logits (N, K, H, W) alone, which is what prediction and evaluation need."""
        self._check(images)
        return self._out(self.network.features(images), images)

    def _out(self, maps: Mapping[str, Tensor], images: Tensor, every: int = 1) -> Tensor:
        return at_pixels(self.head(*(maps[name] for name in self.maps)), images.shape[-2:], every)

    def _check(self, images: Tensor) -> None:
        if self.training and self.spec.head == "deeplabv3" and self.network.spec.norm != "group" and images.shape[0] == 1:
            raise UserError(
                "a DeepLabV3 head cannot train on a batch of one image: the norm after its pooled map would see one value a "
                "channel; raise --batch-size to 2 or more for each process"
            )

    def extra_repr(self) -> str:
        return f"spec={self.spec!r}"
