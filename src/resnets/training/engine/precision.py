"""The precision that a run can trust on its device.

oneDNN, torch's CPU library, leaves memory uninitialised in the bf16 weight gradient of a convolution some of whose taps never meet the
image: a 3x3 of stride 2 on a map of one pixel, whose outer taps see padding alone (seen with torch 2.15; float32 is right). Such
networks, too deep for their images but legitimate, train in float32 there.

Legend: C channels, H W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def has_idle_taps(length: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether some tap of a kernel never meets one of the `length` pixels of a row, at any position of the output."""
    positions = (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    reached = {
        tap for tap in range(kernel) for at in range(positions) if 0 <= at * stride + tap * dilation - padding < length
    }  # fmt: skip
    return len(reached) < kernel


def trusted_precision(wanted: str, network: nn.Module, example: Any, report: Callable[[str], None]) -> str:
    """The recipe's precision, or "fp32" with a message where bf16 gradients cannot be trusted; the network is left as it was.

    `example` is what the network is called with in evaluation: images as small as it will see them.
    """
    if wanted != "bf16" or next(network.parameters()).device.type != "cpu":
        return wanted
    idle: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
            assert isinstance(module, nn.Conv2d)
            sizes = zip(
                inputs[0].shape[2:], module.kernel_size, module.stride, _numbers(module.padding), module.dilation, strict=True
            )
            if any(has_idle_taps(*size) for size in sizes):
                idle.append(name)

        return hook

    handles = [
        module.register_forward_hook(look(name)) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    ]
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(example)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    if not idle:
        return wanted
    report(
        f"{len(idle)} convolutions, from {idle[0]} on, are larger than their maps, where bf16 gradients on a CPU cannot be trusted: "
        "training in fp32; larger images (--image-size) or a shallower network would be faster"
    )
    return "fp32"


def _numbers(padding: Any) -> tuple[int, ...]:
    assert not isinstance(padding, str), "our convolutions have their padding in numbers"
    return tuple(padding)
