"""detectron2's ResNet backbones (`detectron2.modeling.backbone.resnet`).

The names are those of the module `ResNet`. In a detector's checkpoint they follow a prefix, `backbone.` or (with FPN)
`backbone.bottom_up.`, which has to be removed first. The ImageNet files named MSRA/ and FAIR/ in its model zoo have Caffe2 blob names
instead (`res2_0_branch2a_w`), and detectron2's own loader turns those into these.
"""

from __future__ import annotations

from ...networks import NetworkSpec
from .table import Layout, Rows, require_original

UNIT, THEIRS = "conv{stage}_x.{unit}.", "res{stage}.{unit}."

ROWS: Rows = {
    "conv1.conv": "stem.conv1",
    "conv1.norm": "stem.conv1.norm",
    UNIT + "residual.conv{layer}": THEIRS + "conv{layer}",
    UNIT + "residual.norm{layer}": THEIRS + "conv{layer}.norm",
    UNIT + "shortcut.match.conv": THEIRS + "shortcut",
    UNIT + "shortcut.match.norm": THEIRS + "shortcut.norm",
    "head.fc": "linear",
}


def table(spec: NetworkSpec) -> Rows:
    """detectron2's names; its `STRIDE_IN_1X1` is our bottleneck_stride. Its units project where the channels change only, which is
    the same as ours while every stage doubles them."""
    doubling = tuple(spec.stage_widths[0] * 2**i for i in range(len(spec.blocks)))
    require_original("detectron2", spec, bottleneck_stride=("1x1", "3x3"), stage_widths=(doubling,))
    return ROWS


def _plain(name: str) -> str:
    return name.rpartition("ImageNetPretrained/")[2].removesuffix(".pkl")


_BACKBONE = "norm=frozen-batch,num_classes=0"

DETECTRON2 = Layout(
    "detectron2",
    table,
    {
        # Its MSRA networks subsample in the 1x1, those converted from torchvision and the ResNeXts in the 3x3.
        **{f"MSRA/R-{depth}": f"resnet{depth}-v1:{_BACKBONE}" for depth in (50, 101)},
        **{f"torchvision/R-{depth}": f"resnet{depth}:{_BACKBONE}" for depth in (50, 101)},
        "FAIR/X-101-32x8d": f"resnext101-32x8d:{_BACKBONE}",
    },
    plain=_plain,
)
