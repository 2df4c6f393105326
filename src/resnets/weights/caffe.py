"""Caffe2 blob names, as in the ImageNet files MSRA/R-50.pkl, MSRA/R-101.pkl and FAIR/X-101-32x8d.pkl that detectron2 starts from.

`res2_0_branch2a_w` is the first convolution of conv2_x's first unit. A norm there is what is left of a batch norm whose statistics were
folded into its scale and shift (`_bn_s`, `_bn_b`): as a batch norm it has mean 0 and variance 1. Files whose norms were not folded have
the statistics, too (`_bn_rm`, `_bn_riv`; detectron2's converter takes the latter for the variance, whatever its name says). The networks
were trained on images in the order blue, green, red with values in [0, 255].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..data.decoding.preprocessing import Preprocessing

BGR_MEAN = (103.53, 116.28, 123.675)
"""Mean of the images, blue first, in [0, 255] (detectron2's MODEL.PIXEL_MEAN)."""
BGR_STD = {False: (1.0, 1.0, 1.0), True: (57.375, 57.12, 58.395)}
"""By what an image is divided: nothing for MSRA's networks; for the ResNeXt of FAIR this (its configuration's PIXEL_STD)."""

_BRANCHES = {"branch1": "shortcut", "branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
_LEAVES = {
    "w": "weight", "b": "bias", "bn_s": "norm.weight", "bn_b": "norm.bias", "bn_rm": "norm.running_mean", "bn_riv": "norm.running_var",
}  # fmt: skip
_UNIT = re.compile(r"(res\d)_(\d+)_(branch1|branch2[abc])_(w|bn_(?:s|b|rm|riv))")
_STEM = re.compile(r"(?:res_)?conv1_(w|bn_(?:s|b|rm|riv))")
_CLASSIFIER = re.compile(r"(?:fc1000|pred|linear)_(w|b)")


def is_caffe(keys: Iterable[str]) -> bool:
    """Whether these are Caffe2 blob names of a ResNet."""
    return "res2_0_branch2a_w" in keys


def detectron2_state(blobs: Mapping[str, Tensor], epsilon: float) -> dict[str, Tensor]:
    """The blobs under detectron2's names; folded norms get mean 0 and variance 1 - epsilon (so that 1 is under the root).

    Momentum of the training (`*_momentum`) is left out. A bias of the first convolution, which Caffe's ResNet-50 has, goes into the
    shift of the (folded) norm after it: s (Wx + c) + b = s Wx + (b + s c). Names that are not known stay as they are.
    """
    state = {_renamed(name): value for name, value in blobs.items() if not name.endswith("_momentum")}
    bias = state.pop("conv1_b", None)
    if bias is not None:
        state["stem.conv1.norm.bias"] = state["stem.conv1.norm.bias"] + state["stem.conv1.norm.weight"] * bias
    for name in [name for name in state if name.endswith(".norm.weight")]:
        norm = name.removesuffix("weight")
        state.setdefault(norm + "running_mean", torch.zeros_like(state[name]))
        state.setdefault(norm + "running_var", torch.full_like(state[name], 1 - epsilon))
    return state


def _renamed(name: str) -> str:
    if match := _UNIT.fullmatch(name):
        stage, unit, branch, leaf = match.groups()
        return f"{stage}.{unit}.{_BRANCHES[branch]}.{_LEAVES[leaf]}"
    if match := _STEM.fullmatch(name):
        return f"stem.conv1.{_LEAVES[match[1]]}"
    if match := _CLASSIFIER.fullmatch(name):
        return f"linear.{_LEAVES[match[1]]}"
    return name


def rgb_preprocessing(grouped: bool, size: int) -> Preprocessing:
    """The same normalisation for images in the order red, green, blue with values in [0, 1]."""
    mean = tuple(value / 255 for value in reversed(BGR_MEAN))
    std = tuple(value / 255 for value in reversed(BGR_STD[grouped]))
    return Preprocessing(size=size, resize=round(size / 0.875), mean=mean, std=std)
