"""`DetectorSpec`: a Faster R-CNN on one of our networks as data. This module imports no torch.

Ren 2015 (1506.01497); He 2015 (1512.03385), Appendix A; Girshick 2015 (Fast R-CNN, 1504.08083); Lin 2017 (FPN, 1612.03144).

Legend: a *level* is a feature map with anchors of its own; its number is log2 of its stride, so that P2 has stride 4. A *region* is a box
whose features the box head sees. IoU is intersection over union. Sizes are in pixels of the resized image unless said otherwise.
"""

from __future__ import annotations

import difflib
import functools
import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..core.errors import UserError
from ..core.limits import ACTIVATIONS, PIXELS_A_SIDE, check_limit, check_limits
from ..networks import NetworkSpec, get_spec
from ..networks.zoo import split_name

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Frozen, without unknown fields; every field's docstring describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@functools.lru_cache(maxsize=64)
def _trunk(network: str, in_channels: int, norm: str) -> NetworkSpec:
    # Kept: a detector asks for it at each step, and reading a name with fields takes a millisecond.
    return get_spec(network, num_classes=0, head="classes", in_channels=in_channels, norm=norm)


class TestTime(Settings):
    """What is added when a detector is tested (He 2015, Appendix A and B). It changes no weights."""

    __test__ = False  # its name does not make it a test of pytest's

    box_refinement: bool = False
    """Feed the regressed boxes to the box head once more and pool both predictions (Appendix A, "Box refinement")."""
    voting_iou: Share | None = None
    """Each box left by NMS becomes the score-weighted mean of the boxes with at least this IoU to it (Gidaris 2015); None for none."""
    flip: bool = False
    """Also look at the mirrored image."""
    sizes: tuple[Positive, ...] = ()
    """Shorter sides of the image at which to look; empty for the spec's min_size (Appendix A, "Multi-scale testing")."""

    def with_more(self, more: TestTime) -> TestTime:
        """What either asks for; where both name a value, that of `more`."""
        return TestTime(
            box_refinement=self.box_refinement or more.box_refinement,
            voting_iou=self.voting_iou if more.voting_iou is None else more.voting_iou,
            flip=self.flip or more.flip,
            sizes=more.sizes or self.sizes,
        )


_LAYERS, _WIDTH, _BOXES = 64, 65_536, 1_000_000
_LIMITS = {
    "num_classes": 100_000, "min_size": PIXELS_A_SIDE, "max_size": PIXELS_A_SIDE, "size_divisible": PIXELS_A_SIDE, "pyramid_width": _WIDTH,
    "rpn_width": _WIDTH, "head_width": _WIDTH, "rpn_convolutions": _LAYERS, "head_convolutions": _LAYERS, "head_layers": _LAYERS,
    "roi_size": 256, "roi_sampling": _LAYERS, "rpn_pre_nms_train": _BOXES, "rpn_pre_nms_test": _BOXES, "rpn_post_nms_train": _BOXES,
    "rpn_post_nms_test": _BOXES, "rpn_batch": _BOXES, "box_batch": _BOXES, "box_detections": _BOXES,
}  # fmt: skip
"""What a spec out of a file may ask for."""


class DetectorSpec(Settings):
    """A detector: frozen, validated and serialisable. Defaults are those of torchvision's fasterrcnn_resnet50_fpn.

    Raises:
        ValueError: (as pydantic's ValidationError) a value is out of its range, or two fields contradict each other.
    """

    layouts_module: ClassVar[str] = "resnets.detection.layouts"

    # the network ---------------------------------------------------------------------------------
    network: str = "resnet50"
    """A network of the zoo, with overrides as anywhere: "resnet50" (stride in the 3x3), "resnet101-v1", "resnet50:width=32"."""
    layout: Literal["fpn", "c4"] = "fpn"
    """"c4": region proposals and pooling on the map before the last stage, which is the box head (He 2015, Appendix A);
    "fpn": a feature pyramid on all stages, and a perceptron as the box head (Lin 2017)."""
    num_classes: Annotated[int, Field(ge=2)] = 91
    """Classes including the background, which is class 0 (21 for VOC, 81 for COCO; torchvision counts COCO's ids, 91)."""
    norm: Literal["frozen-batch", "batch", "group"] = "frozen-batch"
    """The network's norm: frozen for weights from ImageNet (Appendix A: "the BN layers are fixed"), batch or group from scratch."""
    norm_epsilon: Annotated[float, Field(ge=0)] | None = None
    """Epsilon of the network's frozen norms where it is not the network's own; torchvision's COCO_V1 weights were made with 0
    (vision#2933) and its constructor sets 1e-5."""
    frozen_parts: tuple[str, ...] = ("conv1", "conv2_x")
    """Parts of the network that are not trained (Fast R-CNN §4.5 up to conv3_1 of VGG; torchvision, detectron2: conv1, conv2_x)."""

    # the image ---------------------------------------------------------------------------------
    min_size: tuple[Positive, ...] = (800,)
    """Shorter side after resizing; training draws one of several, testing takes the last. 600 in Ren 2015, 800 in FPN §4."""
    max_size: Positive = 1333
    """Longer side after resizing, at most; it wins over min_size. 1000 in Fast R-CNN §5.2, 1333 in torchvision and detectron2."""
    image_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Subtracted from each channel of images in [0, 1]."""
    image_std: tuple[Size, ...] = (0.229, 0.224, 0.225)
    """Divides each channel."""
    size_divisible: Positive = 32
    """A batch is padded with zeros to a multiple of this."""

    # the pyramid ---------------------------------------------------------------------------------
    pyramid_width: Positive = 256
    """Channels of the pyramid's maps (FPN §3: d = 256)."""
    pyramid_norm: bool = False
    """Batch norm after the pyramid's convolutions (torchvision's fasterrcnn_resnet50_fpn_v2)."""

    # anchors -------------------------------------------------------------------------------------
    anchor_sizes: tuple[tuple[Size, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    """Square roots of the anchors' areas, for each level (Ren 2015 §3.1.1: 128, 256, 512 at one level; FPN §4.1)."""
    anchor_ratios: tuple[Size, ...] = (0.5, 1.0, 2.0)
    """Height over width (Ren 2015 §3.1.1)."""
    anchor_rounding: bool = True
    """Round the anchors' corners to whole pixels around the centre: torchvision and py-faster-rcnn do, detectron2 does not."""
    anchor_strides: Literal["measured", "nominal"] = "measured"
    """Distance of neighbouring anchors: padded image over map, rounded down (torchvision), or the level's stride (detectron2).
    They differ where the image is no multiple of the coarsest stride."""

    # the region proposal network -----------------------------------------------------------------
    rpn_width: Positive | None = None
    """Channels of its 3x3 convolutions; None for those of its input. 512 in Ren 2015 (VGG), 1024 in detectron2's C4."""
    rpn_convolutions: Positive = 1
    """Number of its 3x3 convolutions; 2 in torchvision's v2."""
    rpn_objectness: Literal["sigmoid", "softmax"] = "sigmoid"
    """One logit per anchor (torchvision, detectron2), or two and a softmax (Ren 2015 §3.1)."""
    rpn_pre_nms_train: Positive = 2000
    """Best anchors a level that reach NMS, in training (py-faster-rcnn: 12000 at its one level)."""
    rpn_pre_nms_test: Positive = 1000
    """The same in testing (py-faster-rcnn: 6000)."""
    rpn_post_nms_train: Positive = 2000
    """Proposals an image, in training (Ren 2015 §3.3: 2000)."""
    rpn_post_nms_test: Positive = 1000
    """The same in testing (300 in Ren 2015 §3.3 and He 2015, Appendix A)."""
    rpn_nms_iou: Share = 0.7
    """Proposals with a greater IoU to a better one of their level are dropped (Ren 2015 §3.3)."""
    rpn_min_score: Share = 0.0
    """Lowest objectness (a probability) of a proposal."""
    rpn_min_side: Annotated[float, Field(ge=0)] = 1e-3
    """Shortest side of a proposal in pixels."""
    rpn_positive_iou: Share = 0.7
    """An anchor with at least this IoU to an object is positive; so is each object's best (Ren 2015 §3.1.2)."""
    rpn_negative_iou: Share = 0.3
    """An anchor below this IoU to all objects is negative; those between count for nothing."""
    rpn_ignore_outside: bool = False
    """Leave anchors that cross the image's border out of training (Ren 2015 §3.3; torchvision and detectron2 keep them)."""
    rpn_batch: Positive = 256
    """Anchors an image in the loss (Ren 2015 §3.1.3)."""
    rpn_positive_share: Share = 0.5
    """At most this share of them is positive."""
    rpn_loss_beta: Annotated[float, Field(ge=0)] = 1 / 9
    """Where smooth L1 turns from a parabola into a line: 1/9 in py-faster-rcnn and torchvision; 0 (plain L1) in detectron2."""

    # pooling and the box head --------------------------------------------------------------------
    roi_pooling: Literal["align", "half-pixel-align", "pool"] = "align"
    """RoIAlign (He 2017, 1703.06870) as in torchvision, the same half a pixel to the left (detectron2's ROIAlignV2), or Fast R-CNN's
    maximum over rounded cells."""
    roi_size: Positive = 7
    """Height and width of a pooled region (FPN 7; detectron2's C4 14)."""
    roi_sampling: Annotated[int, Field(ge=0)] = 2
    """RoIAlign's samples a cell in each direction (torchvision 2); 0 for as many as the region has pixels (detectron2)."""
    head_stride: Literal[1, 2] | None = None
    """Layout c4: stride of the last stage in the head, where it is not the network's own. 2 makes 7x7 of 14x14; with 1, pool to 7x7."""
    head_convolutions: Annotated[int, Field(ge=0)] = 0
    """Layout fpn: 3x3 convolutions with batch norm before the linear layers (torchvision's v2 has 4)."""
    head_layers: Positive = 2
    """Layout fpn: linear layers (FPN §4.2: two of 1024)."""
    head_width: Positive = 1024
    """Layout fpn: width of the linear layers."""
    global_context: bool = False
    """The whole image as one more region, whose features are joined to every region's (He 2015, Appendix A, "Global context")."""
    predictor_initialization: Literal["torch", "gaussian"] = "torch"
    """PyTorch's own (torchvision), or normal with deviation 0.01 for scores and 0.001 for boxes (Fast R-CNN §2.3; detectron2)."""

    # training and testing of the box head --------------------------------------------------------
    box_positive_iou: Share = 0.5
    """A proposal with at least this IoU to an object is of its class (Fast R-CNN §2.3)."""
    box_negative_iou: Share = 0.5
    """A proposal below this is background; those between count for nothing."""
    box_batch: Positive = 512
    """Regions an image in the loss: 512 in torchvision and detectron2, 128 in py-faster-rcnn."""
    box_positive_share: Share = 0.25
    """At most this share of them is of a class (Fast R-CNN §2.3)."""
    box_weights: tuple[Size, Size, Size, Size] = (10.0, 10.0, 5.0, 5.0)
    """Factors on (dx, dy, dw, dh): one over the deviations 0.1, 0.1, 0.2, 0.2 of py-faster-rcnn."""
    box_loss_beta: Annotated[float, Field(ge=0)] = 1 / 9
    """As rpn_loss_beta: 1 in Fast R-CNN, eq. 3; 1/9 in torchvision; 0 in detectron2."""
    box_min_score: Share = 0.05
    """Detections need a greater probability."""
    box_min_side: Annotated[float, Field(ge=0)] = 1e-2
    """Shortest side of a detection."""
    box_nms_iou: Share = 0.5
    """Detections with a greater IoU to a better one of their class are dropped (0.3 in py-faster-rcnn)."""
    box_detections: Positive = 100
    """Detections an image, at most."""
    testing: TestTime = TestTime()
    """What is added in testing."""

    @field_validator("min_size", mode="before")
    @classmethod
    def _one_size(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _consistent(self) -> DetectorSpec:
        check_limits(self, _LIMITS)
        own = {"norm", "num_classes", "head", "in_channels"} & set(split_name(self.network)[1])
        if own:
            field = min(own)
            instead = {"norm": "norm", "num_classes": "num_classes", "in_channels": "image_mean and image_std"}.get(field, "layout")
            raise UserError(f"network {self.network!r} sets {field}, which in a detector is said by {instead}")
        spec = self.plain_network
        if spec.dims != 2:
            raise UserError(f"network {self.network!r} takes {spec.dims}-dimensional inputs; a detector needs dims=2")
        spec.check_activations(self.max_size)
        if len(spec.blocks) > 1 or self.layout == "fpn":
            width = self.pyramid_width if self.layout == "fpn" else spec.stage_widths[-2]
            values = max(self.rpn_post_nms_test, self.box_batch) * self.roi_size**2 * width
            check_limit("the boxes of one image give the head at least this many values:", values, ACTIVATIONS)
        if len(self.image_mean) != len(self.image_std):
            raise UserError(f"image_mean has {len(self.image_mean)} channels and image_std {len(self.image_std)}; give one each")
        if not self.min_size:
            raise UserError("min_size is empty; give the shorter side of the resized image, such as 800")
        if self.layout == "c4" and len(spec.blocks) < 2:
            raise UserError(f"layout c4 makes the last stage the box head, but {self.network!r} has one stage only; use fpn")
        strides = self.map_strides
        if self.layout == "fpn" and any(b != 2 * a for a, b in pairwise(strides)):
            raise UserError(
                f"a pyramid needs maps whose strides double, but those of {self.network!r} are {list(strides)}; use layout='c4'"
            )
        if any(stride & (stride - 1) for stride in strides):
            raise UserError(f"the maps of {self.network!r} have strides {list(strides)}, which are no powers of two")
        if len(self.anchor_sizes) != len(self.level_strides) or not all(self.anchor_sizes) or not self.anchor_ratios:
            raise UserError(
                f"anchor_sizes {list(self.anchor_sizes)} has to have one group for each of the {len(self.level_strides)} levels "
                f"(strides {list(self.level_strides)}), and none may be empty"
            )
        per_level = {len(sizes) for sizes in self.anchor_sizes}
        if len(per_level) > 1:
            raise UserError(f"anchor_sizes {list(self.anchor_sizes)}: levels share their convolutions, so give each as many sizes")
        unknown = [part for part in self.frozen_parts if part not in ("conv1", *spec.stage_names)]
        if unknown:
            raise UserError(
                f"frozen_parts has {unknown[0]!r}; the parts of {self.network!r} are {', '.join(('conv1', *spec.stage_names))}"
            )
        if self.norm_epsilon is not None and self.norm != "frozen-batch":
            raise UserError(
                f"norm_epsilon={self.norm_epsilon} is for norm='frozen-batch'; write network='{self.network}:norm_epsilon=…'"
            )
        if self.head_stride is not None and spec.stage_transitions[-1] is not None:
            raise UserError(
                f"head_stride={self.head_stride}: the last stage of {self.network!r} begins with a fixed stride; leave it unset"
            )
        for low, high in (("rpn_negative_iou", "rpn_positive_iou"), ("box_negative_iou", "box_positive_iou")):
            if getattr(self, low) > getattr(self, high):
                raise UserError(f"{low}={getattr(self, low)} is above {high}={getattr(self, high)}; lower it")
        for field, default, layout in (
            ("head_stride", None, "c4"), ("head_convolutions", 0, "fpn"), ("pyramid_norm", False, "fpn"),
        ):  # fmt: skip
            if self.layout != layout and getattr(self, field) != default:
                raise UserError(f"{field} belongs to layout {layout!r}, but layout is {self.layout!r}; leave it at {default!r}")
        return self

    @property
    def plain_network(self) -> NetworkSpec:
        """The network as the zoo has it, without a head, for images with as many channels as `image_mean`."""
        return _trunk(self.network, len(self.image_mean), self.norm)

    @property
    def network_spec(self) -> NetworkSpec:
        """The network as the detector has it: `head_stride` applied to the last stage."""
        spec = self.plain_network
        if self.head_stride is None:
            return spec
        return spec.updated(strides=(*spec.stage_strides[:-1], self.head_stride), output_stride=None)

    @property
    def map_strides(self) -> tuple[int, ...]:
        """Strides of the network's maps that the detector takes: of all stages, or in layout c4 of the last but one."""
        spec = self.plain_network
        strides, total = [], 8 if spec.stem.startswith("inception") else spec.stem_reduction
        for stride, transition in zip(spec.stage_strides, spec.stage_transitions, strict=True):
            step = stride * (2 if transition else 1)
            total *= 1 if spec.output_stride is not None and total * step > spec.output_stride else step
            strides.append(total)
        return tuple(strides) if self.layout == "fpn" else (strides[-2],)

    @property
    def level_strides(self) -> tuple[int, ...]:
        """Strides of the maps with anchors, finest first: a pyramid has one level more than maps (FPN §4.1: P6)."""
        return (*self.map_strides, 2 * self.map_strides[-1]) if self.layout == "fpn" else self.map_strides

    @property
    def levels(self) -> tuple[int, ...]:
        """log2 of `level_strides`: 2 is P2."""
        return tuple(round(math.log2(stride)) for stride in self.level_strides)

    @property
    def num_anchors(self) -> int:
        """Anchors at each position."""
        return len(self.anchor_sizes[0]) * len(self.anchor_ratios)

    def updated(self, **overrides: Any) -> DetectorSpec:
        """A validated copy with other values.

        Raises:
            ValueError: an unknown field (the message names the nearest), or a value that does not fit.
        """
        check_fields(overrides)
        return DetectorSpec.model_validate({**self.model_dump(), **overrides})


def check_fields(overrides: dict[str, Any]) -> None:
    """Raises a ValueError where one of the names is no field of `DetectorSpec`, with the nearest one that is."""
    for field in overrides:
        if field not in DetectorSpec.model_fields:
            near = difflib.get_close_matches(field, DetectorSpec.model_fields, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(DetectorSpec.model_fields)}."
            raise UserError(f"a detector has no field {field!r}; {hint}")
