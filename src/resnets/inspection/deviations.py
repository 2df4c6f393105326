"""Which ResNet is this? Every field in which a spec differs from the definition of a paper or of another package. Imports no torch.

Two specs are compared by what they build: values that come to the same (a width for the first stage, or one for each) are equal, and a field
that has no effect in either network (the scale of a gate that is not there) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..core.errors import UserError
from ..networks import NetworkSpec
from .reference_family import Family
from .references import REFERENCES, ReferenceName

WHAT = {
    "blocks": "units in each stage",
    "residual": "residual function",
    "width": "width of each stage",
    "cardinality": "cardinality (groups of the 3×3)",
    "base_width": "base width of a bottleneck",
    "bottleneck_stride": "where a bottleneck subsamples",
    "activation_order": "order of norm, ReLU and addition",
    "shared_preactivation": "units that activate before the branch",
    "stem_activation": "norm and ReLU right after the stem",
    "squeeze_excitation": "squeeze-and-excitation, reduction ratio (0: none)",
    "squeeze_multiple": "inner widths of the squeeze-and-excitation gates",
    "dropout": "dropout in F",
    "stochastic_depth": "stochastic depth",
    "residual_scale": "factor on F in each stage",
    "linear_last_unit": "last unit without scale and ReLU",
    "shortcut": "shortcut where the shape changes",
    "projection_norm": "norm after a projection",
    "join": "join of shortcut and F",
    "shortcut_scale": "factor on the shortcut",
    "gate_bias": "initial bias of the gates",
    "shortcut_dropout": "dropout on the shortcut",
    "stem": "stem",
    "stem_width": "channels of the stem",
    "stem_stride": "stride of the stem's convolution",
    "strides": "stride of each stage",
    "transitions": "modules between stages",
    "final_width": "1×1 convolution after the last stage (0: none)",
    "head": "head",
    "num_classes": "classes",
    "head_dropout": "dropout before the classifier",
    "in_channels": "channels of the input",
    "input_size": "native input size, pixels",
    "output_stride": "largest stride (dilation beyond it)",
    "dims": "spatial dimensions",
    "norm": "normalisation",
    "norm_epsilon": "epsilon of the norms",
    "norm_momentum": "momentum of the running statistics",
    "norm_groups": "groups of group norm",
    "conv_bias": "biases in convolutions before a norm",
    "initialization": "initialisation of the convolutions",
    "zero_init_residual": "zero-initialised last norm of F (zero-γ)",
}
"""What each field decides, in words. `widening_factor` is in the widths; `gradient_checkpointing` changes no network."""


@dataclass(frozen=True)
class Deviation:
    """One difference."""

    what: str
    field: str | None
    """The field of `NetworkSpec`; None for what no field describes."""
    ours: Any
    theirs: Any
    source: str
    """Where the reference says so."""


@dataclass(frozen=True)
class Comparison:
    """A spec beside the nearest network of a reference."""

    network: str
    """The reference's name for it."""
    source: str
    deviations: tuple[Deviation, ...]
    unstated: tuple[str, ...]
    """Fields on which the reference says nothing."""


def compare(spec: NetworkSpec, reference: ReferenceName) -> Comparison:
    """Compares `spec` with the reference's network of the same units in each stage that it differs least from.

    Raises:
        ValueError: the reference has no network of as many units in each stage, or no such reference.
    """
    if reference not in REFERENCES:
        raise UserError(f"there is no reference {reference!r}; the references are {', '.join(REFERENCES)}")
    candidates = [
        _compared(spec, family, name)
        for family in REFERENCES[reference]
        for name in family.networks
        if family.networks[name]["blocks"] == spec.blocks
    ]
    if not candidates:
        others = [name for family in REFERENCES[reference] for name in list(family.networks)[:4]]
        raise UserError(
            f"{reference} defines no network with {', '.join(map(str, spec.blocks))} units in its stages; "
            f"it defines {', '.join(others)} and others of their kind"
        )
    # What makes it a network of that kind weighs more than any number of details.
    return min(candidates, key=lambda c: (_other_kind(c), sum(d.field is not None for d in c.deviations)))


def _other_kind(comparison: Comparison) -> int:
    """How many of the choices differ by which families are named; a network without shortcuts is another one, too."""
    return sum(
        d.field in ("residual", "activation_order", "squeeze_excitation", "stem")
        or (d.field == "shortcut" and "none" in (d.ours, d.theirs))
        for d in comparison.deviations
    )


def _compared(spec: NetworkSpec, family: Family, name: str) -> Comparison:
    ours, theirs = dict(_effective(spec)), dict(_effective(family.spec(name)))
    deviations = []
    for field, what in WHAT.items():
        if field not in ours or field not in theirs or field in family.unstated:
            continue  # without effect in one of the two, because of a difference that is listed itself
        if ours[field] != theirs[field] and ours[field] not in family.admits.get(field, ()):
            allowed = family.admits.get(field)
            their_value = " or ".join(map(str, allowed)) if allowed else theirs[field]
            deviations.append(Deviation(what, field, ours[field], their_value, family.sources.get(field, family.source)))
    for remark in family.remarks:
        if not remark.only or name in remark.only:
            deviations.append(Deviation(remark.what, None, remark.ours, remark.theirs, remark.source))
    return Comparison(name, family.source, tuple(deviations), tuple(field for field in WHAT if field in family.unstated))


def _effective(spec: NetworkSpec) -> Iterator[tuple[str, Any]]:
    """The fields that have an effect, with values that are equal where the networks are."""
    inception_stem, bottleneck = spec.stem.startswith("inception"), "bottleneck" in spec.stage_residuals
    derived = {
        "residual": _shortened(spec.stage_residuals),
        "width": spec.stage_widths,
        "squeeze_multiple": _squeeze_widths(spec),
        "residual_scale": _shortened(spec.stage_scales),
        "stem_stride": spec.stem_stride or (1 if spec.stem == "cifar" else 2),
        "strides": spec.stage_strides,
        "transitions": spec.stage_transitions,
        "output_stride": _limit(spec),
    }
    has_effect = {
        "width": not all(kind.startswith("inception") for kind in spec.stage_residuals),
        "cardinality": bottleneck,
        "base_width": bottleneck,
        "bottleneck_stride": bottleneck and max(spec.stage_strides) > 1,
        "shared_preactivation": spec.preactivated,
        "stem_activation": spec.preactivated,
        "squeeze_multiple": spec.squeeze_excitation > 0,
        "linear_last_unit": spec.is_inception,
        "projection_norm": spec.shortcut in ("B", "C", "average-pool") and not spec.is_inception,
        "shortcut": not spec.stage_residuals[0].startswith("inception-resnet"),  # no unit changes the shape
        "gate_bias": spec.join.endswith("gating"),
        "shortcut_dropout": spec.join == "dropout",
        "stem_width": not inception_stem,
        "stem_stride": not inception_stem,
        "norm_momentum": spec.norm == "batch",
        "norm_groups": spec.norm == "group",
    }
    for field in WHAT:
        if has_effect.get(field, True):
            yield field, derived.get(field, getattr(spec, field))


def _shortened(values: tuple[Any, ...]) -> Any:
    return values[0] if len(set(values)) == 1 else values


def _limit(spec: NetworkSpec) -> int | None:
    """The output stride where it changes a stage."""
    total = spec.stem_reduction
    for stride in spec.stage_strides:
        total *= stride
    return spec.output_stride if spec.output_stride is not None and spec.output_stride < total else None


def _squeeze_widths(spec: NetworkSpec) -> tuple[int, ...]:
    """Inner widths of the gates by stage, rounded as in `SqueezeExcitation`."""
    ratio, multiple = spec.squeeze_excitation or 1, spec.squeeze_multiple
    expansion = 4 if "bottleneck" in spec.stage_residuals else 1
    channels = [width * expansion for width in spec.stage_widths]
    return tuple(max(multiple, (c // ratio + multiple // 2) // multiple * multiple) for c in channels)
