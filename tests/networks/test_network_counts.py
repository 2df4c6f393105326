"""Every row of the zoo has the golden number of parameters and of multiply-adds; counted on the meta device, so nothing is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from resnets.networks import Network, build, get_spec, list_models

GOLDEN: dict[str, tuple[int, int]] = {
    name: tuple(counts)
    for rows in yaml.safe_load((Path(__file__).parents[1] / "data_files" / "network_counts.yaml").read_text()).values()
    for name, counts in rows.items()
}


def multiply_adds(network: Network) -> int:
    """Multiply-adds of convolutions and linear layers for one input of the native size; a fused one counts once."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        per_output = module.weight[0].numel()
        total += output.numel() * per_output

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    size = network.spec.input_size
    network.eval()(torch.empty(1, network.spec.in_channels, size, size, device="meta"))
    return total


@pytest.mark.parametrize("name", GOLDEN)
def test_parameters_and_multiply_adds(name: str) -> None:
    with torch.device("meta"):
        network = build(get_spec(name))
    assert (sum(p.numel() for p in network.parameters()), multiply_adds(network)) == GOLDEN[name]


def test_every_row_has_golden_counts() -> None:
    assert set(list_models()) <= set(GOLDEN)
