"""INT8 for every kind of network in the zoo: integer convolutions, and answers near the float network's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

import resnets
from resnets.deployment.engines.opening import open_engine
from resnets.deployment.graph.names import ENDINGS
from resnets.deployment.quantization import onnx as quantization_onnx
from resnets.deployment.quantization import openvino as quantization_openvino
from resnets.deployment.quantization.budget import QuantizedFormat, quantize_unmeasured
from resnets.networks import Network

SMALL = "in_channels=3,num_classes=7,input_size=32"
LARGER = "in_channels=3,num_classes=7,input_size=128"  # with a stride of 32 left with maps of 4 x 4
NETWORKS = {
    "bottleneck": f"cifar-resnet8:residual=bottleneck,blocks=[1,1,1],{SMALL}",
    "resnext": f"cifar-resnet8:residual=bottleneck,cardinality=4,base_width=16,blocks=[1,1,1],{SMALL}",
    "pre-activation": f"cifar-preact-resnet20:blocks=[1,1,1],{SMALL}",
    "squeeze-and-excitation": f"cifar-resnet8:squeeze_excitation=4,{SMALL}",
    "imagenet stem": f"resnet18:width=[8,16,16,32],stem_width=8,{LARGER}",
    "resnet-d": f"resnet50-d:blocks=[1,1,1,1],width=8,stem_width=8,{LARGER}",
    "wide": f"wrn-10-1:{SMALL}",
}


def settled(name: str) -> tuple[Network, torch.Tensor]:
    """A network with a learned network's statistics: its norms know 64 smooth images, of which 32 come back."""
    torch.manual_seed(0)
    network = resnets.create_model(name)
    images = nn.functional.interpolate(torch.randn(64, 3, 8, 8), network.spec.input_size, mode="bilinear")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        network.train()(images)
    return network.eval(), images[:32]


@pytest.mark.parametrize("format", ["openvino", "onnx"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_of_network_computes_in_integers(kind: str, format: QuantizedFormat, tmp_path: Path) -> None:
    for package in ("openvino", "nncf") if format == "openvino" else ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    network, images = settled(NETWORKS[kind])
    path = tmp_path / f"int8{ENDINGS[format]}"
    quantize_unmeasured(network, path, images, format=format)
    engine = open_engine(path)
    if isinstance(engine, quantization_openvino.OpenVinoEngine):
        convolutions = quantization_openvino.executed(engine)
    else:
        convolutions = quantization_onnx.executed(path.read_bytes())
    assert convolutions.total == sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert convolutions.integer == convolutions.total
    with torch.inference_mode():
        expected = network(images)
    error = engine.logits(images) - expected
    assert 0 < error.std() < 0.3 * expected.std()  # the networks never learned to tell images apart
