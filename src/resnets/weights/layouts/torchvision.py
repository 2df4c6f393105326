"""torchvision's ResNets (`torchvision.models.resnet`): resnet18 ... resnet152, resnext*, wide_resnet*."""

from __future__ import annotations

from ...networks import NetworkSpec
from .table import Layout, Rows, require_original

UNIT, THEIRS = "conv{stage}_x.{unit}.", "layer{stage-1}.{unit}."

ROWS: Rows = {
    "conv1.conv": "conv1",
    "conv1.norm": "bn1",
    UNIT + "residual.conv{layer}": THEIRS + "conv{layer}",
    UNIT + "residual.norm{layer}": THEIRS + "bn{layer}",
    UNIT + "shortcut.match.conv": THEIRS + "downsample.0",
    UNIT + "shortcut.match.norm": THEIRS + "downsample.1",
    "head.fc": "fc",
}


def table(spec: NetworkSpec) -> Rows:
    """torchvision's names: its class has four stages of 64 to 512 channels; `groups` and `width_per_group` are free. The stem may be its own,
    or the 3x3 without a pool that many put in its place for small images."""
    require_original(
        "torchvision", spec, stage_widths=((64, 128, 256, 512),), stem_width=(64,), stem=("imagenet", "cifar"),
        stem_reduction=(4 if spec.stem == "imagenet" else 1,),
    )  # fmt: skip
    return ROWS


TORCHVISION = Layout(
    "torchvision",
    table,
    {
        **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
        **{f"wide_resnet{depth}_2": f"wide-resnet{depth}-2" for depth in (50, 101)},
        **{f"resnext{kind}": f"resnext{kind.replace('_', '-')}" for kind in ("50_32x4d", "101_32x8d", "101_64x4d")},
    },
)
