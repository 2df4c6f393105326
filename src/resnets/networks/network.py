"""The residual unit and the network: the only unit class and the only network class there are.

Legend: N batch, C channels, S spatial shape (H W for images). He 2015 (1512.03385) Table 1; He 2016 (1603.05027) eq. 1-2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .heads import build_head
from .inception import RESIDUALS, TRANSITIONS, inception_layers, out_channels
from .initialization import initialize
from .inputs import check_batch
from .layers import ConvNormReLU, convolution, normalization
from .residuals import ORDERS, Place, activation, build_residual
from .shortcuts import build_shortcut
from .spec import NetworkSpec
from .stems import MaxPoolReLU, build_stem

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels that a stage puts out, in multiples of its width (He 2015, Table 1)."""


class ResidualUnit(nn.Module):
    """x -> f(shortcut(p(x), F(p(x)))).

    F is `residual`, h and its join are `shortcut`, f is `after`. p is the `prelude`: an activation before the branch in
    pre-activation networks where the shape changes. None stands for the identity in f and p, which then cost no call.
    """

    def __init__(self, residual: nn.Module, shortcut: nn.Module, after: nn.Module | None, prelude: nn.Module | None) -> None:
        super().__init__()
        self.prelude, self.residual, self.shortcut, self.after = prelude, residual, shortcut, after

    def forward(self, x: Tensor) -> Tensor:
        if self.prelude is not None:
            x = self.prelude(x)
        y: Tensor = self.shortcut(x, self.residual(x))
        return y if self.after is None else self.after(y)


def build_unit(spec: NetworkSpec, place: Place, *, later_dilation: int) -> ResidualUnit:
    """The unit at `place`: He 2016's rules for the first and the last unit (§4.1) are applied here."""
    order = ORDERS[spec.activation_order]
    changes_shape = place.stride != 1 or place.in_channels != place.out_channels
    first = place.unit == 0
    shares = spec.preactivated and (
        (first and (spec.stem_activation or spec.shared_preactivation == "first-unit"))
        or (changes_shape and spec.shared_preactivation == "shape-change")
    )
    prelude = order.before if shares and not (first and spec.stem_activation) else ()
    f = order.before if place.last and spec.preactivated else order.f
    if spec.stage_residuals[place.stage].startswith("inception-v4") or (place.last and spec.linear_last_unit):
        f = ()  # an Inception-v4 module ends in activated branches; TF-slim's last unit is linear
    return ResidualUnit(
        residual=build_residual(spec, place, activated=shares, later_dilation=later_dilation),
        shortcut=build_shortcut(spec, place.in_channels, place.out_channels, place.stride),
        after=_sequence(spec, f, place.out_channels),
        # Its ReLU may not work in place where no norm precedes it: x is the previous unit's result.
        prelude=_sequence(spec, prelude, place.in_channels, inplace="norm" in prelude),
    )


def _sequence(spec: NetworkSpec, kinds: tuple[str, ...], channels: int, *, inplace: bool = True) -> nn.Module | None:
    layers = dict(activation(spec, kinds, channels, inplace=inplace))
    return None if not layers else next(iter(layers.values())) if kinds == ("relu",) else _named(layers)


def _named(layers: dict[str, nn.Module]) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, layer in layers.items():
        sequence.add_module(name, layer)
    return sequence


class Stage(nn.Sequential):
    """Units at one resolution, named 0, 1, ...; with `checkpointing`, about sqrt(units) maps are kept for the backward pass."""

    def __init__(self, units: list[ResidualUnit], *, checkpointing: bool) -> None:
        super().__init__(*units)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:
        if not (self.checkpointing and self.training and torch.is_grad_enabled()):
            return self._segment(x, 0, len(self))
        length = math.ceil(math.sqrt(len(self)))
        for start in range(0, len(self), length):
            stop = start + length
            if torch.compiler.is_compiling():
                # There the statistics are results of the forward graph, which recomputing a part of it does not touch.
                x = checkpoint(self._segment, x, start, stop, use_reentrant=False)
            else:
                contexts = partial(self._contexts, start, stop)
                x = checkpoint(self._segment, x, start, stop, use_reentrant=False, context_fn=contexts)
        return x

    def _segment(self, x: Tensor, start: int, stop: int) -> Tensor:
        for unit in list(self)[start:stop]:
            x = unit(x)
        return x

    def _contexts(self, start: int, stop: int) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What surrounds a segment's forward pass, and what surrounds its recomputation."""
        return nullcontext(), _statistics_kept(list(self)[start:stop])


@contextmanager
def _statistics_kept(units: list[nn.Module]) -> Iterator[None]:
    """Recomputing must not update running statistics a second time with the same batch.

    Momentum 0 keeps them; without them altogether autograd would keep other tensors than in the forward pass, which
    `checkpoint` refuses. The counter of batches counts in a tensor that is thrown away.
    """
    norms = (m for unit in units for m in unit.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, counter in kept:
        norm.momentum, norm.num_batches_tracked = 0.0, None if counter is None else torch.zeros_like(counter)
    try:
        yield
    finally:
        for norm, momentum, counter in kept:
            norm.momentum, norm.num_batches_tracked = momentum, counter


class Network(nn.Module):
    """A residual network: stem (`conv1`, `pool`), stages (`conv2_x`, `conv3_x`, ...), head.

    Calling it with images (N, spec.in_channels, *S), floating point, gives logits (N, spec.num_classes).
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.classes: tuple[str, ...] | None = None
        """Class names in the logits' order, where a model file gave them."""
        self.preprocessing: Any = None
        """What turns an image into this network's input, where a model file gave it."""
        self.eval_only: frozenset[str] = frozenset()
        """Names of `parts` that stay in evaluation mode while the others train: no dropout, running statistics used and kept."""
        self.fixed_statistics = False
        """Whether all batch norms do, so that running statistics never change."""
        self.conv1, self.pool, channels = build_stem(spec)
        self.stage_names = spec.stage_names
        self.feature_channels = {"conv1": channels}
        """Channels of each map that `features` returns."""
        total_stride = spec.stem_reduction
        self.transitions = nn.ModuleDict()
        dilation = 1
        first_units = (0, *accumulate(spec.blocks))
        for stage, name in enumerate(self.stage_names):
            transition = spec.stage_transitions[stage]
            if transition is not None:
                layout = TRANSITIONS[transition]
                self.transitions[name] = nn.Sequential(inception_layers(spec, layout, channels))
                channels = out_channels(layout, channels)
            stride, first_dilation = spec.stage_strides[stage], dilation
            if spec.output_stride is not None and total_stride * stride > spec.output_stride:
                stride, dilation = 1, dilation * stride  # the first unit keeps the dilation before, as in torchvision
            total_stride *= stride
            kind = spec.stage_residuals[stage]
            if kind.startswith("inception"):
                width = out_channels(RESIDUALS[kind], channels)
            else:
                width = spec.stage_widths[stage] * EXPANSION[kind]
            units = []
            for i in range(spec.blocks[stage]):
                number = first_units[stage] + i
                place = Place(
                    stage, number, channels, width, stride if i == 0 else 1,
                    first_dilation if i == 0 else dilation, last=number == sum(spec.blocks) - 1,
                )  # fmt: skip
                units.append(build_unit(spec, place, later_dilation=dilation))
                channels = width
            self.add_module(name, Stage(units, checkpointing=spec.gradient_checkpointing))
            self.feature_channels[name] = channels
        self.final: nn.Module = nn.Identity()
        if spec.final_width:
            self.final = ConvNormReLU(convolution(spec, channels, spec.final_width, 1), normalization(spec, spec.final_width))
            channels = self.feature_channels[self.stage_names[-1]] = spec.final_width
        self.head = build_head(spec, channels)
        initialize(self, [unit.residual for unit in self.units()], spec)  # type: ignore[misc]

    @property
    def parts(self) -> dict[str, tuple[nn.Module, ...]]:
        """What fine-tuning takes as one, from the image to the logits: conv1, each stage with what leads into it, the head."""
        stages = {
            name: (*([self.transitions[name]] if name in self.transitions else []), getattr(self, name))
            for name in self.stage_names
        }
        stages[self.stage_names[-1]] += (self.final,)
        return {"conv1": (self.conv1,), **stages, "head": (self.head,)}

    def train(self, mode: bool = True) -> Network:
        """Training or evaluation mode, but for what `eval_only` and `fixed_statistics` keep in evaluation mode."""
        super().train(mode)
        for name, modules in self.parts.items():
            for module in modules if name in self.eval_only else ():
                module.eval()
        if self.fixed_statistics:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def units(self) -> list[ResidualUnit]:
        """All residual units, from the first to the last."""
        return [module for module in self.modules() if isinstance(module, ResidualUnit)]

    def _run(self, images: Tensor, maps: dict[str, Tensor] | None = None) -> Tensor:
        check_batch(images, self.spec.in_channels, self.spec.dims)
        x: Tensor = self.conv1(images)
        if maps is not None:
            maps["conv1"] = functional.relu(x) if isinstance(self.pool, MaxPoolReLU) else x
        x = self.pool(x)
        for name in self.stage_names:
            if name in self.transitions:
                x = self.transitions[name](x)
            x = getattr(self, name)(x)
            if name == self.stage_names[-1]:
                x = self.final(x)
            if maps is not None:
                maps[name] = x
        return x

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The map after each stage by its name in the paper: conv1 (before the pool), conv2_x, conv3_x, ...; each (N, C, *S)."""
        maps: dict[str, Tensor] = {}
        self._run(images, maps)
        return maps

    def forward(self, images: Tensor) -> Any:
        """Logits (N, K); for the policy-value head the pair of policy logits (N, K) and values (N,)."""
        outputs: Any = self.head(self._run(images))
        return outputs

    def extra_repr(self) -> str:
        return f"spec={self.spec!r}"


def build(spec: NetworkSpec) -> Network:
    """The network that `spec` describes, freshly initialised from torch's global random state."""
    return Network(spec)
