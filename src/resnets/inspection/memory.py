"""Activation memory: the bytes that autograd keeps of one image from the forward pass until the backward pass.

Counted on the meta device, without computing, by looking at every tensor that autograd saves (`saved_tensors_hooks`) in training
mode, at float32. Counted are the maps that convolutions, norms, activations and pools need for their gradients, the max pool's indices
(int64) and the image itself, which the first convolution keeps. A storage that several operations keep, or that one operation overwrote
in place, counts once, in the part of the network that kept it first. Parameters, buffers, gradients, the optimizer's state, workspaces
and the loss are not counted. With `gradient_checkpointing` the kept maps are the segments' inputs; the one segment that is recomputed
at a time comes on top.

The count is what a further image in the batch adds: three images less two. What is kept once per batch (a norm's statistics of each
channel) is therefore not in it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks import Network, NetworkSpec, build
from .cost import parts, too_small


def activation_bytes(spec: NetworkSpec, input_size: int | None = None) -> dict[str, int]:
    """Bytes for one image of `input_size` pixels (the native size by default), by the names of `parts` (conv1, ..., head).

    Raises:
        ValueError: the image is too small for the network.
    """
    size = input_size or spec.input_size
    with torch.device("meta"):
        network = build(spec).train()
        three, two = (torch.empty(n, spec.in_channels, *(size,) * spec.dims) for n in (3, 2))
    try:
        with_three, with_two = _kept(network, three), _kept(network, two)
    except (RuntimeError, ValueError) as error:
        raise too_small(size, error) from None
    return {name: with_three[name] - with_two[name] for name in with_three}


def _kept(network: Network, images: Tensor) -> dict[str, int]:
    """Bytes that autograd keeps of a whole batch, by part."""
    own = {_storage(value) for value in network.state_dict(keep_vars=True).values()}
    kept: dict[int, Tensor] = {}  # the tensors themselves, so that no storage is freed and its address used again
    named = [(name, part) for name, part in parts(network) if not isinstance(part, nn.Identity)]
    counted = {name: 0 for name, _ in named}
    current = [named[0][0]]

    def pack(tensor: Tensor) -> Tensor:
        storage = _storage(tensor)
        if storage not in own and storage not in kept:
            kept[storage] = tensor
            counted[current[0]] += tensor.untyped_storage().nbytes()
        return tensor

    handles = [
        part.register_forward_pre_hook(lambda _module, _inputs, name=name: current.__setitem__(0, name)) for name, part in named
    ]
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return counted


def _storage(tensor: Tensor) -> int:
    """What tells storages apart; on the meta device they have no address of their data."""
    return int(tensor.untyped_storage()._cdata)
