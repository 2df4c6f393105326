"""Batch-norm folding: equal outputs, fewer operations, and every norm accounted for."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode

import resnets
from resnets.deployment.graph.folding import fold
from resnets.networks import Network
from resnets.networks.layers import FrozenBatchNorm

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, FrozenBatchNorm)
SMALL = "width=4,stem_width=4,num_classes=5"


def randomized(name: str, seed: int = 0) -> Network:
    """A network in float64 whose norms are far from the identity, in evaluation mode."""
    torch.manual_seed(seed)
    network = resnets.create_model(name).double().eval()
    for module in network.modules():
        if isinstance(module, NORMS):
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 3)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    return network


def make_images(network: Network, size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, network.spec.in_channels, *(size,) * network.spec.dims, dtype=torch.float64)


class Operations(TorchDispatchMode):
    """Counts the operators that torch carries out."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "size", "folded", "kept"),
    [
        ("cifar-resnet8", 32, 7, 0),
        ("cifar-plain20", 16, 19, 0),
        # The stem's norm and the one between the two convolutions of each unit; those after a sum stay.
        ("cifar-preact-resnet20", 16, 10, 9),
        ("wrn-10-1", 16, 4, 3),
        (f"resnet18:{SMALL}", 64, 20, 0),
        (f"resnet50-v1:{SMALL}", 64, 53, 0),
        (f"resnet18-d:{SMALL}", 64, 22, 0),
        (f"resnet50:{SMALL},output_stride=8", 64, 53, 0),
        (f"se-resnet18:{SMALL}", 64, 20, 0),
        ("cifar-resnext11-4x16d:width=16,stem_width=8", 16, 13, 0),
        (f"resnet18:{SMALL},dims=1", 64, 20, 0),
        (f"resnet18:{SMALL},dims=3,in_channels=1", 32, 20, 0),
        (f"resnet18:{SMALL},norm=frozen-batch", 64, 20, 0),
        (f"resnet18:{SMALL},norm=group", 64, 0, 20),
        (f"tutorial-resnet18:{SMALL}", 64, 17, 0),
        ("cifar-resnet8:activation_order=bn-after-addition", 16, 4, 3),
        ("cifar-resnet8:activation_order=relu-before-addition", 16, 7, 0),
        ("cifar-resnet8:activation_order=relu-only-preactivation", 16, 7, 0),
        ("cifar-resnet8:shortcut=B,join=shortcut-only-gating", 16, 9, 0),
        ("inception-resnet-v2:blocks=(1,1,1),num_classes=5", 107, 38, 0),
        ("inception-v4:blocks=(1,1,1),num_classes=5", 107, 48, 0),
    ],
)
def test_outputs_and_maps_stay(name: str, size: int, folded: int, kept: int) -> None:
    network = randomized(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    copied, folding = fold(network)
    x = make_images(network, size)
    with torch.inference_mode():
        expected, found = network(x), copied(x)
        maps, new_maps = network.features(x), copied.features(x)
    assert (found - expected).abs().max() <= 1e-11 * expected.abs().max()
    assert list(maps) == list(new_maps)
    for key in maps:
        assert (maps[key] - new_maps[key]).abs().max() <= 1e-11 * maps[key].abs().max()
    norms = {n for n, m in network.named_modules() if isinstance(m, (*NORMS, nn.GroupNorm))}
    assert set(folding.folded) | set(folding.kept) == norms
    assert (len(folding.folded), len(folding.kept)) == (folded, kept)
    left = {n for n, m in copied.named_modules() if isinstance(m, (*NORMS, nn.GroupNorm))}
    assert left == set(folding.kept)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_every_norm_less_is_an_operation_less() -> None:
    network = randomized("cifar-resnet8").float()
    copied, folding = fold(network)
    x = make_images(network, 32).float()
    counts = []
    with torch.inference_mode():
        for each in (network, copied):
            with Operations() as operations:
                each(x)
            counts.append(operations.count)
    assert counts[0] - counts[1] == len(folding.folded) == 7


def test_weights_are_those_of_torchs_own_fusion() -> None:
    network = randomized("cifar-resnet8:conv_bias=true")
    copied, _ = fold(network)
    fused = fuse_conv_bn_eval(network.conv1.conv, network.conv1.norm)
    assert torch.allclose(copied.conv1.conv.weight, fused.weight, rtol=1e-12, atol=0)
    assert torch.allclose(copied.conv1.conv.bias, fused.bias, rtol=1e-12, atol=1e-14)


def test_reasons_are_told() -> None:
    _, folding = fold(randomized("cifar-preact-resnet20"))
    assert set(folding.kept.values()) == {"it does not directly follow a convolution"}
    assert folding.folded["conv2_x.1.residual.norm2"] == "conv2_x.1.residual.conv1"
    assert folding.sentence() == "10 norms folded into their convolutions; 9 stay: it does not directly follow a convolution"
    _, folding = fold(randomized(f"resnet18:{SMALL},norm=group"))
    assert set(folding.kept.values()) == {"a group norm has no fixed statistics"}


def test_a_map_that_is_used_elsewhere_keeps_its_norm() -> None:
    # Without a shortcut, a unit's output is its last convolution's: the next unit's norm reads the map that `features` gives out.
    network = randomized("cifar-preact-resnet8:shortcut=none")
    copied, folding = fold(network)
    assert folding.kept["conv3_x.0.residual.norm1"] == "the convolution's map is used elsewhere, too"
    x = make_images(network, 16)
    with torch.inference_mode():
        assert torch.allclose(copied.features(x)["conv2_x"], network.features(x)["conv2_x"], rtol=1e-11, atol=0)
        assert torch.allclose(copied(x), network(x), rtol=1e-10, atol=1e-12)


def test_shared_modules_and_norms_without_statistics_stay() -> None:
    network = randomized("cifar-resnet14")
    network.conv2_x[1].residual.conv1 = network.conv2_x[0].residual.conv1
    _, folding = fold(network)
    assert {name for name, why in folding.kept.items() if "several places" in why} == {
        "conv2_x.0.residual.norm1",
        "conv2_x.1.residual.norm1",
    }
    network = randomized("cifar-resnet14")
    # Another convolution, the same weights: scaling them for one of the two would change the other.
    network.conv2_x[1].residual.conv1.weight = network.conv2_x[0].residual.conv1.weight
    copied, folding = fold(network)
    assert len(folding.kept) == 2
    x = make_images(network, 16)
    with torch.inference_mode():
        assert torch.allclose(copied(x), network(x), rtol=1e-10, atol=1e-12)
    network = randomized("cifar-resnet8")
    network.conv1.norm = nn.BatchNorm2d(16, track_running_stats=False, dtype=torch.float64)
    _, folding = fold(network)
    assert folding.kept == {"conv1.norm": "it keeps no running statistics"}


def test_a_network_in_training_mode_is_folded_as_it_evaluates() -> None:
    network = randomized("cifar-resnet8")
    x = make_images(network, 16)
    expected = network(x).detach()
    copied, _ = fold(network.train())
    assert network.training
    assert not copied.training
    assert torch.allclose(copied(x), expected, rtol=1e-11, atol=1e-12)
