"""transformers' `ResNetForImageClassification` (`microsoft/resnet-18` ... `microsoft/resnet-152`)."""

from __future__ import annotations

from ...networks import NetworkSpec
from .table import Layout, Rows, require_original

UNIT, THEIRS = "conv{stage}_x.{unit}.", "resnet.encoder.stages.{stage-2}.layers.{unit}."

ROWS: Rows = {
    "conv1.conv": "resnet.embedder.embedder.convolution",
    "conv1.norm": "resnet.embedder.embedder.normalization",
    UNIT + "residual.conv{layer}": THEIRS + "layer.{layer-1}.convolution",
    UNIT + "residual.norm{layer}": THEIRS + "layer.{layer-1}.normalization",
    UNIT + "shortcut.match.conv": THEIRS + "shortcut.convolution",
    UNIT + "shortcut.match.norm": THEIRS + "shortcut.normalization",
    "head.fc": "classifier.1",
}


def table(spec: NetworkSpec) -> Rows:
    """transformers' names. `ResNetConfig` has free depths and widths; `downsample_in_bottleneck` is our bottleneck_stride="1x1",
    `downsample_in_first_stage` our strides[0] = 2."""
    later = (2,) * (len(spec.blocks) - 1)
    require_original(
        "transformers",
        spec,
        norm=("batch", "frozen-batch"),
        norm_epsilon=(1e-5,),
        bottleneck_stride=("1x1", "3x3"),
        stage_strides=((1, *later), (2, *later)),
        cardinality=(1,),
        base_width=(64,),
        output_stride=(None,),
    )
    return ROWS


TRANSFORMERS = Layout(
    "transformers",
    table,
    {
        **{f"resnet-{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
        "resnet-26": "resnet50:blocks=[2,2,2,2]",
    },
    plain=lambda name: name.rpartition("/")[2],
)
