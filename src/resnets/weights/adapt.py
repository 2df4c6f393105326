"""Weights for a network that differs from the one they come from: in classes, or in input channels; all else has to be equal.

Legend: O output channels of the first convolution, C its input channels in the file, n those wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import UserError
from ..data.decoding.preprocessing import Preprocessing
from ..networks import Network, NetworkSpec, build
from ..networks.initialization import CONVOLUTION_TYPES

InputWeights = Literal["sum", "repeat"]

# Fields that neither change the tensors nor what the network computes from them in evaluation mode; or that have their own rule here.
_FREE = {
    "num_classes", "in_channels", "input_size", "dropout", "head_dropout", "stochastic_depth", "norm_momentum", "initialization",
    "zero_init_residual", "gradient_checkpointing", "gate_bias", "shortcut_dropout",
    "output_stride",  # dilation in the place of stride: the same weights, as DeepLab uses them
}  # fmt: skip
_BY_STAGE = {
    "residual": "stage_residuals",
    "strides": "stage_strides",
    "residual_scale": "stage_scales",
    "transitions": "stage_transitions",
    "width": "stage_widths",
    "widening_factor": "stage_widths",
}
"""Fields that have several spellings, and the property that says what they come to."""


def differences(source: NetworkSpec, target: NetworkSpec) -> list[str]:
    """What makes `target` compute something else than `source` from the same weights, as "field: theirs where the network has ours"."""
    found = []
    for field in NetworkSpec.model_fields:
        if field in _FREE or not _matters(field, source, target):
            continue
        read = _BY_STAGE.get(field, field)
        theirs, ours = getattr(source, read), getattr(target, read)
        if field == "norm" and {theirs, ours} == {"batch", "frozen-batch"}:
            continue  # they differ in training only
        if theirs != ours:
            found.append(f"{read}={theirs!r} where the network has {ours!r}")
    return list(dict.fromkeys(found))


def _matters(field: str, source: NetworkSpec, target: NetworkSpec) -> bool:
    """Whether the field has any effect in one of the two."""
    specs = (source, target)
    needed = {
        "bottleneck_stride": any("bottleneck" in spec.stage_residuals for spec in specs),
        "shared_preactivation": any(spec.preactivated for spec in specs),
        "norm_groups": any(spec.norm == "group" for spec in specs),
        "squeeze_multiple": any(spec.squeeze_excitation for spec in specs),
        "stem_stride": source.stem_reduction != target.stem_reduction,
    }
    return needed.get(field, True)


def first_layer(network: Network) -> str:
    """The state-dict name of the weight of the convolution that takes the image."""
    return next(f"conv1.{name}.weight" for name, module in network.conv1.named_modules() if isinstance(module, CONVOLUTION_TYPES))


def adapted_input(weight: Tensor, channels: int, how: InputWeights | None) -> tuple[Tensor, InputWeights]:
    """The first convolution's weight (O, C, *K) for another number of input channels, (O, n, *K); and how it was made.

    The response to an input that is the same in every channel stays what it was, since the weights' sum over the channels does.
    "sum" gives every channel the n-th part of that sum. "repeat" (for more channels than the file's) repeats the file's channels in
    their order and divides each by the number of its copies, which is C / n where C divides n. None chooses "sum" for fewer channels
    and "repeat" for more.

    Raises:
        ValueError: "repeat" for fewer channels than the file's, or another word.
    """
    available = weight.shape[1]
    how = how or ("sum" if channels < available else "repeat")
    if how not in ("sum", "repeat"):
        raise UserError(f"input_weights={how!r} is no way to adapt the first layer; choose 'sum' or 'repeat'")
    if how == "repeat":
        if channels < available:
            raise UserError(
                f"input_weights='repeat' cannot make {channels} input channels of {available} without losing some; choose 'sum'"
            )
        source = torch.arange(channels, device=weight.device) % available
        copies = torch.bincount(source, minlength=available).to(weight.dtype)
        repeated = weight[:, source] / copies[source].view(1, -1, *(1,) * (weight.dim() - 2))
        return repeated, how
    return (weight.sum(1, keepdim=True) / channels).repeat(1, channels, *(1,) * (weight.dim() - 2)), how


def adapted_preprocessing(preprocessing: Preprocessing | None, channels: int) -> Preprocessing | None:
    """The preprocessing for another number of channels: the mean of the means and stds; None where images have no such number."""
    if preprocessing is None or preprocessing.channels == channels:
        return preprocessing
    if channels not in (1, 3):
        return None

    def spread(values: tuple[float, ...]) -> tuple[float, ...]:
        return (sum(values) / len(values),) * channels if values else ()

    fields = {"channels": channels, "mean": spread(preprocessing.mean), "std": spread(preprocessing.std)}
    return Preprocessing.model_validate({**preprocessing.model_dump(), **fields})


def network_from(
    state: Mapping[str, Tensor],
    source: NetworkSpec,
    target: NetworkSpec,
    *,
    origin: str,
    input_weights: InputWeights | None = None,
) -> tuple[Network, list[str]]:
    """The network of `target` with the weights `state` (our names) of the network of `source`, and what was changed, in sentences.

    Args:
        origin: what the weights are called in messages.

    Raises:
        ValueError: a tensor of another shape (the message names the layer and both shapes), tensors that are missing or left over, or
            a network that would compute something else from these weights.
    """
    network = build(target)
    expected, given, notes = network.state_dict(), dict(state), []
    head = [name for name in expected if name.startswith("head.")]
    first = first_layer(network)
    if first in given and given[first].dim() == expected[first].dim() and target.in_channels != given[first].shape[1]:
        before = given[first].shape[1]
        given[first], how = adapted_input(given[first], target.in_channels, input_weights)
        notes.append(
            f"{origin}: the first layer takes {before} input channels; its weights were adapted to {target.in_channels} "
            f"(input_weights={how!r}), so that the response to an input equal in all channels stays"
        )
    if target.num_classes != source.num_classes and source.head == target.head:
        for name in [name for name in given if name.startswith("head.")]:
            del given[name]
        given |= {name: expected[name] for name in head}
        theirs = f"{source.num_classes} classes" if source.num_classes else "no classifier"
        ours = f"is freshly initialised for {target.num_classes}" if target.num_classes else "is left off"
        notes.append(f"{origin}: the weights are for {theirs}; the head {ours}" + (", train it" if target.num_classes else ""))
    problems = [
        f"{name} is {tuple(given[name].shape)} in the weights and {tuple(value.shape)} in the network"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    problems += [f"{name} {tuple(value.shape)} is missing" for name, value in expected.items() if name not in given]
    problems += [
        f"{name} {tuple(value.shape)} has no place in the network" for name, value in given.items() if name not in expected
    ]
    problems += differences(source, target)
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise UserError(f"the weights of {origin} do not fit this network: {'; '.join(problems[:4])}{more}")
    network.load_state_dict(given)
    return network, notes
