"""A small network that was made to be exported, and its exported files, each made once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import resnets
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.deployment.export.export import Exported, export_model
from resnets.deployment.graph.names import ENDINGS, Format
from resnets.networks import Network

NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "torch-export": ()}


@pytest.fixture(scope="session")
def need() -> Callable[[Format], None]:
    """Skips the test where a format's packages are not installed."""

    def skip(format: Format) -> None:
        for package in NEEDED[format]:
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"needs {package}")

    return skip


@pytest.fixture(scope="session")
def shipped() -> Network:
    """Two stages of CIFAR with norms far from the identity, classes and preprocessing; tests leave it as it is."""
    torch.manual_seed(0)
    network = resnets.create_model("cifar-resnet8:blocks=(1,1)").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_(std=0.3)
    network.classes = tuple(f'class {letter}, "é" <&>' for letter in "abcdefghij")
    network.preprocessing = Preprocessing(size=32, resize=36, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    return network


@pytest.fixture(scope="session")
def exported(
    shipped: Network, need: Callable[[Format], None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Format, bool], Exported]:
    """The network in a format, taking normalised images or uint8 ones, of any size; tests copy the files before they change them."""
    folder: Path = tmp_path_factory.mktemp("exported")
    made: dict[tuple[Format, bool], Exported] = {}

    def get(format: Format, uint8: bool = False) -> Exported:
        need(format)
        if (format, uint8) not in made:
            name = f"{'uint8' if uint8 else 'images'}{ENDINGS[format]}"
            made[format, uint8] = export_model(shipped, folder / name, format=format, uint8=uint8)
        return made[format, uint8]

    return get
