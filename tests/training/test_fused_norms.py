"""Batch norms with what follows them in one kernel: which they are, and the numbers, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

import resnets
from resnets.classification.recipes import get_recipe
from resnets.tasks import train
from resnets.training.norms.fused_norms import FusedNorm, fuse_norms


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
def test_the_kernels_compute_what_pytorch_does() -> None:
    environment = {**os.environ, **({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"})}
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", str(Path(__file__).parent / "fused_norm_checks.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("name", "fused", "left"),
    [
        ("cifar-resnet8", 7, 0),
        ("resnet18", 16, 4),
        ("cifar-preact-resnet20", 19, 0),
        ("se-resnet50", 32, 21),
        ("cifar-plain8", 7, 0),
    ],
)
def test_which_norms_are_fused(name: str, fused: int, left: int) -> None:
    """Projections' norms, the stem's in front of a pool, and those in front of a gate have no ReLU or sum after them."""
    with torch.device("meta"):
        network = resnets.create_model(name)
    assert fuse_norms(network) == fused
    assert sum(type(module) is nn.BatchNorm2d for module in network.modules()) == left
    assert sum(isinstance(module, FusedNorm) for module in network.modules()) == fused


def test_the_recipe_says_where_it_cannot_be() -> None:
    recipe = get_recipe("digits", report=False)
    for contradiction in ({"compile": True}, {"distributed": {"synchronized_norm": True}}):
        with pytest.raises(ValueError, match="fused_norms"):
            recipe.updated(fused_norms=True, **contradiction)
    with pytest.raises(ValueError, match="needs an NVIDIA GPU"):
        train(recipe.updated(fused_norms=True, device="cpu"))
