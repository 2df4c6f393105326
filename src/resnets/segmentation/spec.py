"""`SegmenterSpec`: the one description from which every segmentation network is built. It imports no torch.

A segmenter is a residual network without its classifier (the *trunk*), whose late stages dilate instead of subsampling, and a head
that names a class for every place of the last map. FCN: Long 2015 (1411.4038); DeepLabV3: Chen 2017 (1706.05587). Layer by layer the
defaults are those of torchvision's `fcn_resnet*` and `deeplabv3_resnet*`, so that its weights fit.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..core.errors import UserError
from ..core.limits import PIXELS_A_SIDE, check_limits
from ..data.annotations.objects import IGNORED
from ..data.decoding.preprocessing import Preprocessing
from ..networks.spec import NetworkSpec
from ..networks.zoo import get_spec

BACKGROUND = "background"
"""Name of class 0, which precedes those of a data set."""
Positive = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class SegmenterSpec(BaseModel):
    """A segmentation network as data: frozen, validated and serialisable.

    Raises:
        ValueError: (as pydantic's ValidationError) a value is out of its range, or the network cannot serve as a trunk.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    layouts_module: ClassVar[str] = "resnets.segmentation.layouts"

    network: str = "resnet50"
    """The trunk: a network of the zoo, with fields where wanted, such as cifar-resnet20:width=32."""
    head: Literal["fcn", "deeplabv3"] = "fcn"
    """fcn: one 3x3 convolution before the classifier. deeplabv3: a pyramid of dilated convolutions (1706.05587 §3.3)."""
    num_classes: Annotated[int, Field(ge=2, le=IGNORED)] = 21
    """Classes, the background included (21 are VOC's)."""
    output_stride: Literal[4, 8, 16, 32] = 8
    """Largest stride between the image and the trunk's last map; stages that would go beyond it dilate (1706.05587 §3.1)."""
    auxiliary: bool = True
    """An FCN head on the map before the last stage's, whose loss helps the trunk to learn (PSPNet, 1612.01105 §3.3)."""
    skips: Annotated[int, Field(ge=0)] = 0
    """fcn: how many of the trunk's earlier maps join the last one on its way back to the image's size, the coarsest first, as in
    FCN-16s and FCN-8s (Long 2015 §4.2); sums of features as in 1612.03144 §3, not of logits."""
    subpixels: Positive = 1
    """fcn: the head gives each place of its finest map so many logits down and as many across for each class (1702.08502 §3.1)."""
    head_width: Positive | None = None
    """Channels inside the head; unset: a quarter of the trunk's for fcn, 256 for deeplabv3. The auxiliary head always has a quarter."""
    rates: tuple[Positive, ...] | None = None
    """deeplabv3: dilations of the pyramid's 3x3 convolutions; unset: 12, 24, 36 at an output stride of 8 and 6, 12, 18 at 16
    (1706.05587 §3.3), and so on in proportion."""
    head_dropout: Probability | None = None
    """Dropout before the classifier (fcn and the auxiliary head) or after the pyramid (deeplabv3); unset: 0.1 and 0.5, as in
    torchvision."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each input channel in [0, 1] units, which normalisation subtracts; ImageNet's."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = (0.229, 0.224, 0.225)
    """Standard deviation of each input channel in [0, 1] units, by which normalisation divides; ImageNet's."""
    size: Positive | None = None
    """Length in pixels of the shorter side at which images are segmented, whatever their own; unset: at their own size."""

    @model_validator(mode="after")
    def _consistent(self) -> SegmenterSpec:
        check_limits(self, {"head_width": 65_536, "subpixels": 64, "skips": 64, "rates": 4_096, "size": PIXELS_A_SIDE})
        trunk = self.trunk
        if trunk.dims != 2:
            raise UserError(f"network={self.network!r} has dims={trunk.dims}, but images are segmented in two dimensions")
        if self.size is not None:
            trunk.check_activations(self.size)
        if len(trunk.blocks) < 2 and self.auxiliary:
            raise UserError(f"network={self.network!r} has one stage only, so that no map is left for auxiliary=True; turn it off")
        if not len(self.mean) == len(self.std) == trunk.in_channels:
            raise UserError(
                f"mean has {len(self.mean)} values and std {len(self.std)}, but network={self.network!r} has "
                f"in_channels={trunk.in_channels}; give one for each channel"
            )
        if self.rates is not None and (self.head != "deeplabv3" or not self.rates):
            raise UserError(
                f"rates={self.rates} are those of head='deeplabv3', at least one; leave them unset for head={self.head!r}"
            )
        if self.head != "fcn" and (self.skips or self.subpixels > 1):
            raise UserError(
                f"skips={self.skips} and subpixels={self.subpixels} are those of head='fcn'; leave them unset for head={self.head!r}"
            )
        if self.skips > len(trunk.blocks):
            raise UserError(
                f"skips={self.skips}, but before its last map network={self.network!r} has {len(trunk.blocks)}; choose at most as many"
            )
        return self

    @property
    def trunk(self) -> NetworkSpec:
        """The network without its classifier, dilated.

        Raises:
            ValueError: no such network, or one that cannot be dilated.
        """
        spec = get_spec(self.network)
        if spec.head != "classes":
            raise UserError(f"network={self.network!r} plays a board game (head={spec.head!r}); choose one with head='classes'")
        if spec.is_inception:
            raise UserError(
                f"network={self.network!r} has Inception modules, whose strides cannot become dilation; choose a network whose stages "
                "are basic or bottleneck units, such as resnet50"
            )
        # A stride below the smallest that a network can be asked for changes nothing: such a trunk is finer than that by itself.
        return spec.updated(output_stride=self.output_stride, num_classes=0)

    @property
    def stride(self) -> int:
        """Stride between the image and the trunk's last map: `output_stride`, or less where the network never goes that far."""
        trunk = self.trunk
        total = trunk.stem_reduction
        for stride in trunk.stage_strides:
            total *= stride if total * stride <= self.output_stride else 1
        return total

    @property
    def pyramid_rates(self) -> tuple[int, ...]:
        """Dilations of the pyramid's 3x3 convolutions: in pixels of the image always 96, 192 and 288 where `rates` is unset."""
        return self.rates or tuple(math.ceil(96 * i / self.stride) for i in (1, 2, 3))

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are normalised. `size` is the length of the shorter side (or the trunk's native one); nothing is cut off.

        Raises:
            ValueError: a trunk for another number of channels than images have.
        """
        channels = len(self.mean)
        if channels not in (1, 3):
            raise UserError(f"network={self.network!r} takes {channels} channels, but images have 1 or 3")
        size = self.size or self.trunk.input_size
        return Preprocessing(size=size, channels=1 if channels == 1 else 3, mean=self.mean, std=self.std)

    def updated(self, **overrides: Any) -> SegmenterSpec:
        """A validated copy with other values.

        Raises:
            ValueError: an unknown field, or a value that does not fit.
        """
        return SegmenterSpec.model_validate({**self.model_dump(), **overrides})
