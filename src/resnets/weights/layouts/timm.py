"""timm's ResNets: `resnet*`, `resnet*d`, `seresnet*`, `resnext*`, `wide_resnet*` (`timm.models.resnet`), the pre-activation `resnetv2_*`
with batch or group norm (`timm.models.resnetv2`), `inception_v4` and `inception_resnet_v2`.
"""

from __future__ import annotations

from ...core.errors import UserError
from ...networks import NetworkSpec
from .table import POINTWISE, Layout, Row, Rows, require, require_original
from .timm_inception import inception_rows
from .torchvision import ROWS as TORCHVISION_ROWS
from .torchvision import THEIRS, UNIT

V2 = "stages.{stage-2}.blocks.{unit}."

DEEP_STEM = {  # an nn.Sequential; 2 and 5 are its ReLUs
    "conv1.conv_a": "conv1.0",
    "conv1.norm_a": "conv1.1",
    "conv1.conv_b": "conv1.3",
    "conv1.norm_b": "conv1.4",
    "conv1.conv": "conv1.6",
}

V2_DEEP_STEM = {
    "conv1.conv_a": "stem.conv1",
    "conv1.norm_a": "stem.norm1",
    "conv1.conv_b": "stem.conv2",
    "conv1.norm_b": "stem.norm2",
    "conv1.conv": "stem.conv3",
}

V2_ROWS: Rows = {
    "conv1.conv": "stem.conv",
    UNIT + "prelude.norm": V2 + "norm1",  # shared with the shortcut, where the shape changes; elsewhere F's own
    UNIT + "residual.norm{layer}": V2 + "norm{layer}",
    UNIT + "residual.conv{layer}": V2 + "conv{layer}",
    UNIT + "shortcut.match.conv": V2 + "downsample.conv",
    "head.fc": Row("head.fc", {"weight": POINTWISE}),
}


def table(spec: NetworkSpec) -> Rows:
    """timm's names, which depend on the family."""
    if spec.is_inception:
        return inception_rows(spec)
    if spec.preactivated:
        return _preactivation(spec)
    stem_widths = (64,) if spec.stem == "imagenet" else (spec.stem_width // 2 * 2,)
    require_original(
        "timm",
        spec,
        shortcut=("B", "average-pool"),
        stem=("imagenet", "deep"),
        stem_width=stem_widths,
        squeeze_excitation=(0, 16),
    )
    if spec.squeeze_excitation and spec.squeeze_multiple != 8:
        expansion = 4 if spec.residual == "bottleneck" else 1
        if any(width * expansion // 16 % 8 for width in spec.stage_widths):
            raise UserError(
                "timm rounds the inner width of squeeze-and-excitation to a multiple of 8, which makes another network of this "
                f"one with squeeze_multiple={spec.squeeze_multiple}; set squeeze_multiple=8"
            )
    rows = {**TORCHVISION_ROWS, **(DEEP_STEM if spec.stem == "deep" else {})}
    rows[UNIT + "residual.squeeze_excitation.reduce"] = THEIRS + "se.fc1"
    rows[UNIT + "residual.squeeze_excitation.expand"] = THEIRS + "se.fc2"
    if spec.shortcut == "average-pool":  # its downsample begins with the pool
        rows[UNIT + "shortcut.match.conv"] = THEIRS + "downsample.1"
        rows[UNIT + "shortcut.match.norm"] = THEIRS + "downsample.2"
    return rows


def _preactivation(spec: NetworkSpec) -> Rows:
    require("timm", spec, stem_activation=(False,))
    require_original(
        "timm",
        spec,
        activation_order=("full-preactivation",),
        shared_preactivation=("shape-change",),
        projection_norm=(False,),
        shortcut=("B", "average-pool"),
        stem=("imagenet", "deep"),
        cardinality=(1,),
        base_width=(64,),
        norm=("batch", "frozen-batch", "group"),
    )
    last = f"conv{len(spec.blocks) + 1}_x.{spec.blocks[-1] - 1}.after.norm"
    return {**V2_ROWS, **(V2_DEEP_STEM if spec.stem == "deep" else {}), last: "norm"}


_D = "stem=deep,shortcut=average-pool"
_SE = "squeeze_excitation=16,squeeze_multiple=8"
_BLOCKS = {26: "blocks=[2,2,2,2]", 200: "blocks=[3,24,36,3]", 269: "blocks=[3,30,48,8]"}


def _network(depth: int, *overrides: str) -> str:
    """The zoo's network of `depth` with overrides; depths that the papers do not have are resnet50 with other blocks."""
    name = f"resnet{50 if depth in _BLOCKS else depth}"
    changes = ",".join(filter(None, (_BLOCKS.get(depth, ""), *overrides)))
    return f"{name}:{changes}" if changes else name


def _groups(cardinality: int, base_width: int) -> str:
    return f"cardinality={cardinality},base_width={base_width}"


_V2 = "activation_order=full-preactivation,projection_norm=false,stem_activation=false"  # timm has no activation after the stem

TIMM = Layout(
    "timm",
    table,
    {
        **{f"resnet{depth}": _network(depth) for depth in (18, 26, 34, 50, 101, 152, 200)},
        **{f"resnet{depth}c": _network(depth, "stem=deep") for depth in (50, 101, 152)},
        **{f"resnet{depth}s": _network(depth, "stem=deep,stem_width=128") for depth in (50, 101, 152)},
        **{f"resnet{depth}d": _network(depth, _D) for depth in (18, 26, 34, 50, 101, 152, 200)},
        "resnet50_gn": _network(50, "norm=group"),
        **{f"wide_resnet{depth}_2": _network(depth, "base_width=128") for depth in (50, 101)},
        "resnext50_32x4d": _network(50, _groups(32, 4)),
        "resnext50d_32x4d": _network(50, _D, _groups(32, 4)),
        **{f"resnext101_{c}x{d}d": _network(101, _groups(c, d)) for c, d in ((32, 4), (32, 8), (32, 16), (32, 32), (64, 4))},
        **{f"seresnet{depth}": _network(depth, _SE) for depth in (18, 34, 50, 101, 152)},
        **{f"seresnet{depth}d": _network(depth, _SE, _D) for depth in (152, 200, 269)},
        "seresnext26d_32x4d": _network(26, _SE, _D, _groups(32, 4)),
        "seresnext50_32x4d": _network(50, _SE, _groups(32, 4)),
        "seresnext101d_32x8d": _network(101, _SE, _D, _groups(32, 8)),
        **{f"seresnext101_{c}x{d}d": _network(101, _SE, _groups(c, d)) for c, d in ((32, 4), (32, 8), (64, 4))},
        **{f"resnetv2_{depth}": _network(depth, _V2) for depth in (18, 34, 50, 101, 152)},
        **{f"resnetv2_{depth}d": _network(depth, _V2, _D) for depth in (18, 34, 50, 101, 152)},
        "resnetv2_50d_gn": _network(50, _V2, _D, "norm=group"),
        "inception_v4": "inception-v4",
        "inception_resnet_v2": "inception-resnet-v2",
    },
    plain=lambda name: name.removeprefix("timm/").partition(".")[0],  # timm/resnet50.a1_in1k
)
