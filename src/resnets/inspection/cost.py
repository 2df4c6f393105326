"""What a network costs: parameters and multiply-adds, by stage and in total, counted on the meta device without computing.

A fused multiply-add counts as one, as in the papers; convolutions and linear layers are counted, as there ("FLOPs" in He 2015,
Table 1). Legend: C channels, S spatial shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..networks import Network, NetworkSpec, build
from ..networks.initialization import CONVOLUTION_TYPES


@dataclass(frozen=True)
class StageCost:
    """One row of the layer table."""

    name: str
    """conv1, pool, conv2_x, ..., head."""
    layers: str
    """What the stage is made of, in words."""
    output: tuple[int, ...]
    """Shape of its output for one image: (C, *S)."""
    parameters: int
    """Trainable parameters (and frozen norms' affine ones, which the papers count too)."""
    macs: int
    """Multiply-adds for one image."""


@dataclass(frozen=True)
class NetworkCost:
    """The layer table and its totals."""

    stages: tuple[StageCost, ...]
    input: tuple[int, ...]
    """Shape of one image: (C, *S)."""

    @property
    def parameters(self) -> int:
        """Trainable parameters in all."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(stage.macs for stage in self.stages)


def network_cost(spec: NetworkSpec, input_size: int | None = None) -> NetworkCost:
    """Counts the network of `spec` for one image of `input_size` (its native size by default) in every spatial dimension.

    Raises:
        ValueError: the image is too small for the network.
    """
    size = input_size or spec.input_size
    with torch.device("meta"):
        network = build(spec).eval()
        images = torch.empty(1, spec.in_channels, *(size,) * spec.dims)
    present = [(name, part) for name, part in parts(network) if not isinstance(part, nn.Identity)]
    shapes: dict[str, tuple[int, ...]] = {}
    macs = {name: 0 for name, _ in present}
    for name, part in present:
        part.register_forward_hook(lambda _module, _inputs, output, name=name: shapes.update({name: _shape(output)}))
        for module in part.modules():
            if isinstance(module, (*CONVOLUTION_TYPES, nn.Linear)):
                module.register_forward_hook(
                    lambda module, _inputs, output, name=name: macs.update({name: macs[name] + _macs(module, output)})
                )
    try:
        network(images)
    except (RuntimeError, ValueError) as error:
        raise too_small(size, error) from None
    stages = tuple(
        StageCost(name, _layers(spec, name), shapes[name], sum(p.numel() for p in _counted(part)), macs[name])
        for name, part in present
    )
    return NetworkCost(stages, tuple(images.shape[1:]))


def too_small(size: int, error: Exception) -> ValueError:
    """What to say where a forward pass failed on images of `size` pixels."""
    reason = str(error).splitlines()[0]
    return ValueError(f"the network cannot take images of {size} pixels ({reason}); try a larger size")


def parts(network: Network) -> list[tuple[str, nn.Module]]:
    """The network's parts in order, by the names of the layer table; one that this network lacks is an `nn.Identity`."""
    named: list[tuple[str, nn.Module]] = [("conv1", network.conv1), ("pool", network.pool)]
    for name in network.stage_names:
        if name in network.transitions:
            named.append((f"{name} transition", network.transitions[name]))
        named.append((name, getattr(network, name)))
    return [*named, ("final", network.final), ("head", network.head)]


def _counted(module: nn.Module) -> list[Tensor]:
    frozen = [b for name, b in module.named_buffers() if name.rpartition(".")[2] in ("weight", "bias")]
    return [*module.parameters(), *frozen]


def _shape(output: Tensor | tuple[Tensor, ...]) -> tuple[int, ...]:
    return tuple((output if isinstance(output, Tensor) else output[0]).shape[1:])


def _macs(module: nn.Module, output: Tensor) -> int:
    weight: Tensor = module.weight  # type: ignore[assignment]
    positions = output.numel() // (output.shape[0] * weight.shape[0])
    return weight.numel() * positions


def _layers(spec: NetworkSpec, name: str) -> str:
    """The stage in words."""
    if name == "conv1":
        words = {"imagenet": "7×7", "cifar": "3×3", "deep": "3×3, 3×3, 3×3"}.get(spec.stem, spec.stem)
        return f"{words}, {spec.stem_width}" if spec.stem in ("imagenet", "cifar", "deep") else words
    if name == "pool":
        return "3×3 max pool, stride 2"
    if name == "final":
        return f"1×1, {spec.final_width}"
    if name == "head":
        return "average pool, linear" if spec.head == "classes" else "policy and value"
    stage = spec.stage_names.index(name.removesuffix(" transition"))
    if name.endswith("transition"):
        return str(spec.stage_transitions[stage])
    kind, width, blocks = spec.stage_residuals[stage], spec.stage_widths[stage], spec.blocks[stage]
    if kind == "basic":
        return f"{blocks} × [3×3, {width}; 3×3, {width}]"
    if kind == "bottleneck":
        inner = width * spec.base_width // 64 * spec.cardinality
        groups = f" in {spec.cardinality} groups" if spec.cardinality > 1 else ""
        return f"{blocks} × [1×1, {inner}; 3×3, {inner}{groups}; 1×1, {4 * width}]"
    return f"{blocks} × {kind}"
