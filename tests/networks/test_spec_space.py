"""Whatever spec is accepted builds, runs forward and backward, and answers in the right shape with finite numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from resnets.networks import NetworkSpec, build

ORDERS = ["original", "bn-after-addition", "relu-before-addition", "relu-only-preactivation", "full-preactivation"]


@st.composite
def specs(draw: st.DrawFn) -> NetworkSpec:
    """Small specs without contradictions."""
    stages = draw(st.integers(1, 3))
    inception = draw(st.integers(0, 7)) == 0
    preactivated = False
    fields: dict[str, Any] = {
        "blocks": draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages)),
        "width": draw(st.sampled_from([4, 6, 8])),
        "widening_factor": draw(st.sampled_from([1, 1.5])),
        "stem_width": draw(st.sampled_from([4, 7, 8])),
        "stem": draw(st.sampled_from(["imagenet", "cifar", "deep"])),
        "stem_stride": draw(st.sampled_from([None, 1, 2])),
        "squeeze_excitation": draw(st.sampled_from([0, 0, 2, 16])),
        "squeeze_multiple": draw(st.sampled_from([1, 8])),
        "stochastic_depth": draw(st.sampled_from([0, 0.5])),
        "residual_scale": draw(st.sampled_from([1, 0.3])),
        "linear_last_unit": draw(st.booleans()),
        "shortcut": draw(st.sampled_from(["A", "B", "C", "average-pool", "none"])),
        "projection_norm": draw(st.booleans()),
        "shortcut_scale": draw(st.sampled_from([1, 0.5])),
        "final_width": draw(st.sampled_from([0, 5])),
        "num_classes": draw(st.sampled_from([0, 3])),
        "head_dropout": draw(st.sampled_from([0, 0.2])),
        "in_channels": draw(st.integers(1, 3)),
        "norm": draw(st.sampled_from(["batch", "batch", "frozen-batch", "group"])),
        "conv_bias": draw(st.booleans()),
        "initialization": draw(st.sampled_from(["he-fan-out", "he-fan-in", "torch"])),
        "gradient_checkpointing": draw(st.booleans()),
    }
    if inception:
        fields |= {"residual": draw(st.sampled_from(["inception-resnet-v1-c", "inception-resnet-v2-a"])), "strides": [1] * stages}
    else:
        preactivated = fields.setdefault("activation_order", draw(st.sampled_from(ORDERS))).endswith("preactivation")
        fields["residual"] = draw(
            st.sampled_from(["basic", "bottleneck"])
            | st.lists(st.sampled_from(["basic", "bottleneck"]), min_size=stages, max_size=stages)
        )
        if fields["residual"] == "bottleneck":
            fields |= {"cardinality": draw(st.sampled_from([1, 2])), "base_width": draw(st.sampled_from([32, 64]))}
            fields["bottleneck_stride"] = draw(st.sampled_from(["1x1", "3x3"]))
        fields |= {
            "dims": draw(st.integers(1, 3)),
            "dropout": draw(st.sampled_from([0, 0.2])),
            "output_stride": draw(st.sampled_from([None, 4, 8])),
            "strides": draw(st.none() | st.lists(st.integers(1, 3), min_size=stages, max_size=stages)),
        }
    if preactivated:
        fields |= {
            "stem_activation": draw(st.booleans()),
            "shared_preactivation": draw(st.sampled_from(["first-unit", "shape-change"])),
        }
    if fields["shortcut"] == "A":  # it cannot shrink the channels, which only building finds out
        fields["stem_width"] = 4
        if isinstance(fields["residual"], list):
            fields["residual"] = "basic"
    if fields["shortcut"] != "none":
        fields["join"] = draw(st.sampled_from(["sum", "sum", "exclusive-gating", "shortcut-only-gating", "dropout"]))
        fields["zero_init_residual"] = draw(st.booleans())
    return NetworkSpec.model_validate(fields)


def total_strides(spec: NetworkSpec) -> dict[str, int]:
    """Stride between the input and each stage: a stage that would pass output_stride keeps its resolution."""
    strides, total = {}, spec.stem_reduction
    for name, stride in zip(spec.stage_names, spec.stage_strides, strict=True):
        if spec.output_stride is None or total * stride <= spec.output_stride:
            total *= stride
        strides[name] = total
    return strides


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(spec=specs(), sides=st.tuples(*[st.integers(9, 17)] * 3), seed=st.integers(0, 9))
def test_accepted_specs_work(spec: NetworkSpec, sides: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    network = build(spec)
    event(f"{spec.dims} dimensions, {spec.activation_order}")
    sides_used = sides[: spec.dims]
    images = torch.randn(2, spec.in_channels, *sides_used, requires_grad=True)
    logits = network.train()(images)
    channels = network.feature_channels[spec.stage_names[-1]]
    assert logits.shape == (2, spec.num_classes or channels)
    assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} has no part in the result"
        assert torch.isfinite(parameter.grad).all(), name

    with torch.no_grad():
        maps = network.eval().features(images)
    strides = total_strides(spec)
    for name in spec.stage_names:
        expected = [math.ceil(side / strides[name]) for side in sides_used]
        assert list(maps[name].shape) == [2, network.feature_channels[name], *expected], name


@settings(max_examples=25, deadline=None, derandomize=True)
@given(spec=specs())
def test_specs_survive_json(spec: NetworkSpec) -> None:
    assert NetworkSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_strategy_meets_no_contradiction() -> None:
    """`specs` above would otherwise fail in validation instead of testing networks."""
    settings(max_examples=200, deadline=None, derandomize=True)(given(spec=specs())(lambda spec: None))()
