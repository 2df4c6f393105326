"""The head: from the last stage's map to class logits, or to a board game's policy and value.

Legend: N batch, C channels, S spatial shape, K classes (or moves).
"""

from __future__ import annotations

import math

import torch
import torch.fx
from torch import Tensor, nn

from ..core.errors import UserError
from .layers import ConvNormReLU, convolution, normalization
from .spec import NetworkSpec


class ClassHead(nn.Module):
    """Global average pool, dropout, linear classifier: (N, C, *S) to logits (N, K), or to the pooled (N, C) without classes."""

    def __init__(self, spec: NetworkSpec, channels: int) -> None:
        super().__init__()
        self.positions = tuple(range(2, 2 + spec.dims))
        self.dropout = nn.Dropout(spec.head_dropout)
        self.fc = nn.Linear(channels, spec.num_classes) if spec.num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=self.positions)
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits


def _check_board(x: Tensor, points: int) -> None:
    if math.prod(x.shape[2:]) != points:
        raise UserError(f"the policy-value head was built for {points} board points, but got a map of {tuple(x.shape[2:])}")


torch.fx.wrap("_check_board")  # a symbolic trace has no shapes: there the check is a call of its own


class PolicyValueHead(nn.Module):
    """Policy logits (N, K) over the moves, and the position's value (N,) in [-1, 1] (Silver 2017, Methods)."""

    def __init__(self, spec: NetworkSpec, channels: int) -> None:
        super().__init__()
        points = spec.input_size**spec.dims
        self.policy = ConvNormReLU(convolution(spec, channels, 2, 1), normalization(spec, 2))
        self.policy_fc = nn.Linear(2 * points, spec.num_classes)
        self.value = ConvNormReLU(convolution(spec, channels, 1, 1), normalization(spec, 1))
        self.value_fc1 = nn.Linear(points, 256)
        self.value_fc2 = nn.Linear(256, 1)
        self.points = points

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _check_board(x, self.points)
        policy = self.policy_fc(self.policy(x).flatten(1))
        hidden = torch.relu(self.value_fc1(self.value(x).flatten(1)))
        return policy, torch.tanh(self.value_fc2(hidden)).squeeze(1)


def build_head(spec: NetworkSpec, channels: int) -> nn.Module:
    """The spec's head for `channels` channels."""
    return ClassHead(spec, channels) if spec.head == "classes" else PolicyValueHead(spec, channels)
