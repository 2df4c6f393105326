"""Signal propagation: how large a network's responses and gradients are, unit by unit, on one batch.

Legend: N batch, C channels, S spatial shape; l a unit, L the last unit of its stage; x_l the unit's input, F its residual
function, h its shortcut, y_l = h(x_l) + F(x_l), x_{l+1} = f(y_l). Norms are Euclidean, over all elements of the batch's tensor.

- response: standard deviation of what each convolution of F puts out, over the batch, channels and positions; after the norm that
  directly follows it (where there is none, of the convolution itself) and before any ReLU or addition (He 2015, 1512.03385, Fig. 7).
- branch ratio: |F| / |h| as the two arrive where they are joined, before a gate weighs them.
- gradient: |dE/dx_l| for the mean loss E of the batch.
- shortcut gradient: |dE/dx_l| / |dE/dy_L| in a second pass whose forward values are the same, but in which nothing is propagated back
  through any F: the gradient that the shortcuts alone carry from the stage's last sum down to the unit (He 2016, 1603.05027, eq. 8-9,
  without the terms of F). Beside it is its closed form, the product of the scales lambda of the units l ... L. The two are equal
  where f is the identity (pre-activation); where f is a ReLU the measured one is below, because f's derivative is in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from ..core.errors import UserError
from ..networks import Network, ResidualUnit
from ..networks.initialization import CONVOLUTION_TYPES, NORM_TYPES
from ..networks.layers import Concatenation, Scale
from ..networks.network import Stage
from ..networks.shortcuts import NoShortcut, Shortcut, Sum


@dataclass(frozen=True)
class LayerSignal:
    """One convolution of F."""

    name: str
    """Its place in F: conv1, conv2, ...; split1.0.conv2 in an Inception branch."""
    response_std: float


@dataclass(frozen=True)
class UnitSignal:
    """One residual unit."""

    name: str
    """Stage and index, such as conv3_x.0."""
    layers: tuple[LayerSignal, ...]
    branch_ratio: float | None
    """|F| / |h|; None without a shortcut, or where h is zero."""
    gradient: float
    """|dE/dx_l|."""
    shortcut_gradient: float | None
    """|dE/dx_l| / |dE/dy_L| through the stage's shortcuts alone; None without shortcuts, or where nothing arrives at y_L."""
    shortcut_product: float | None
    """Its closed form; None where a unit from here to the stage's end projects, pads, gates or drops, or activates before h."""

    @property
    def response_std(self) -> float:
        """Mean of the layers' standard deviations."""
        return sum(layer.response_std for layer in self.layers) / len(self.layers)


@dataclass(frozen=True)
class SignalReport:
    """A network's units in order, and the batch's mean loss."""

    units: tuple[UnitSignal, ...]
    loss: float


@dataclass
class _Measured:
    """What the hooks of one pass found, by the unit's index."""

    responses: dict[int, list[LayerSignal]] = field(default_factory=dict)
    ratios: dict[int, float | None] = field(default_factory=dict)
    inputs: dict[int, float] = field(default_factory=dict)
    """|dE/dx_l|"""
    sums: dict[int, float] = field(default_factory=dict)
    """|dE/dy_l|"""


def measure_signal(network: Network, images: Tensor, labels: Tensor | None = None, *, training: bool = True) -> SignalReport:
    """Measures every residual unit on one batch. The network is left as it was: weights, running statistics, mode.

    Args:
        network: any network of ours, freshly initialised or trained, on the images' device.
        images: (N, C, *S), floating point, as the network takes them.
        labels: (N,), int64, classes (or moves); None for 0, 1, 2, ... in turn.
        training: as in a training step, with the batch's own statistics in batch norms, and dropout and stochastic depth drawn from
            torch's global random state; False: with the running statistics and nothing dropped.

    Raises:
        ValueError: the network has no classes and thus no loss, or the labels are not one class for each image.
    """
    classes = network.spec.num_classes
    if not classes:
        raise UserError("a network with num_classes=0 has no loss whose gradient could be measured; set num_classes")
    if labels is None:
        labels = torch.arange(len(images), device=images.device) % classes
    if labels.shape != images.shape[:1] or not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise UserError(
            f"labels must be {len(images)} numbers from 0 to {classes - 1}, one per image, "
            f"not {tuple(labels.shape)} from {int(labels.min())} to {int(labels.max())}"
        )
    units = {f"{stage}.{name}": unit for stage in network.stage_names for name, unit in getattr(network, stage).named_children()}
    with _left_as_it_was(network):
        network.train(training)
        full = _Measured()
        loss = _propagate(network, images, labels, list(units.values()), full, shortcuts_alone=False)
        alone = None
        if any(not isinstance(unit.shortcut, NoShortcut) for unit in units.values()):
            alone = _Measured()
            _propagate(network, images, labels, list(units.values()), alone, shortcuts_alone=True)
    products = _products(units)
    last = {name.partition(".")[0]: i for i, name in enumerate(units)}  # a later unit of a stage overwrites an earlier one
    return SignalReport(
        tuple(
            UnitSignal(
                name,
                tuple(full.responses[i]),
                full.ratios.get(i),
                full.inputs[i],
                None if alone is None else _ratio(alone.inputs[i], alone.sums[last[name.partition(".")[0]]]),
                products[name],
            )
            for i, name in enumerate(units)
        ),
        loss,
    )


def response_points(residual: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """F's convolutions by name, each with the module whose output is its response: the norm right after it, or itself."""
    children = list(residual.named_children())
    for i, (name, child) in enumerate(children):
        if isinstance(child, CONVOLUTION_TYPES):
            follower = children[i + 1][1] if i + 1 < len(children) else None
            yield prefix + name, follower if isinstance(follower, NORM_TYPES) else child
        elif isinstance(child, Concatenation):
            for j, branch in enumerate(child.branches):
                yield from response_points(branch, f"{prefix}{name}.{j}.")
        elif isinstance(child, nn.Sequential):
            yield from response_points(child, f"{prefix}{name}.")


def _propagate(
    network: Network, images: Tensor, labels: Tensor, units: list[ResidualUnit], measured: _Measured, *, shortcuts_alone: bool
) -> float:
    """One pass forward and back, in which the hooks fill `measured`; returns the loss."""
    with ExitStack() as stack:

        def remember(handle: RemovableHandle) -> None:
            stack.callback(handle.remove)

        for i, unit in enumerate(units):
            remember(unit.register_forward_pre_hook(_gradient_of_input(measured.inputs, i)))
            remember(unit.shortcut.register_forward_hook(_gradient_of_output(measured.sums, i)))
            if shortcuts_alone:
                remember(unit.residual.register_forward_hook(lambda _module, _inputs, output: output.detach()))
                continue
            measured.responses[i] = []
            for name, module in response_points(unit.residual):
                remember(module.register_forward_hook(_response(measured.responses[i], name)))
            if isinstance(unit.shortcut, Shortcut):
                remember(unit.shortcut.join.register_forward_pre_hook(_branch_ratio(measured.ratios, i)))
        # A gradient down to the images passes every unit, frozen or not; none of the weights' gradients is computed.
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            loss = _loss(network(images), labels)
        torch.autograd.grad(loss, images)
    return float(loss.detach())


def _loss(outputs: Tensor | tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    """Mean cross-entropy; for policy and value with the squared error of the value against a draw (Silver 2017, Methods)."""
    if isinstance(outputs, tuple):
        policy, value = outputs
        return functional.cross_entropy(policy, labels) + value.square().mean()
    return functional.cross_entropy(outputs, labels)


# Statistics are taken inside the hooks, at once: the ReLU and the addition that follow overwrite these tensors in place. A gradient hook
# that is put on a tensor before it is overwritten gets the gradient of the value that it had then.


def _gradient_of_input(found: dict[int, float], unit: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _module, inputs: _on_gradient(inputs[0], found, unit)


def _gradient_of_output(found: dict[int, float], unit: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda _module, _inputs, output: _on_gradient(output, found, unit)


def _on_gradient(tensor: Tensor, found: dict[int, float], unit: int) -> None:
    found[unit] = 0.0  # stays so where no gradient arrives
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: found.__setitem__(unit, _norm(gradient)))  # type: ignore[no-untyped-call]


def _response(found: list[LayerSignal], name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda _module, _inputs, output: found.append(LayerSignal(name, _std(output)))


def _branch_ratio(found: dict[int, float | None], unit: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _module, inputs: found.__setitem__(unit, _ratio(_norm(inputs[1]), _norm(inputs[0])))


def _norm(tensor: Tensor) -> float:
    """Accumulated in float64: the squares of an exploding signal leave the range of float32 long before the signal does."""
    return float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64))


def _std(tensor: Tensor) -> float:
    """Of all elements, in float64."""
    mean = float(tensor.detach().mean(dtype=torch.float64))
    return math.sqrt(max(0.0, _norm(tensor) ** 2 / tensor.numel() - mean**2)) if math.isfinite(mean) else math.nan


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _scale(unit: ResidualUnit) -> float | None:
    """lambda of h = lambda x, or None where h is no such thing."""
    shortcut = unit.shortcut
    if not isinstance(shortcut, Shortcut) or not isinstance(shortcut.join, Sum) or unit.prelude is not None:
        return None
    if shortcut.match is None:
        return 1.0
    return shortcut.match.factor if isinstance(shortcut.match, Scale) else None


def _products(units: dict[str, ResidualUnit]) -> dict[str, float | None]:
    """The product of lambda from each unit to the end of its stage."""
    products: dict[str, float | None] = {}
    stage, product = "", None
    for name, unit in reversed(units.items()):
        if name.partition(".")[0] != stage:
            stage, product = name.partition(".")[0], 1.0
        scale = _scale(unit)
        product = None if product is None or scale is None else product * scale
        products[name] = product
    return products


@contextmanager
def _left_as_it_was(network: Network) -> Iterator[None]:
    """Restores modes and running statistics. Within, nothing is recomputed, so that every hook is called once."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    stages = [(module, module.checkpointing) for module in network.modules() if isinstance(module, Stage)]
    for stage, _ in stages:
        stage.checkpointing = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for buffer, value in buffers:
            buffer.copy_(value)
        for stage, checkpointing in stages:
            stage.checkpointing = checkpointing
