"""The guard of inputs: what is given to a network is a batch of floating-point images, or is refused in one sentence with the way there.

It looks at types and shapes alone, so that it costs nothing, and steps aside where a network is traced.
Legend: N batch, C channels, S spatial shape (length; H W; D H W).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import UserError

_SHAPES = {1: "(N, {0}, length)", 2: "(N, {0}, H, W)", 3: "(N, {0}, D, H, W)"}


def check_batch(images: object, channels: int, dims: int, taker: str = "the network") -> None:
    """Looks at what a network is about to take.

    Args:
        images: a batch, one would think.
        channels: C.
        dims: how many spatial dimensions there are.
        taker: who takes it, for the message.

    Raises:
        UserError: it is not a floating-point tensor (N, C, *S).
    """
    wanted = _SHAPES[dims].format(channels)
    if not isinstance(images, Tensor):
        if type(images).__module__.startswith("torch.fx"):
            return  # a trace, which has no shape yet
        kind = f"{type(images).__module__.partition('.')[0]}'s {type(images).__name__}".replace("builtins's ", "a ")
        raise UserError(
            f"{taker} takes a tensor {wanted}, not {kind}; network.preprocessing.image(image) makes one of a Pillow image"
        )
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return
    if images.dim() == dims + 1 and images.shape[0] == channels:
        raise UserError(f"{taker} takes batches {wanted}, not one image {tuple(images.shape)}; add the batch: images.unsqueeze(0)")
    if images.dim() == dims + 2 and images.shape[1] != channels and images.shape[-1] == channels:
        order = ", ".join(map(str, (0, dims + 1, *range(1, dims + 1))))
        raise UserError(
            f"{taker} takes channels first, {wanted}, not {tuple(images.shape)}; channels are last there: images.permute({order})"
        )
    if images.dim() != dims + 2 or images.shape[1] != channels:
        grey = channels == 3 and images.dim() == dims + 2 and images.shape[1] == 1
        hint = "; of grey images make three channels: images.expand(-1, 3, ...)" if grey else ""
        raise UserError(f"{taker} takes {wanted}, not {tuple(images.shape)}{hint}")
    if not images.is_floating_point():
        raise UserError(
            f"{taker} takes floating point, normalised, not {str(images.dtype).removeprefix('torch.')}; network.preprocessing(images) makes it "
            "of uint8 images"
        )
