"""`Segmenter`: a residual network that names a class for every pixel.

Legend: N batch, C channels, K classes (the background is class 0), H W height and width of the pictures in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..networks import build
from .heads import FCNHead, at_pixels, build_head
from .spec import SegmenterSpec
from .zoo import get_segmenter_spec


class Segmenter(nn.Module):
    """Trunk (`network`), `head` and, where the spec wants one, `auxiliary` head.

    Calling it with normalised pictures (N, C, H, W), floating point, gives a dict as torchvision's networks do: "out", and with an
    auxiliary head "aux", both logits (N, K, H, W).
    """

    def __init__(self, spec: SegmenterSpec) -> None:
        super().__init__()
        self.spec = spec
        self.classes: tuple[str, ...] | None = None
        """Names of classes 1 to K - 1, where weights or a data set gave them; class 0 is the background."""
        self.preprocessing: Any = None
        """What turns a picture into this segmenter's input, where a model file gave it; the spec says the same."""
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
        """Logits of both heads at the pictures' size.

        Args:
            every: of so many rows and columns only the first; logits are then (N, K, H / every, W / every), rounded up.

        Raises:
            ValueError: training of a DeepLabV3 head on a single picture.
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
            raise ValueError(
                "a DeepLabV3 head cannot train on a batch of one picture: the norm behind its pooled map would see one value a "
                "channel; raise --batch-size to 2 or more for each process"
            )

    def extra_repr(self) -> str:
        return f"spec={self.spec!r}"


def create_segmenter(
    name_or_spec: str | SegmenterSpec,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    network_weights: str | Path | None = None,
    **overrides: Any,
) -> Segmenter:
    """A segmenter by name or spec, with other values for some fields; freshly initialised, or with pretrained weights.

    Args:
        name_or_spec: "fcn-resnet50", "deeplabv3-resnet101", HEAD-NETWORK for any network of the zoo, or a spec.
        num_classes: classes including the background, where they differ from the spec's or the weights'.
        weights: of the whole segmenter: "coco-with-voc-labels-v1" for those of torchvision, or the path of a file of torchvision's or
            ours. It is then in evaluation mode. With another number of classes the classifiers are fresh, and the logger
            "resnets" says so.
        network_weights: of the trunk alone, as `resnets.create_model` takes them: "imagenet1k-v2", a run directory, a file, ...
        overrides: fields of `SegmenterSpec`; for a name also fields of the trunk's `NetworkSpec`.

    Raises:
        ValueError: an unknown name, field or weights (the message names the nearest right one), a value that does not fit, or
            weights of another network.
        resnets.weights.WeightsUnavailable: the weights would have to be fetched and cannot be; the message says what to put where.
    """
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    if isinstance(name_or_spec, str):
        spec = get_segmenter_spec(name_or_spec, **overrides)
    else:
        spec = name_or_spec.updated(**overrides)
    if weights is not None and network_weights is not None:
        raise ValueError(
            f"weights={str(weights)!r} are those of the whole segmenter and network_weights={str(network_weights)!r} those of its "
            "trunk; give one of the two"
        )
    if weights is not None:
        from .weights import load_pretrained_segmenter

        stated = "num_classes" in overrides or not isinstance(name_or_spec, str) or "num_classes=" in name_or_spec
        return load_pretrained_segmenter(spec, weights, keeps_classes=stated)
    segmenter = Segmenter(spec)
    if network_weights is not None:
        from ..weights.pretrained import load_pretrained

        segmenter.network.load_state_dict(load_pretrained(spec.trunk, network_weights).network.state_dict())
    return segmenter
