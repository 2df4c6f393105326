"""The definitions of He 2016, Wide ResNet and Inception-ResNet, from their texts and released code. Imports no torch.

Where a text and its release differ, each is a network of its own, and the audit takes the nearer one. Inception-v4's release is what
the figures draw.
"""

from __future__ import annotations

from typing import Any, get_args

from ..networks.spec import ActivationOrder
from .reference_family import Family, Remark

_CIFAR = {"stem": "cifar", "stem_width": 16, "width": 16, "num_classes": 10, "input_size": 32}
_LUA_NUMBERS = {"norm_epsilon": 1e-5, "norm_momentum": 0.1, "initialization": "he-fan-out", "zero_init_residual": False}
_LUA_DEFAULTS = "Torch7's nn.SpatialBatchNormalization default, which the release keeps"
_CLASSIFIER = "initial biases of the classifier"

# He et al. 2016 ---------------------------------------------------------------------------------------------------------------

_HE2016 = "He 2016 (1603.05027)"
_PREACT_LUA = "github.com/KaimingHe/resnet-1k-layers, resnet-pre-act.lua"
_FB_LUA = "github.com/facebook/fb.resnet.torch, models/preresnet.lua"
_ORDERS: tuple[ActivationOrder, ...] = get_args(ActivationOrder)
_NORMAL = {"initialization": ("he-fan-in", "he-fan-out")}
_HE2016_TEXT_SOURCES = {
    "activation_order": f"{_HE2016} Fig. 4 and Table 2",
    "shared_preactivation": f"{_HE2016} §4.1: the first unit activates before its two paths split",
    "stem_activation": f"{_HE2016} §4.1: the first activation comes right after conv1",
    "blocks": f"{_HE2016} §3: 54 units of two layers make 110, appendix: 18 per stage of three make 164, 111 make 1001",
    "initialization": f"{_HE2016}, appendix: as in 1502.01852",
}
_HE2016_UNSTATED = frozenset({"norm_epsilon", "norm_momentum", "projection_norm", "conv_bias", "zero_init_residual"})

_HE2016_BASIC = Family(
    source=f"{_HE2016} §3 and Table 2",
    networks={f"ResNet-110, {order} (text)": {"blocks": (18,) * 3, "activation_order": order} for order in _ORDERS},
    fields={**_CIFAR, "shortcut": "A", "shared_preactivation": "first-unit"},
    sources={
        **_HE2016_TEXT_SOURCES,
        "shortcut": f"{_HE2016} §3: the baseline is that of He 2015 §4.2, where the shortcuts are option A",
    },
    admits=_NORMAL,
    unstated=_HE2016_UNSTATED,
)
_HE2016_BOTTLENECK = Family(
    source=f"{_HE2016} Table 2 and appendix",
    networks={
        f"ResNet-{depth}, {order} (text)": {"blocks": (blocks,) * 3, "activation_order": order}
        for depth, blocks in ((164, 18), (1001, 111))
        for order in (_ORDERS if depth == 164 else ("original", "full-preactivation"))
    },
    fields={**_CIFAR, "residual": "bottleneck", "shared_preactivation": "first-unit"},
    sources={**_HE2016_TEXT_SOURCES, "residual": f"{_HE2016} §4: bottlenecks as in He 2015 for 164 and 1001 layers"},
    admits=_NORMAL,
    unstated=_HE2016_UNSTATED | {"shortcut", "bottleneck_stride"},
)
_BESIDE_THE_TEXT = Remark(
    "the text, which the release departs from",
    "as the release: a unit that changes the shape activates before its paths split, too",
    "the first unit alone does",
    f"{_HE2016} §4.1",
)
_ZERO_BIAS = Remark(_CLASSIFIER, "PyTorch's uniform default", "0", "the release, loop over nn.Linear: bias:zero()")
_HE2016_CIFAR_RELEASE = Family(
    source=_PREACT_LUA,
    networks={f"ResNet-{depth} (resnet-pre-act.lua)": {"blocks": (n,) * 3} for depth, n in ((164, 18), (1001, 111))},
    fields={
        **_CIFAR, **_LUA_NUMBERS, "residual": "bottleneck", "activation_order": "full-preactivation", "bottleneck_stride": "1x1",
        "shared_preactivation": "shape-change", "projection_norm": False, "shortcut": "B",
    },
    sources={
        "bottleneck_stride": f"{_PREACT_LUA}: stride in the first 1×1",
        "shared_preactivation": f"{_PREACT_LUA}: one norm and ReLU for both paths where the number of planes changes",
        "projection_norm": f"{_PREACT_LUA}: a bare convolution",
        "initialization": f"{_PREACT_LUA}: normal, sqrt(2 / (kW kH nOutputPlane))",
        "norm_epsilon": _LUA_DEFAULTS,
        "norm_momentum": _LUA_DEFAULTS,
    },
    remarks=(_BESIDE_THE_TEXT, _ZERO_BIAS),
)  # fmt: skip
_HE2016_IMAGENET_RELEASE = Family(
    source=_FB_LUA,
    networks={
        **{f"ResNet-{d} (preresnet.lua)": {"blocks": b, "residual": "basic"} for d, b in ((18, (2, 2, 2, 2)), (34, (3, 4, 6, 3)))},
        **{
            f"ResNet-{d} (preresnet.lua)": {"blocks": b, "residual": "bottleneck"}
            for d, b in ((50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3)), (200, (3, 24, 36, 3)))
        },
    },
    fields={
        **_LUA_NUMBERS, "activation_order": "full-preactivation", "bottleneck_stride": "3x3", "projection_norm": False,
        "shared_preactivation": "shape-change", "shortcut": "B",
    },
    sources={
        "bottleneck_stride": f"{_FB_LUA}: stride in the 3×3",
        "shared_preactivation": f"{_FB_LUA}: 'both_preact'",
        "norm_epsilon": _LUA_DEFAULTS,
        "norm_momentum": _LUA_DEFAULTS,
    },
    remarks=(_BESIDE_THE_TEXT, _ZERO_BIAS),
)  # fmt: skip
HE2016 = (_HE2016_CIFAR_RELEASE, _HE2016_IMAGENET_RELEASE, _HE2016_BASIC, _HE2016_BOTTLENECK)

# Wide residual networks ---------------------------------------------------------------------------------------------------------

_WRN = "Zagoruyko 2016 (1605.07146)"
_WRN_LUA = "github.com/szagoruyko/wide-residual-networks, models/wide-resnet.lua"
_WRN_CIFAR = Family(
    source=f"{_WRN} Table 1; {_WRN_LUA}",
    networks={
        f"WRN-{6 * n + 4}-{k}": {"blocks": (n,) * 3, "widening_factor": float(k), "stem_activation": k > 1}
        for n in range(1, 17)
        for k in (1, 2, 4, 6, 8, 10, 12)
    },
    fields={
        **_CIFAR, **_LUA_NUMBERS, "activation_order": "full-preactivation", "shared_preactivation": "shape-change",
        "projection_norm": False, "shortcut": "B",
    },
    sources={
        "blocks": f"{_WRN} Table 1: 6n + 4 layers",
        "width": f"{_WRN} Table 1: 16k, 32k, 64k",
        "stem_width": f"{_WRN} Table 1: conv1 is not widened",
        "stem_activation": f"{_WRN_LUA}: the first unit has its own; with k = 1 it keeps the shape, so that its shortcut takes conv1 bare",
        "dropout": f"{_WRN} §2.4 and Table 6: 0 or, between the convolutions, 0.3 (0.4 for SVHN); {_WRN_LUA}: 0",
        "shared_preactivation": f"{_WRN_LUA}: the shortcut's convolution takes the activated input where the planes change",
        "initialization": f"{_WRN_LUA}, utils.MSRinit: normal, sqrt(2 / (kW kH nOutputPlane))",
        "norm_epsilon": _LUA_DEFAULTS,
        "norm_momentum": _LUA_DEFAULTS,
    },
    admits={"dropout": (0.3, 0.4)},
    remarks=(Remark(_CLASSIFIER, "PyTorch's uniform default", "0", f"{_WRN_LUA}, utils.FCinit"),),
)  # fmt: skip
_WRN_PRETRAINED = "github.com/szagoruyko/wide-residual-networks, pretrained/README.md"
_WRN_IMAGENET = Family(
    source=f"{_WRN} Tables 7 and 8",
    networks={
        **{
            f"WRN-{depth}-{k:g}": {"blocks": blocks, "widening_factor": k}
            for depth, blocks in ((18, (2, 2, 2, 2)), (34, (3, 4, 6, 3)))
            for k in (1.0, 1.5, 2.0, 3.0)
        },
        "WRN-50-2-bottleneck": {"blocks": (3, 4, 6, 3), "residual": "bottleneck", "base_width": 128},
    },
    fields={**_LUA_NUMBERS, "bottleneck_stride": "3x3", "shortcut": "B", "projection_norm": True},
    sources={
        "base_width": f"{_WRN} §3: the inner 1×1 and 3×3 of ResNet-50 twice as wide",
        "bottleneck_stride": f"{_WRN_PRETRAINED}: trained with fb.resnet.torch, whose Bottleneck has the stride in its 3×3",
    },
    remarks=(_ZERO_BIAS,),
)
WRN = (_WRN_CIFAR, _WRN_IMAGENET)

# Inception-v4 and Inception-ResNet -----------------------------------------------------------------------------------------------

_INCEPTION = "Szegedy 2016 (1602.07261)"
_SLIM = "github.com/tensorflow/models, research/slim/nets"
_SLIM_SOURCES = {
    "num_classes": f"{_SLIM}: 1001 with a class for background",
    "norm_epsilon": f"{_SLIM}, arg_scope: epsilon 0.001",
    "norm_momentum": f"{_SLIM}, arg_scope: decay 0.9997",
    "head_dropout": f"{_SLIM}: dropout_keep_prob 0.8",
    "residual_scale": f"{_SLIM}/inception_resnet_v2.py: block35 0.17, block17 0.10, block8 0.20",
    "linear_last_unit": f"{_SLIM}/inception_resnet_v2.py: the tenth block8 has activation_fn=None and scale 1",
    "final_width": f"{_SLIM}/inception_resnet_v2.py: Conv2d_7b_1x1",
}
_SLIM_FIELDS = {"norm_epsilon": 1e-3, "norm_momentum": 3e-4, "head_dropout": 0.2, "num_classes": 1001, "input_size": 299}
_SLIM_REMARKS = (
    Remark("scale (γ) of the norms", "learnt", "none: slim.batch_norm leaves it out", f"{_SLIM}: slim.batch_norm with scale=False"),
    Remark("auxiliary classifier in training", "none", "on the 17×17 map", f"{_SLIM}: create_aux_logits=True"),
)
_V4 = {
    "stem": "inception-v4", "shortcut": "none", "residual": tuple(f"inception-v4-{letter}" for letter in "abc"),
    "transitions": (None, "reduction-a-v4", "reduction-b-v4"),
}  # fmt: skip


def _resnet(version: str, **fields: Any) -> dict[str, Any]:
    return {
        "residual": tuple(f"inception-resnet-{version}-{letter}" for letter in "abc"),
        "transitions": (None, f"reduction-a-resnet-{version}", f"reduction-b-resnet-{version}"),
        **fields,
    }


_INCEPTION_SLIM = Family(
    source=f"{_SLIM}/inception_v4.py and inception_resnet_v2.py",
    networks={
        "Inception-v4 (TF-slim)": {"blocks": (4, 7, 3), **_V4},
        "Inception-ResNet-v2 (TF-slim)": _resnet(
            "v2", blocks=(10, 20, 10), stem="inception-resnet-v2", linear_last_unit=True, final_width=1536,
            residual_scale=(0.17, 0.10, 0.20),
        ),
    },
    fields=_SLIM_FIELDS,
    sources=_SLIM_SOURCES,
    unstated=frozenset({"initialization"}),
    remarks=(
        *_SLIM_REMARKS,
        Remark(
            "initialisation of the convolutions", "the spec's `initialization`", "truncated normal over the fan-in (1502.01852)",
            f"{_SLIM}/inception_utils.py: variance_scaling_initializer", ("Inception-v4 (TF-slim)",),
        ),
        Remark(
            "initialisation of the convolutions", "the spec's `initialization`", "Xavier's uniform",
            "slim.conv2d's default, which inception_resnet_v2_arg_scope keeps", ("Inception-ResNet-v2 (TF-slim)",),
        ),
    ),
)  # fmt: skip
_INCEPTION_TEXT = Family(
    source=f"{_INCEPTION} Figs. 3 and 7-19",
    networks={
        "Inception-ResNet-v1 (figures)": _resnet("v1", blocks=(5, 10, 5), stem="inception-resnet-v1"),
        "Inception-ResNet-v2 (figures)": _resnet("v2", blocks=(5, 10, 5), stem="inception-v4"),
    },
    fields={"head_dropout": 0.2, "input_size": 299},
    sources={"head_dropout": f"{_INCEPTION} Figs. 9 and 15: dropout, keep 0.8"},
    unstated=frozenset(
        {"norm_epsilon", "norm_momentum", "initialization", "zero_init_residual", "conv_bias", "linear_last_unit", "residual_scale"}
    ),
    remarks=(
        Remark("factor on F", "the spec's `residual_scale`", "between 0.1 and 0.3", f"{_INCEPTION} §3.3", (
            "Inception-ResNet-v1 (figures)", "Inception-ResNet-v2 (figures)",
        )),
        Remark(
            "width of the 1×1 after the branches of B and C", "that of the unit's input, 1152 and 2144",
            "1154 and 2048, which cannot be added", f"{_INCEPTION} Figs. 17 and 19", ("Inception-ResNet-v2 (figures)",),
        ),
    ),
)  # fmt: skip
INCEPTION = (_INCEPTION_SLIM, _INCEPTION_TEXT)
