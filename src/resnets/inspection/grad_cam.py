"""Grad-CAM: which places of an image support a class, by the gradient of its logit (Selvaraju et al. 2017, 1610.02391, eq. 1-2).

Legend: N batch, C channels of a stage's map A, S spatial shape of the images (H W), s of the map, c a class, y^c its logit.

    alpha_k^c = mean over positions ij of dy^c / dA^k_ij        (eq. 1)
    L^c = ReLU(sum over k of alpha_k^c A^k)                      (eq. 2)

L^c is enlarged to the images' size and divided by its largest value, image by image: what one heat map calls 1 is not what
another does. Where nothing supports the class, the map is 0 everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..core.errors import UserError
from ..networks import Network

_ENLARGE = {1: "linear", 2: "bilinear", 3: "trilinear"}


def grad_cam(network: Network, images: Tensor, target: int | Tensor | None = None, stage: str | None = None) -> Tensor:
    """The heat map of each image, (N, *S), float32 in [0, 1], on the images' device.

    The network is run with its running statistics and nothing dropped, and left as it was: modes, weights, their gradients.

    Args:
        network: any network of ours whose head gives classes, on the images' device.
        images: (N, C, *S), float32, as the network takes them.
        target: c, one for all images or (N,) int64; None for the class that the network takes each image for.
        stage: whose map A is (`conv1`, `conv2_x`, ...); None for the last, as in the paper.

    Raises:
        ValueError: the head gives no classes, there is no such stage, or no such class.
    """
    if network.spec.head != "classes" or not network.spec.num_classes:
        raise UserError(
            "Grad-CAM needs a network whose head gives classes, and this one's does not; set head=classes and num_classes"
        )
    name = network.stage_names[-1] if stage is None else stage
    if name not in network.feature_channels:
        raise UserError(f"there is no stage {name!r}; this network has {', '.join(network.feature_channels)}")
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        # A caller in inference mode gets a heat map all the same: the copy of the images is an ordinary tensor. It asks for a
        # gradient, so that there is one where all weights are frozen.
        with torch.inference_mode(False), torch.enable_grad():
            maps = network.features(images.detach().clone().requires_grad_())
            logits = network.head(maps[network.stage_names[-1]])
            chosen = _targets(logits, target)
            (slopes,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), maps[name])
    finally:
        for module, mode in modes:
            module.training = mode
    positions = tuple(range(2, images.dim()))
    weights = slopes.float().mean(positions, keepdim=True)
    heat = functional.relu((weights * maps[name].detach().float()).sum(1, keepdim=True))
    heat = functional.interpolate(heat, images.shape[2:], mode=_ENLARGE[len(positions)], align_corners=False).squeeze(1)
    largest = heat.flatten(1).amax(1).view(-1, *(1 for _ in positions))
    return torch.where(largest > 0, heat / largest, torch.zeros_like(heat))


def _targets(logits: Tensor, target: int | Tensor | None) -> Tensor:
    """The class whose logit is looked at, for each image: (N,) int64."""
    if target is None:
        return logits.detach().argmax(1)
    count, num_classes = logits.shape
    chosen = torch.as_tensor(target, dtype=torch.long, device=logits.device)
    if chosen.shape not in ((), (count,)):
        raise UserError(f"target must be one class, or one for each of the {count} images, not of shape {tuple(chosen.shape)}")
    if count and not 0 <= int(chosen.min()) <= int(chosen.max()) < num_classes:
        raise UserError(f"target must be classes from 0 to {num_classes - 1}, not from {int(chosen.min())} to {int(chosen.max())}")
    return chosen.expand(count).clone()  # one of the caller's from inference mode could not be kept for the gradient
