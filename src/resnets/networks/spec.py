"""`NetworkSpec`: the one description from which every residual network is built.

He et al. 2016 (arXiv 1603.05027), eq. 1-2, write a residual unit as

    y_l = h(x_l) + F(x_l)        x_{l+1} = f(y_l)

Every field below chooses F (the residual function), h (the shortcut), f (what follows the
addition), how often the unit is repeated, or what comes before and after the units.
This module imports no torch: a spec is data that can be read, compared and stored.

Legend: a *stage* is a run of units at one resolution (conv2_x, conv3_x, ...); *width* is the
number of channels of a stage before widening and expansion ("planes" in many code bases).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..core.errors import UserError
from ..core.limits import ACTIVATIONS, CHANNELS, PARAMETERS, PIXELS_A_SIDE, UNITS, check_limit

Stem = Literal["imagenet", "cifar", "deep", "inception-v4", "inception-resnet-v1", "inception-resnet-v2"]
Residual = Literal[
    "basic",
    "bottleneck",
    "inception-v4-a", "inception-v4-b", "inception-v4-c",
    "inception-resnet-v1-a", "inception-resnet-v1-b", "inception-resnet-v1-c",
    "inception-resnet-v2-a", "inception-resnet-v2-b", "inception-resnet-v2-c",
]  # fmt: skip
Transition = Literal[
    "reduction-a-v4", "reduction-b-v4",
    "reduction-a-resnet-v1", "reduction-b-resnet-v1",
    "reduction-a-resnet-v2", "reduction-b-resnet-v2",
]  # fmt: skip
ActivationOrder = Literal["original", "bn-after-addition", "relu-before-addition", "relu-only-preactivation", "full-preactivation"]
Shortcut = Literal["A", "B", "C", "average-pool", "none"]
Join = Literal["sum", "exclusive-gating", "shortcut-only-gating", "dropout"]
Positive = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class NetworkSpec(BaseModel):
    """A residual network as data: frozen, validated and serialisable.

    Raises:
        ValueError: (as pydantic's ValidationError) a value is out of its range, or two fields contradict each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # F, the residual function ------------------------------------------------------------------
    residual: Residual | tuple[Residual, ...] = "basic"
    """F's shape, one for all stages or one per stage. He 2015 Fig. 5: basic is 3x3, 3x3; bottleneck is 1x1, 3x3, 1x1."""
    blocks: tuple[Positive, ...] = (2, 2, 2, 2)
    """Number of units in each stage (He 2015, Table 1)."""
    width: Positive | tuple[Positive, ...] = 64
    """Width of each stage; a single number is the first stage's, and doubles from stage to stage."""
    widening_factor: float = Field(1.0, gt=0)
    """k of Wide ResNet (1605.07146): multiplies the width of every stage, not the stem's."""
    cardinality: Positive = 1
    """C of ResNeXt (1611.05431): groups of the bottleneck's 3x3."""
    base_width: Positive = 64
    """d of ResNeXt: the bottleneck's inner width is floor(width * d / 64) * C. 128 with C = 1 is WRN-50-2-bottleneck."""
    bottleneck_stride: Literal["1x1", "3x3"] = "3x3"
    """Where a bottleneck subsamples: in the first 1x1 (He 2015, "v1") or in the 3x3 (fb.resnet.torch, torchvision, "v1.5")."""
    activation_order: ActivationOrder = "original"
    """Place of norm and ReLU relative to the weights and the addition (He 2016, Fig. 4 and Table 2)."""
    shared_preactivation: Literal["first-unit", "shape-change"] = "shape-change"
    """Pre-activation orders only: which units activate before the branch, so that the shortcut sees the activated input.
    "first-unit" is the text of He 2016 §4.1; "shape-change" is the units that change the shape, as in the released
    resnet-pre-act.lua (resnet-1k-layers), fb.resnet.torch and timm (and the first unit, where the stem's activation serves it)."""
    squeeze_excitation: Annotated[int, Field(ge=0)] = 0
    """Reduction ratio of a squeeze-and-excitation gate at F's end (Hu 2018, 16); 0 for none."""
    squeeze_multiple: Positive = 1
    """The gate's inner width is rounded to a multiple of this and never below it; 1 in Hu 2018, 8 in timm."""
    dropout: Probability = 0.0
    """Dropout before F's last convolution (WRN §2.4)."""
    stochastic_depth: Probability = 0.0
    """Drop probability of the last unit's F; grows linearly from the first (Huang 2016, 1603.09382 §3)."""
    residual_scale: float | tuple[float, ...] = 1.0
    """Factor on F's output, for all stages or one per stage (Inception-ResNet §3.3; 1 - lambda in He 2016 §3.1)."""
    linear_last_unit: bool = False
    """The last unit neither scales F nor activates the sum (TF-slim's released Inception-ResNet-v2)."""

    # h, the shortcut ----------------------------------------------------------------------------
    shortcut: Shortcut = "B"
    """h where stride or channels change (He 2015 §4.1): "A" subsamples and appends zero channels, "B" projects, "C" projects
    in every unit, "average-pool" averages, then projects (ResNet-D, 1812.01187), "none" is the plain network: no shortcut."""
    projection_norm: bool = True
    """A norm after each projection; the released pre-activation networks have none."""
    join: Join = "sum"
    """How h and F meet: the sum, or one of the ablations of He 2016, Table 1."""
    shortcut_scale: float = 1.0
    """lambda on h (He 2016, constant scaling, §3.1)."""
    gate_bias: float = -6.0
    """Initial bias of the gates' 1x1 convolutions (He 2016 §3.1; -6 was its best for exclusive gating)."""
    shortcut_dropout: Probability = 0.5
    """Dropout rate on h for join="dropout" (He 2016 §3.1)."""

    # stem, transitions and head -----------------------------------------------------------------
    stem: Stem = "imagenet"
    """"imagenet" is 7x7/2 and a 3x3/2 max pool, "cifar" one 3x3, "deep" three 3x3 (ResNet-C/D) and the max pool."""
    stem_width: Positive = 64
    """Channels that the stem puts out (the Inception stems have their own)."""
    stem_stride: Literal[1, 2] | None = None
    """Stride of the stem's first convolution; None for the stem's own (cifar 1, the others 2)."""
    stem_activation: bool = True
    """Norm and ReLU right after the stem's convolution, which serve as a pre-activation network's first (He 2016 §4.1). False,
    as in timm's resnetv2, for pre-activation only: the first unit activates, after the max pool."""
    strides: tuple[Positive, ...] | None = None
    """Stride of each stage's first unit; None for 1 in the first stage and after a transition, 2 in the others."""
    transitions: tuple[Transition | None, ...] = ()
    """A module before a stage that changes the shape in the units' place (Inception's reductions)."""
    final_width: Annotated[int, Field(ge=0)] = 0
    """Channels of a 1x1 convolution after the last stage (Inception-ResNet-v2: 1536); 0 for none."""
    head: Literal["classes", "policy-value"] = "classes"
    """Class logits, or a board game's policy logits and value (AlphaGo Zero, Silver 2017, Methods)."""
    num_classes: Annotated[int, Field(ge=0)] = 1000
    """Number of logits; 0 leaves the pooled features; for policy-value the number of moves."""
    head_dropout: Probability = 0.0
    """Dropout before the classifier (Inception-v4: 0.2)."""
    in_channels: Positive = 3
    """Channels of the input."""
    input_size: Positive = 224
    """Native height and width in pixels; the multiply-adds in tables are counted at this size."""
    output_stride: Literal[4, 8, 16, 32] | None = None
    """Largest stride between input and output: later stages dilate instead (DeepLab); None for no limit."""
    dims: Literal[1, 2, 3] = 2
    """Spatial dimensions: 1 for series, 2 for images, 3 for volumes and video."""

    # numerical choices on which implementations differ -------------------------------------------
    norm: Literal["batch", "frozen-batch", "group"] = "batch"
    """Normalisation: batch (1502.03167), batch with frozen statistics and affine (detection), or group (1803.08494)."""
    norm_epsilon: float = Field(1e-5, gt=0)
    """Added to the variance. PyTorch and fb.resnet.torch 1e-5; TF-slim and timm's Inception 1e-3."""
    norm_momentum: float = Field(0.1, gt=0, le=1)
    """Weight of the new batch in the running statistics (PyTorch's convention)."""
    norm_groups: Positive = 32
    """Most groups of group norm; fewer where the channels are not a multiple."""
    conv_bias: bool = False
    """Biases in the convolutions although a norm follows (the Fashion-MNIST tutorial's network has them)."""
    initialization: Literal["he-fan-out", "he-fan-in", "torch"] = "he-fan-out"
    """He normal (1502.01852) over the fan-out (fb.resnet.torch, torchvision) or fan-in, or PyTorch's own uniform default."""
    zero_init_residual: bool = False
    """Start F at zero: its last norm's gamma, or its last convolution where no norm follows (Goyal 2017, 1706.02677 §5.1)."""
    gradient_checkpointing: bool = False
    """Keep about sqrt(units) activations a stage and recompute the others in the backward pass (Chen 2016, 1604.06174)."""

    @field_validator("blocks", mode="after")
    @classmethod
    def _some_blocks(cls, blocks: tuple[int, ...]) -> tuple[int, ...]:
        if not blocks:
            raise UserError("blocks is empty; name the number of units of at least one stage, such as [2, 2, 2, 2]")
        return blocks

    @model_validator(mode="after")
    def _consistent(self) -> NetworkSpec:
        self._check_limits()
        stages = len(self.blocks)
        for field in ("residual", "width", "strides", "transitions", "residual_scale"):
            value = getattr(self, field)
            if isinstance(value, tuple) and value and len(value) != stages:
                raise UserError(f"{field} has {len(value)} entries but blocks has {stages}; give one per stage")
        bottleneck = "bottleneck" in self.stage_residuals
        if self.cardinality > 1 and not bottleneck:
            raise UserError(f"cardinality {self.cardinality} needs residual='bottleneck': only its 3x3 is grouped (1611.05431 §3)")
        if self.base_width != 64 and not bottleneck:
            raise UserError(f"base_width {self.base_width} needs residual='bottleneck': it is the inner width (1611.05431 §3)")
        if min(self.stage_widths) < 1:
            raise UserError(f"widths {list(self.stage_widths)} leave a stage without channels; raise width or widening_factor")
        if bottleneck and min(self.inner_widths) < 1:
            raise UserError(f"base_width {self.base_width} leaves a bottleneck of width {min(self.stage_widths)} without channels")
        if self.shortcut == "none" and self.join != "sum":
            raise UserError(f"join={self.join!r} needs a shortcut, but shortcut is 'none'")
        if self.shortcut == "none" and self.zero_init_residual:
            raise UserError("zero_init_residual=True with shortcut='none' would put out zeros only; it needs a shortcut")
        if self.is_inception and self.dims != 2:
            raise UserError("Inception modules have 1x7 and 7x1 kernels and exist in two dimensions only; set dims=2")
        if self.is_inception and self.output_stride is not None:
            raise UserError("output_stride dilates residual stages; the Inception reductions have fixed strides, leave it unset")
        if not self.stem_activation and not self.preactivated:
            raise UserError(
                f"stem_activation=False needs a pre-activation order, but activation_order is {self.activation_order!r}"
            )
        if self.activation_order != "original" and self.is_inception:
            raise UserError("the Inception residuals have activation_order='original'")
        for kind, stride in zip(self.stage_residuals, self.stage_strides, strict=True):
            if kind.startswith("inception") and stride != 1:
                raise UserError(f"{kind} cannot have stride {stride}: name a transition before its stage, or stride 1")
            if kind.startswith("inception-v4") and self.shortcut != "none":
                raise UserError(f"{kind} puts out activated branches and has no shortcut (1602.07261 §3.1); set shortcut='none'")
            if kind.startswith("inception") and self.dropout:
                raise UserError(f"dropout comes before the last convolution of a basic or bottleneck F; {kind} has no place for it")
        if self.head == "policy-value":
            if self.num_classes == 0:
                raise UserError("head='policy-value' needs num_classes, the number of moves")
            if self.stem_reduction * math.prod(self.stage_strides) != 1 or self.transitions:
                raise UserError("head='policy-value' needs every board point: stem='cifar', no transitions, and strides of 1")
        return self

    def _check_limits(self) -> None:
        """A spec out of a file must not keep whoever builds it busy for ever, or take all memory.

        Raises:
            UserError: more units, channels, parameters or pixels than networks have.
        """
        check_limit("blocks has units:", sum(self.blocks), UNITS)
        check_limit("stages:", len(self.blocks), UNITS)
        check_limit("widening_factor is", self.widening_factor, CHANNELS)
        given = self.width if isinstance(self.width, tuple) else (self.width * 2 ** (len(self.blocks) - 1),)
        for what, channels in (
            ("width is", max(given) * self.widening_factor), ("stem_width is", self.stem_width), ("in_channels is", self.in_channels),
            ("num_classes is", self.num_classes), ("final_width is", self.final_width), ("base_width is", self.base_width * self.cardinality),
        ):  # fmt: skip
            check_limit(what, channels, CHANNELS)
        check_limit("input_size is", self.input_size, PIXELS_A_SIDE)
        widths = self.width if isinstance(self.width, tuple) else tuple(self.width * 2**i for i in range(len(self.blocks)))
        if len(widths) == len(self.blocks):
            square = sum(units * (width * self.widening_factor) ** 2 for units, width in zip(self.blocks, widths, strict=True))
            check_limit("the number of parameters is at least about", square, PARAMETERS)
            self.check_activations(self.input_size)

    def check_activations(self, side: int) -> None:
        """Refuses a network whose feature maps of one square image of so many pixels per side would fill the memory.

        Counted is less than there is: the stem's first map and one map per unit.

        Raises:
            UserError: more values than `core.limits.ACTIVATIONS`.
        """
        values = self.stem_width * (side / (self.stem_stride or 1)) ** self.dims
        size, reduction = side / self.stem_reduction, self.stem_reduction
        for units, width, stride in zip(self.blocks, self.stage_widths, self.stage_strides, strict=False):
            reduction *= stride
            if self.output_stride is None or reduction <= self.output_stride:
                size /= stride
            values += units * width * max(size, 1.0) ** self.dims
        check_limit(
            f"the feature maps of an image of {side} pixels per side have at least about this many values:", values, ACTIVATIONS
        )

    @property
    def is_inception(self) -> bool:
        """Whether any part is one of the Inception modules."""
        return self.stem.startswith("inception") or any(r.startswith("inception") for r in self.stage_residuals)

    @property
    def preactivated(self) -> bool:
        """Whether F begins with an activation, so that f is the identity (He 2016 §4)."""
        return self.activation_order in ("relu-only-preactivation", "full-preactivation")

    @property
    def stem_reduction(self) -> int:
        """Stride of the stem and its pool together."""
        return (self.stem_stride or (1 if self.stem == "cifar" else 2)) * (2 if self.stem in ("imagenet", "deep") else 1)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names as in He 2015, Table 1: conv2_x, conv3_x, ..."""
        return tuple(f"conv{i + 2}_x" for i in range(len(self.blocks)))

    @property
    def stage_residuals(self) -> tuple[Residual, ...]:
        """F's shape in each stage."""
        return self.residual if isinstance(self.residual, tuple) else (self.residual,) * len(self.blocks)

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Width of each stage, widened."""
        widths = self.width if isinstance(self.width, tuple) else tuple(self.width * 2**i for i in range(len(self.blocks)))
        return tuple(math.floor(w * self.widening_factor) for w in widths)

    @property
    def inner_widths(self) -> tuple[int, ...]:
        """Width of the 3x3 of each stage's bottlenecks (1611.05431 §3, Table 1)."""
        return tuple(math.floor(width * self.base_width / 64) * self.cardinality for width in self.stage_widths)

    @property
    def stage_strides(self) -> tuple[int, ...]:
        """Stride of each stage's first unit, before output_stride is applied."""
        return self.strides or tuple(1 if i == 0 or t else 2 for i, t in enumerate(self.stage_transitions))

    @property
    def stage_scales(self) -> tuple[float, ...]:
        """Factor on F's output in each stage."""
        return self.residual_scale if isinstance(self.residual_scale, tuple) else (self.residual_scale,) * len(self.blocks)

    @property
    def stage_transitions(self) -> tuple[Transition | None, ...]:
        """The module before each stage, or None."""
        return self.transitions or (None,) * len(self.blocks)

    def updated(self, **overrides: Any) -> NetworkSpec:
        """A validated copy with other values.

        Raises:
            ValueError: an unknown field, or a value that does not fit.
        """
        return NetworkSpec.model_validate({**self.model_dump(), **overrides})
