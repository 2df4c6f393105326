"""Optimizers and their parameter groups. Groups go by module type, never by name.

Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": the momentum of each hidden weight matrix is
replaced by the nearest orthogonal matrix, found by a few steps of a Newton-Schulz iteration. A convolution's weight
(C_out, C_in / groups, *kernel) counts as the matrix (C_out, the rest).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.initialization import CONVOLUTION_TYPES, NORM_TYPES
from ..settings import Optimizer
from .lamb import Lamb


def parameter_kinds(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Each parameter that learns in one of three lists: "hidden" (convolutions' weights but the first's), "weights" (the first
    convolution's and linear layers'), "norms and biases"."""
    kinds: dict[str, list[nn.Parameter]] = {"hidden": [], "weights": [], "norms and biases": []}
    seen_convolution = False
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                seen_convolution = seen_convolution or isinstance(module, CONVOLUTION_TYPES)
            elif isinstance(module, NORM_TYPES) or name == "bias":
                kinds["norms and biases"].append(parameter)
            elif isinstance(module, CONVOLUTION_TYPES) and seen_convolution:
                kinds["hidden"].append(parameter)
            else:
                kinds["weights"].append(parameter)
                seen_convolution = seen_convolution or isinstance(module, CONVOLUTION_TYPES)
    return kinds


def build_optimizer(
    settings: Optimizer,
    network: nn.Module,
    rates: Mapping[nn.Parameter, float] | None = None,
    apart: Collection[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """The optimizer over the network's parameters that learn. Each group carries `peak`, the learning rate at the schedule's factor 1.

    Args:
        rates: parameters' learning rates as multiples of the settings'; None for 1 everywhere.
        apart: parameters that begin to learn before or after the others; they get groups of their own, because torch's fused
            optimizers need all of a group to have a state or none.
    """
    kinds = parameter_kinds(network)
    decay = settings.weight_decay
    exempt = decay if settings.decay_norms_and_biases else 0.0
    device = next(network.parameters()).device
    if settings.name == "muon":
        rest = settings.sgd_learning_rate
        groups: list[dict[str, Any]] = [
            {"params": kinds["hidden"], "lr": settings.learning_rate, "weight_decay": decay, "orthogonal": True},
            {"params": kinds["weights"], "lr": rest, "weight_decay": decay, "orthogonal": False},
            {"params": kinds["norms and biases"], "lr": rest, "weight_decay": exempt, "orthogonal": False},
        ]
        groups = _split(groups, settings.learning_rate, rates, apart)
        optimizer: torch.optim.Optimizer = Muon(groups, momentum=settings.momentum)
    else:
        groups = [
            {"params": kinds["hidden"] + kinds["weights"], "weight_decay": decay},
            {"params": kinds["norms and biases"], "weight_decay": exempt},
        ]
        groups = _split(groups, settings.learning_rate, rates, apart)
        fused = device.type in ("cpu", "cuda")
        if settings.name == "lamb":
            optimizer = Lamb(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon)
        elif settings.name == "sgd":
            nesterov = settings.nesterov and settings.momentum > 0
            optimizer = torch.optim.SGD(
                groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=fused
            )
        else:
            kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
            optimizer = kind(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, fused=fused)
    for group in optimizer.param_groups:
        group["peak"] = group["lr"]
    return optimizer


def _split(
    groups: list[dict[str, Any]],
    learning_rate: float,
    rates: Mapping[nn.Parameter, float] | None,
    apart: Collection[nn.Parameter],
) -> list[dict[str, Any]]:
    """The groups, each with its own `lr`, cut where their parameters learn at different rates or times; empty ones are left out."""
    aside, split = set(apart), []
    for group in groups:
        alike: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in group["params"]:
            rate = 1.0 if rates is None else rates[parameter]
            alike.setdefault((rate, parameter in aside), []).append(parameter)
        for (rate, _), parameters in alike.items():
            split.append({**group, "params": parameters, "lr": group.get("lr", learning_rate) * rate})
    return split


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's learning rate to its peak times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def orthogonalize(matrix: Tensor, steps: int = 3) -> Tensor:
    """About the nearest (semi-)orthogonal matrix to `matrix` (rows, columns): all singular values are brought near 1.

    The quintic iteration X <- P(XX')X with P(G) = aI + bG + cG^2 and the coefficients of Jordan et al. 2024. The polynomials commute
    with G = XX', so that G and the polynomials' product are iterated alone and X is multiplied twice in all. A convolution's matrix
    has nine times as many columns as rows: in float32 this takes three quarters of the time that iterating X takes in bf16 on a CPU.
    A G of bf16 would not do: rounding makes it indefinite, and the iteration grows without bound there.
    """
    wide = matrix.size(0) <= matrix.size(1)
    x = (matrix if wide else matrix.T).float()
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    product = polynomial = _quintic(gram)
    for _ in range(steps - 1):
        gram = polynomial @ gram @ polynomial
        polynomial = _quintic(gram)
        product = polynomial @ product
    result: Tensor = product @ x
    return (result if wide else result.T).to(matrix.dtype)


def _quintic(gram: Tensor) -> Tensor:
    a, b, c = 3.4445, -4.7750, 2.0315
    polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    polynomial.diagonal().add_(a)
    return polynomial


class Muon(torch.optim.Optimizer):
    """Muon for groups with `orthogonal`, SGD with Nesterov momentum for the others; weight decay is decoupled in both.

    Each orthogonal update has the scale max(1, rows / columns)^0.5, so that wide and tall matrices learn alike.
    """

    def __init__(self, params: Iterable[dict[str, Any]], *, momentum: float) -> None:
        super().__init__(params, {"lr": 0.02, "momentum": momentum, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the gradients."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            momentum, rate = group["momentum"], group["lr"]
            gradients = [p.grad for p in parameters]
            for parameter in parameters:
                self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
            buffers = [self.state[p]["momentum_buffer"] for p in parameters]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, gradients)
            updates = list(torch._foreach_add(gradients, buffers, alpha=momentum))
            if group["orthogonal"]:
                for i, update in enumerate(updates):
                    rows, columns = len(update), update[0].numel()
                    scale = math.sqrt(max(1.0, rows / columns))
                    updates[i] = orthogonalize(update.reshape(rows, columns)).mul_(scale).view(update.shape)
            torch._foreach_mul_(parameters, 1 - rate * group["weight_decay"])
            torch._foreach_add_(parameters, updates, alpha=-rate)
