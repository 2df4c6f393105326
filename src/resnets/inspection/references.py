"""What other definitions of these networks fix, as data: values of `NetworkSpec` fields with their sources. Imports no torch.

A reference (he2015, torchvision, timm, ...) is a row of families; a family is a table of networks that share their fields. What `fields` does
not name has the value of `NetworkSpec`'s default, except for `unstated`, on which the reference says nothing. `admits` lists the
values of a field that the reference all allows. A remark is a difference that no field of ours describes.
Tests compare the rows of torchvision and timm with the modules that these packages build. The later papers, whose own releases are
theirs, are in later_references.py.
"""

from __future__ import annotations

from typing import Any, Literal

from .later_references import HE2016, INCEPTION, WRN
from .reference_family import Family, Remark

ReferenceName = Literal["he2015", "he2016", "wrn", "inception", "torchvision", "timm"]

_BLOCKS = {
    18: (2, 2, 2, 2), 26: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
}  # fmt: skip


def _depths(name: str, *depths: int, **fields: Any) -> dict[str, dict[str, Any]]:
    """`name` filled with each depth: units of two layers below 50 (but for timm's 26), else bottlenecks."""
    return {
        name.format(d): {"blocks": _BLOCKS[d], "residual": "basic" if d in (18, 34) else "bottleneck", **fields} for d in depths
    }


# He et al. 2015 ---------------------------------------------------------------------------------------------------------------

_PAPER = "He 2015 (1512.03385)"
_RELEASE = "github.com/KaimingHe/deep-residual-networks"
_HE2015_SOURCES = {
    "initialization": f"{_PAPER} §3.4 cites 1502.01852, where fan-in (eq. 10) or fan-out (eq. 14) alone is enough",
    "dropout": f"{_PAPER} §3.4: no dropout",
    "head_dropout": f"{_PAPER} §3.4: no dropout",
    "activation_order": f"{_PAPER} §3.2-3.4 and Fig. 2: norm right after each convolution, ReLU after the addition",
    "blocks": f"{_PAPER} Table 1",
    "stem": f"{_PAPER} Table 1",
}
_HE2015_UNSTATED = frozenset({"norm_momentum", "norm_epsilon"})
_HE_NORMAL = {"initialization": ("he-fan-in", "he-fan-out")}

_HE2015_IMAGENET = Family(
    source=f"{_PAPER} Table 1 and §3.3-3.4",
    networks={
        "ResNet-50": {"blocks": _BLOCKS[50]},
        "ResNet-101": {"blocks": _BLOCKS[101]},
        "ResNet-152": {"blocks": _BLOCKS[152]},
    },
    fields={"residual": "bottleneck", "bottleneck_stride": "1x1", "shortcut": "B", "projection_norm": True, "conv_bias": False},
    sources={
        **_HE2015_SOURCES,
        "bottleneck_stride": f"{_PAPER} Table 1: conv3_1, conv4_1, conv5_1 subsample; {_RELEASE}, prototxt: stride 2 in res3a_branch2a",
        "shortcut": f"{_PAPER} §4.1: option B for the deeper networks",
        "projection_norm": f"{_RELEASE}, prototxt: bn2a_branch1",
        "conv_bias": f"{_RELEASE}, prototxt: bias_term false",
        "norm_epsilon": f"{_RELEASE}, prototxt names none: Caffe's BatchNorm default, 1e-5",
    },
    admits=_HE_NORMAL,
    unstated=frozenset({"norm_momentum"}),
    remarks=(
        Remark(
            "padding of the 3×3 max pool",
            "1 on every side",
            "none, a part of a window beyond the right or lower edge counts",
            f"{_RELEASE}, prototxt: pool1 has no pad, and Caffe rounds its output size up",
        ),
        Remark(
            "statistics of the norms",
            "moving average over training",
            "average over a large batch, computed after training",
            f"{_RELEASE}, README, disclaimer",
        ),
        Remark("bias of conv1", "none", "present", f"{_RELEASE}, ResNet-50 prototxt: conv1 without bias_term", ("ResNet-50",)),
    ),
)
_HE2015_BASIC = Family(
    source=f"{_PAPER} Table 1 and §3.3-3.4",
    networks={
        "ResNet-18": {"blocks": _BLOCKS[18], "shortcut": "A"},
        "ResNet-34 A": {"blocks": _BLOCKS[34], "shortcut": "A"},
        "ResNet-34 B": {"blocks": _BLOCKS[34], "shortcut": "B"},
        "ResNet-34 C": {"blocks": _BLOCKS[34], "shortcut": "C"},
        "plain-18": {"blocks": _BLOCKS[18], "shortcut": "none"},
        "plain-34": {"blocks": _BLOCKS[34], "shortcut": "none"},
    },
    sources={
        **_HE2015_SOURCES,
        "shortcut": f"{_PAPER} §4.1: option A in Table 2 (18 and 34 layers); A, B and C for 34 layers in Table 3",
    },
    admits=_HE_NORMAL,
    unstated=_HE2015_UNSTATED | {"projection_norm", "conv_bias"},
)
_HE2015_CIFAR = Family(
    source=f"{_PAPER} §4.2",
    networks={
        **{f"ResNet-{6 * n + 2} for CIFAR-10": {"blocks": (n,) * 3, "shortcut": "A"} for n in range(1, 201)},
        **{f"plain-{6 * n + 2} for CIFAR-10": {"blocks": (n,) * 3, "shortcut": "none"} for n in range(1, 201)},
    },
    fields={"stem": "cifar", "stem_width": 16, "width": 16, "num_classes": 10, "input_size": 32},
    sources={
        **_HE2015_SOURCES,
        "blocks": f"{_PAPER} §4.2: 6n + 2 layers",
        "stem": f"{_PAPER} §4.2: one 3×3 convolution",
        "shortcut": f"{_PAPER} §4.2: option A in all cases",
        "residual": f"{_PAPER} §4.2: pairs of 3×3 layers",
    },
    admits=_HE_NORMAL,
    unstated=_HE2015_UNSTATED | {"conv_bias"},
)

# torchvision -----------------------------------------------------------------------------------------------------------------

_TORCHVISION = Family(
    source="torchvision/models/resnet.py",
    networks={
        **_depths("resnet{}", 18, 34, 50, 101, 152),
        **_depths("wide_resnet{}_2", 50, 101, base_width=128),
        **_depths("resnext{}_32x4d", 50, cardinality=32, base_width=4),
        **_depths("resnext{}_32x8d", 101, cardinality=32, base_width=8),
        **_depths("resnext{}_64x4d", 101, cardinality=64, base_width=4),
    },
    fields={
        "bottleneck_stride": "3x3", "shortcut": "B", "projection_norm": True, "conv_bias": False, "norm_epsilon": 1e-5,
        "norm_momentum": 0.1, "initialization": "he-fan-out", "zero_init_residual": False,
    },
    sources={
        "bottleneck_stride": "torchvision/models/resnet.py, class Bottleneck: stride in conv2 (ResNet v1.5)",
        "initialization": "torchvision/models/resnet.py, ResNet.__init__: kaiming_normal_, fan_out",
        "zero_init_residual": "torchvision/models/resnet.py, ResNet.__init__: zero_init_residual=False",
        "norm_epsilon": "torch.nn.BatchNorm2d default, which torchvision/models/resnet.py keeps",
        "norm_momentum": "torch.nn.BatchNorm2d default, which torchvision/models/resnet.py keeps",
    },
)  # fmt: skip

# timm ------------------------------------------------------------------------------------------------------------------------

_TIMM_SOURCES = {
    "initialization": "timm/models/resnet.py, ResNet.init_weights: kaiming_normal_, fan_out",
    "zero_init_residual": "timm/models/resnet.py, ResNet.__init__: zero_init_last=True",
    "squeeze_multiple": "timm/layers/squeeze_excite.py, SEModule: rd_divisor=8",
    "stem": "timm/models/resnet.py, stem_type='deep'",
    "shortcut": "timm/models/resnet.py, avg_down",
}
_DEEP = {"stem": "deep", "shortcut": "average-pool"}
_SE = {"squeeze_excitation": 16, "squeeze_multiple": 8}
_TIMM_FIELDS = {**_TORCHVISION.fields, "zero_init_residual": True}

_TIMM_RESNET = Family(
    source="timm/models/resnet.py",
    networks={
        **_depths("resnet{}", 18, 26, 34, 50, 101, 152, 200),
        **_depths("resnet{}d", 18, 26, 34, 50, 101, 152, 200, **_DEEP),
        **_depths("resnet{}_gn", 50, norm="group"),
        **_depths("wide_resnet{}_2", 50, 101, base_width=128),
        **_depths("resnext{}_32x4d", 50, 101, cardinality=32, base_width=4),
        **_depths("resnext{}_32x8d", 101, cardinality=32, base_width=8),
        **_depths("resnext{}_64x4d", 101, cardinality=64, base_width=4),
    },
    fields=_TIMM_FIELDS,
    sources=_TIMM_SOURCES,
)
_TIMM_SE = Family(
    source="timm/models/resnet.py",
    networks={
        **_depths("seresnet{}", 18, 34, 50, 101, 152),
        **_depths("seresnext{}_32x4d", 50, 101, cardinality=32, base_width=4),
        **_depths("seresnext{}_32x8d", 101, cardinality=32, base_width=8),
    },
    fields={**_TIMM_FIELDS, **_SE},
    sources=_TIMM_SOURCES,
    remarks=(
        Remark(
            "initial biases of the squeeze-and-excitation gate",
            "0",
            "PyTorch's uniform default",
            "timm/models/resnet.py, ResNet.init_weights: weights only",
        ),
    ),
)
_TIMM_V2 = Family(
    source="timm/models/resnetv2.py",
    networks={
        **_depths("resnetv2_{}", 18, 34, 50, 101, 152),
        **_depths("resnetv2_{}d", 18, 34, 50, 101, 152, **_DEEP),
    },
    fields={
        **_TORCHVISION.fields, "activation_order": "full-preactivation", "shared_preactivation": "shape-change",
        "projection_norm": False, "stem_activation": False, "zero_init_residual": False,
    },
    sources={
        "activation_order": "timm/models/resnetv2.py, class PreActBottleneck",
        "stem_activation": "timm/models/resnetv2.py, create_resnetv2_stem: no norm after the stem's convolution when preact=True",
        "initialization": "timm/models/resnetv2.py, _init_weights: kaiming_normal_, fan_out",
        "zero_init_residual": "timm/models/resnetv2.py, ResNetV2.__init__: zero_init_last=False",
    },
    remarks=(
        Remark(
            "initialisation of the classifier",
            "PyTorch's uniform default",
            "normal with standard deviation 0.01, bias 0",
            "timm/models/resnetv2.py, _init_weights",
        ),
    ),
)  # fmt: skip
_TIMM_INCEPTION_FIELDS = {"norm_epsilon": 1e-3, "initialization": "torch", "head_dropout": 0.0, "input_size": 299}
_TIMM_INCEPTION_V4 = Family(
    source="timm/models/inception_v4.py",
    networks={"inception_v4": {"blocks": (4, 7, 3)}},
    fields={
        **_TIMM_INCEPTION_FIELDS, "stem": "inception-v4", "shortcut": "none",
        "residual": tuple(f"inception-v4-{letter}" for letter in "abc"),
        "transitions": (None, "reduction-a-v4", "reduction-b-v4"),
    },
    sources={
        "initialization": "timm/models/inception_v4.py initialises nothing: PyTorch's defaults",
        "head_dropout": "timm/models/inception_v4.py, InceptionV4.__init__: drop_rate=0.0",
    },
)  # fmt: skip
_TIMM_INCEPTION_RESNET = Family(
    source="timm/models/inception_resnet_v2.py",
    networks={"inception_resnet_v2": {"blocks": (10, 20, 10)}},
    fields={
        **_TIMM_INCEPTION_FIELDS, "stem": "inception-resnet-v2", "linear_last_unit": True, "final_width": 1536,
        "residual": tuple(f"inception-resnet-v2-{letter}" for letter in "abc"),
        "transitions": (None, "reduction-a-resnet-v2", "reduction-b-resnet-v2"), "residual_scale": (0.17, 0.10, 0.20),
    },
    sources={
        "initialization": "timm/models/inception_resnet_v2.py initialises nothing: PyTorch's defaults",
        "head_dropout": "timm/models/inception_resnet_v2.py, InceptionResnetV2.__init__: drop_rate=0.0",
    },
)  # fmt: skip

REFERENCES: dict[ReferenceName, tuple[Family, ...]] = {
    "he2015": (_HE2015_IMAGENET, _HE2015_BASIC, _HE2015_CIFAR),
    "he2016": HE2016,
    "wrn": WRN,
    "inception": INCEPTION,
    "torchvision": (_TORCHVISION,),
    "timm": (_TIMM_RESNET, _TIMM_SE, _TIMM_V2, _TIMM_INCEPTION_V4, _TIMM_INCEPTION_RESNET),
}
"""The families of each reference."""
