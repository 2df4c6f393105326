"""detectron2's files, rebuilt here from its documented names alone: `stem.conv1`, `res2.0.shortcut.norm`, ... and Caffe2's blob names.

The network that the names mean is computed below by hand, layer by layer, with no module of ours: convolutions without bias, each with a
frozen batch norm whose four vectors are buffers; a projection where the channels change; the stride in the 1x1 (MSRA) or the 3x3.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from resnets.networks import build
from resnets.weights.foreign_file import read_foreign
from resnets.weights.layouts import convert, spec_for

BLOCKS = (3, 4, 6, 3)
EPSILON = 1e-5


def detectron2_state() -> dict[str, Tensor]:
    """A ResNet-50 backbone of detectron2 with random values, float64, an eighth as wide as the real one."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def layer(name: str, c_in: int, c_out: int, kernel: int) -> None:
        state[f"{name}.weight"] = torch.randn(c_out, c_in, kernel, kernel, generator=generator).double() / (c_in * kernel**2) ** 0.5
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.norm.{leaf}"] = torch.rand(c_out, generator=generator).double() + 0.5

    layer("stem.conv1", 3, 8, 7)
    channels = 8
    for stage, blocks in enumerate(BLOCKS):
        inner, out = 8 * 2**stage, 32 * 2**stage
        for unit in range(blocks):
            name = f"res{stage + 2}.{unit}"
            if unit == 0:
                layer(f"{name}.shortcut", channels, out, 1)
            layer(f"{name}.conv1", channels, inner, 1)
            layer(f"{name}.conv2", inner, inner, 3)
            layer(f"{name}.conv3", inner, out, 1)
            channels = out
    return state


def forward(state: dict[str, Tensor], x: Tensor, *, stride_in_1x1: bool) -> dict[str, Tensor]:
    """detectron2's maps res2 to res5."""

    def layer(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        x = functional.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)
        norm = [state[f"{name}.norm.{leaf}"].view(1, -1, 1, 1) for leaf in ("weight", "bias", "running_mean", "running_var")]
        return (x - norm[2]) / (norm[3] + EPSILON).sqrt() * norm[0] + norm[1]

    x = functional.max_pool2d(torch.relu(layer("stem.conv1", x, 2, 3)), 3, 2, 1)
    maps = {}
    for stage, blocks in enumerate(BLOCKS):
        for unit in range(blocks):
            name, stride = f"res{stage + 2}.{unit}", 2 if stage and not unit else 1
            shortcut = layer(f"{name}.shortcut", x, stride) if unit == 0 else x
            y = torch.relu(layer(f"{name}.conv1", x, stride if stride_in_1x1 else 1))
            y = torch.relu(layer(f"{name}.conv2", y, 1 if stride_in_1x1 else stride, 1))
            x = torch.relu(layer(f"{name}.conv3", y) + shortcut)
        maps[f"conv{stage + 2}_x"] = x
    return maps


def caffe2_names(state: dict[str, Tensor], *, folded: bool) -> dict[str, np.ndarray]:
    """The same as blobs: the inverse of the renaming in detectron2's c2_model_loading.py, norms folded as in its MSRA files or not."""
    blobs = {}
    for name, value in state.items():
        if folded and ".norm." in name:
            norm = name.rpartition(".")[0]
            scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + EPSILON).sqrt()
            if name.endswith(("running_mean", "running_var")):
                continue
            value = scale if name.endswith("weight") else value - state[f"{norm}.running_mean"] * scale
        for new, old in (
            (r"^stem\.conv1\.norm", "res.conv1.norm"), (r"^stem\.conv1", "conv1"), (r"\.shortcut\.", ".branch1."),
            (r"^(res\d\.\d+)\.conv1\.", r"\1.branch2a."), (r"\.conv2\.", ".branch2b."), (r"\.conv3\.", ".branch2c."),
            (r"norm\.weight$", "bn.s"), (r"norm\.bias$", "bn.b"), (r"norm\.running_mean$", "bn.rm"), (r"norm\.running_var$", "bn.riv"),
            (r"\.weight$", ".w"),
        ):  # fmt: skip
            name = re.sub(new, old, name)
        blobs[name.replace(".", "_")] = (value.flip(1) if name == "conv1.w" else value).numpy()
    return blobs


@pytest.mark.parametrize(("file", "stride_in_1x1"), [("MSRA/R-50", True), ("torchvision/R-50", False)])
def test_a_state_dict_built_from_the_names_gives_its_maps(file: str, stride_in_1x1: bool) -> None:
    state = detectron2_state()
    spec = spec_for("detectron2", file).updated(width=8, stem_width=8)
    network = build(spec).double().eval()
    network.load_state_dict(convert(state, source="detectron2", spec=spec), strict=False)
    x = torch.randn(2, 3, 65, 97, generator=torch.Generator().manual_seed(1)).double()
    found, expected = network.features(x), forward(state, x, stride_in_1x1=stride_in_1x1)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9)
    back = convert(network.state_dict(), source="resnets", target="detectron2", spec=spec)
    assert set(back) - {name for name in back if name.endswith("num_batches_tracked")} == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())


@pytest.mark.parametrize("folded", [True, False])
def test_caffe2s_pickle_gives_the_same_maps(tmp_path: Path, folded: bool) -> None:
    state = detectron2_state()
    blobs = caffe2_names(state, folded=folded)
    assert {"conv1_w", "res_conv1_bn_s", "res2_0_branch1_w", "res2_0_branch2a_bn_b", "res5_2_branch2c_w"} <= set(blobs)
    assert ("res_conv1_bn_rm" in blobs) != folded
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(blobs, 2))
    read = read_foreign(tmp_path / "R-50.pkl", network="resnet50-v1:width=8,stem_width=8,num_classes=0")
    assert read.layout == "caffe"
    network = build(read.spec).double().eval()
    network.load_state_dict(read.state)
    x = torch.randn(2, 3, 65, 97, generator=torch.Generator().manual_seed(1)).double()
    found, expected = network.features(x), forward(state, x, stride_in_1x1=True)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9)
