"""Batch-norm folding: an evaluated batch norm after a convolution becomes part of that convolution.

Legend: O output channels, I input channels of a group, *k kernel. In evaluation a batch norm is the affine map y = s x + t of each
channel, s = weight / sqrt(variance + epsilon), t = bias - s mean; after a convolution x = W * a + b it gives the convolution with
the weights s W and the bias s b + t (Jacob 2018, 1712.05877 §3.2), whatever its groups, stride, dilation and padding.

Before a convolution it would pass through as well, were there neither a ReLU nor zero padding between; in the networks of the papers
a ReLU follows every norm that precedes a convolution, and so the norms of pre-activation networks that follow a sum stay.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from ...networks import Network
from ...networks.layers import FrozenBatchNorm

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, FrozenBatchNorm)


@dataclass(frozen=True)
class Folding:
    """What became of a network's norms, by the names of its modules."""

    folded: Mapping[str, str]
    """Norm -> the convolution that took it in."""
    kept: Mapping[str, str]
    """Norm -> why it stays."""

    def sentence(self) -> str:
        """Both in words, the reasons with their numbers."""
        reasons = Counter(self.kept.values())
        words = "; ".join(f"{count} stay: {reason}" for reason, count in reasons.items())
        return f"{len(self.folded)} norms folded into their convolutions" + (f"; {words}" if words else "")


def fold(network: Network) -> tuple[Network, Folding]:
    """A copy in evaluation mode in which every batch norm that directly follows a convolution is part of it, and what was done.

    The copy is for running: its parameters no longer fit its spec, and training it would train another network. The maps of
    `features` stay what they were, too.
    """
    folded_network = copy.deepcopy(network).eval()
    modules = dict(folded_network.named_modules(remove_duplicate=False))
    graph = _Tracer().trace(_WithMaps(folded_network))
    calls = Counter(id(modules[name]) for node in graph.nodes if (name := _module_name(node)) is not None)
    holders = Counter(id(value) for _, value in folded_network.named_parameters(remove_duplicate=False))
    folded: dict[str, str] = {}
    kept: dict[str, str] = {}
    for node in graph.nodes:
        name = _module_name(node)
        if name is None or not isinstance(norm := modules[name], (*_NORMS, nn.GroupNorm)):
            continue
        source = node.args[0]
        assert isinstance(source, fx.Node)
        before = _module_name(source)
        convolution = None if before is None else modules[before]
        if isinstance(norm, nn.GroupNorm):
            kept[name] = "a group norm has no fixed statistics"
        elif not isinstance(norm, FrozenBatchNorm) and norm.running_mean is None:
            kept[name] = "it keeps no running statistics"
        elif before is None or not isinstance(convolution, _CONVOLUTIONS):
            kept[name] = "it does not directly follow a convolution"
        elif len(source.users) > 1:
            kept[name] = "the convolution's map is used elsewhere, too"
        elif calls[id(norm)] > 1 or calls[id(convolution)] > 1 or any(holders[id(p)] > 1 for p in convolution.parameters()):
            kept[name] = "the norm or its convolution is in several places"
        else:
            _take_in(convolution, *_scale_and_shift(norm))
            folded[name] = before
    for name in folded:
        parent, _, last = name.rpartition(".")
        setattr(folded_network.get_submodule(parent), last, nn.Identity())
    return folded_network, Folding(folded, kept)


class _WithMaps(nn.Module):
    """Logits and all named maps: a map that somebody may ask for counts as used."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Any, dict[str, Tensor]]:
        maps = self.network.features(images)
        return self.network.head(maps[self.network.stage_names[-1]]), maps


class _Tracer(fx.Tracer):
    """Does not look into a frozen norm, which is a module of ours."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, FrozenBatchNorm) or super().is_leaf_module(m, module_qualified_name)


def _module_name(node: fx.Node) -> str | None:
    """The name in the network of the module that the node calls, or None."""
    return str(node.target).removeprefix("network.") if node.op == "call_module" else None


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The norm's s and t, (O,) float64 each."""
    assert isinstance(norm, _NORMS)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + (norm.epsilon if isinstance(norm, FrozenBatchNorm) else norm.eps)).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()


def _take_in(convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d, scale: Tensor, shift: Tensor) -> None:
    """Scales and shifts what the convolution puts out, in its weights; computed in float64 and rounded once."""
    weight, bias = convolution.weight.detach(), convolution.bias
    new_weight = weight.double() * scale.view(-1, *(1,) * (weight.ndim - 1))
    new_bias = shift if bias is None else shift + scale * bias.detach().double()
    convolution.weight = nn.Parameter(new_weight.to(weight.dtype).contiguous(), requires_grad=False)
    convolution.bias = nn.Parameter(new_bias.to(weight.dtype), requires_grad=False)
