"""Networks of other packages with random weights, for comparison with ours."""

from __future__ import annotations

import math
from collections.abc import Callable

import timm
import torch
import torchvision
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification

from resnets.networks import Network, NetworkSpec, build

TRANSFORMERS = {
    "resnet-18": {"layer_type": "basic", "depths": [2, 2, 2, 2]},
    "resnet-26": {"depths": [2, 2, 2, 2]},
    "resnet-34": {"layer_type": "basic", "depths": [3, 4, 6, 3]},
    "resnet-50": {"depths": [3, 4, 6, 3]},
    "resnet-101": {"depths": [3, 4, 23, 3]},
    "resnet-152": {"depths": [3, 8, 36, 3]},
}
"""The published configurations of microsoft/resnet-*, as far as they are not the defaults."""


def transformers_network(name: str, **changes: object) -> nn.Module:
    """The class with that configuration; it answers with an object that has `logits`."""
    fields = {"num_labels": 1000, **TRANSFORMERS[name], **changes}
    if fields.get("layer_type") == "basic":
        fields["hidden_sizes"] = [64, 128, 256, 512]
    return ResNetForImageClassification(ResNetConfig(**fields))


MAKERS: dict[str, Callable[[str], nn.Module]] = {
    "torchvision": lambda name: torchvision.models.get_model(name, weights=None),
    "timm": lambda name: timm.create_model(name, pretrained=False),
    "transformers": transformers_network,
}


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """A network without storage: its names and shapes."""
    with torch.device("meta"):
        return make()


def randomized(network: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A meta network on the CPU in eval mode, with random weights, affine parameters and statistics."""
    network = network.to(dtype).to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(1_000_003, dtype=dtype, generator=generator)  # a prime, so that no two rows of a weight are equal
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(7)
        elif name.endswith("running_var") or (value.dim() == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.dim() == 1:
            value.normal_(0, 0.1, generator=generator)
        else:
            pool = pool.roll(int(torch.randint(len(pool), (), generator=generator)))
            for start in range(0, value.numel(), len(pool)):
                part = value.view(-1)[start : start + len(pool)]
                torch.mul(pool[: len(part)], 1 / math.sqrt(value[0].numel()), out=part)
    return network


def loaded(spec: NetworkSpec, state_dict: dict[str, Tensor]) -> Network:
    """Our network in eval mode with exactly those tensors."""
    network = on_meta(lambda: build(spec))
    network.load_state_dict(state_dict, strict=True, assign=True)
    assert isinstance(network, Network)
    return network.eval()


def make_images(height: int, width: int, batch: int = 2) -> Tensor:
    """Random float64 images (N, 3, H, W)."""
    return torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
