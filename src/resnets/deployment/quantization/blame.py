"""Which layer suffers most from eight bits: each layer alone is quantized, and the logits are compared.

Legend: N images, C channels, S spatial shape, K classes, O output channels of a layer.

Quantizing is simulated in PyTorch, the same for every runtime: a layer's weights become int8, symmetric, with one scale for each output
channel; its input becomes uint8 between the least and the greatest value that it takes on the calibration images (Krishnamoorthi 2018,
1806.08342 §2-3). What the runtime itself makes of a choice of layers is measured with all of them (`quantization`); the order in which
they are tried is all that depends on this simulation. It costs one forward pass a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

IMAGES = 32
"""As many calibration images show a layer's blame."""
MEASURE = (
    "mean squared error of the logits when this layer alone is quantized (weights int8 by output channel, input uint8; simulated), "
    "as a share of the logits' variance"
)
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class Blame:
    """What quantizing one layer does to the logits."""

    layer: str
    """Name of the module in the network."""
    error: float
    """Mean squared error of the logits, as a share of their variance."""


def layers_of(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that have a form in int8: convolutions and linear layers, in the order of the network's modules."""
    return tuple(name for name, module in network.named_modules() if isinstance(module, _LAYERS))


@torch.inference_mode()
def rank_layers(
    network: nn.Module, images: Tensor, *, batch_size: int = 16, report: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Blame, ...]:
    """The layers from the most to the least blamed.

    Args:
        network: in evaluation mode, on the CPU, norms folded; it stays as it is.
        images: (N, C, *S) float32, normalised.
        batch_size: images a forward pass.
        report: told how many layers of how many are done.
    """
    names = layers_of(network)
    modules = {name: network.get_submodule(name) for name in names}
    batches = torch.split(images, batch_size)
    ranges: dict[str, tuple[float, float]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            low, high = inputs[0].aminmax()
            before = ranges.get(name, (0.0, 0.0))
            ranges[name] = (min(before[0], float(low)), max(before[1], float(high)))

        return look

    handles = [module.register_forward_pre_hook(watch(name)) for name, module in modules.items()]
    logits = torch.cat([network(batch).double() for batch in batches])
    for handle in handles:
        handle.remove()
    spread = max(float(logits.var(unbiased=False)), torch.finfo(torch.float32).tiny)
    found = []
    for number, name in enumerate(names):
        if name in ranges:  # a layer that no image goes through hurts none
            with _quantized(modules[name], *ranges[name]):
                difference = torch.cat([network(batch).double() for batch in batches]) - logits
            found.append(Blame(name, float(difference.square().mean()) / spread))
        report(number + 1, len(names))
    return tuple(sorted(found, key=lambda blame: -blame.error))


@contextmanager
def _quantized(layer: nn.Module, low: float, high: float) -> Iterator[None]:
    """The layer as int8 would compute it, while the block lasts; its input is between `low` <= 0 and `high` >= 0."""
    scale = max((high - low) / 255, torch.finfo(torch.float32).tiny)
    zero = min(255, max(0, round(-low / scale)))

    def rounded(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (torch.fake_quantize_per_tensor_affine(inputs[0], scale, zero, 0, 255), *inputs[1:])

    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    handle = layer.register_forward_pre_hook(rounded)
    layer.weight = nn.Parameter(quantized_weight(weight.detach()), requires_grad=False)
    try:
        yield
    finally:
        handle.remove()
        layer.weight = weight


def quantized_weight(weight: Tensor) -> Tensor:
    """Weights (O, ...) rounded to int8 with one scale for each output channel, as float32."""
    scales = weight.flatten(1).abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return torch.fake_quantize_per_channel_affine(weight, scales, torch.zeros(len(scales), dtype=torch.int32), 0, -127, 127)


def worst(ranking: Sequence[Blame], count: int) -> tuple[str, ...]:
    """Names of the `count` most blamed layers."""
    return tuple(blame.layer for blame in ranking[:count])
