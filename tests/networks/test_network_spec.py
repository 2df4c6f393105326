"""The spec: what it refuses, in which words, and that it survives JSON."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from resnets.networks import NetworkSpec, get_row, get_spec, list_models

REFUSED = [
    ({"blocks": []}, "blocks is empty; name the number of units of at least one stage, such as [2, 2, 2, 2]"),
    ({"blocks": [2, 0]}, "greater than 0"),
    ({"width": [64, 128]}, "width has 2 entries but blocks has 4; give one per stage"),
    ({"residual": ["basic"] * 3}, "residual has 3 entries but blocks has 4"),
    ({"strides": [1, 2]}, "strides has 2 entries"),
    ({"transitions": [None, None]}, "transitions has 2 entries"),
    ({"residual_scale": [0.1, 0.2]}, "residual_scale has 2 entries"),
    ({"residual": "bottle-neck"}, "'basic'"),
    ({"colour": "red"}, "colour"),
    ({"cardinality": 32}, "cardinality 32 needs residual='bottleneck'"),
    ({"base_width": 128}, "base_width 128 needs residual='bottleneck'"),
    ({"width": 8, "residual": "bottleneck", "base_width": 4}, "base_width 4 leaves a bottleneck of width 8 without channels"),
    ({"width": 1, "widening_factor": 0.5}, "widths [0, 1, 2, 4] leave a stage without channels"),
    ({"shortcut": "none", "join": "dropout"}, "join='dropout' needs a shortcut, but shortcut is 'none'"),
    ({"shortcut": "none", "zero_init_residual": True}, "would put out zeros only; it needs a shortcut"),
    ({"stem": "inception-v4", "dims": 3}, "exist in two dimensions only; set dims=2"),
    ({"stem": "inception-v4", "output_stride": 16}, "leave it unset"),
    ({"stem": "inception-v4", "activation_order": "full-preactivation"}, "have activation_order='original'"),
    ({"stem": "inception-v4", "activation_order": "bn-after-addition"}, "have activation_order='original'"),
    ({"residual": "inception-resnet-v1-a"}, "inception-resnet-v1-a cannot have stride 2: name a transition before its stage"),
    ({"residual": "inception-v4-a", "strides": [1] * 4}, "has no shortcut (1602.07261 §3.1); set shortcut='none'"),
    ({"residual": "inception-resnet-v1-a", "strides": [1] * 4, "dropout": 0.1}, "has no place for it"),
    ({"stem_activation": False}, "stem_activation=False needs a pre-activation order, but activation_order is 'original'"),
    ({"head": "policy-value"}, "needs every board point: stem='cifar', no transitions, and strides of 1"),
    ({"head": "policy-value", "stem": "cifar", "blocks": [2], "num_classes": 0}, "needs num_classes, the number of moves"),
    ({"dropout": 1.0}, "less than 1"),
    ({"output_stride": 2}, "4, 8, 16 or 32"),
    ({"norm_epsilon": 0}, "greater than 0"),
    ({"num_classes": -1}, "greater than or equal to 0"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_refused_with_a_reason(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        NetworkSpec.model_validate(fields)
    assert message in str(error.value)


def test_a_spec_is_frozen_and_hashable() -> None:
    spec = NetworkSpec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.width = 32  # type: ignore[misc]
    assert {spec: 1}[NetworkSpec()] == 1


@pytest.mark.parametrize("name", [*list_models(), "wrn-22-2.5", "resnet18:width=[8,16,32,64],strides=[2,1,2,1],output_stride=8"])
def test_json_round_trip(name: str) -> None:
    spec = get_spec(name)
    assert NetworkSpec.model_validate_json(spec.model_dump_json()) == spec


def test_updated_validates() -> None:
    spec = get_row("resnet50").spec
    assert spec.updated(in_channels=1).in_channels == 1
    assert spec.in_channels == 3
    with pytest.raises(ValidationError, match="width has 3 entries"):
        spec.updated(width=(1, 2, 3))
    with pytest.raises(ValidationError, match="depth"):
        spec.updated(depth=50)


def test_derived_values() -> None:
    spec = NetworkSpec(blocks=(1, 2, 3), width=10, widening_factor=1.25, residual="bottleneck", cardinality=4, base_width=32)
    assert spec.stage_names == ("conv2_x", "conv3_x", "conv4_x")
    assert spec.stage_widths == (12, 25, 50)  # floor of 12.5, 25, 50
    assert spec.inner_widths == (24, 48, 100)  # floor of 6, 12.5, 25, times 4 groups
    assert spec.stage_strides == (1, 2, 2)
    assert spec.stage_residuals == ("bottleneck",) * 3
    assert spec.stage_scales == (1.0,) * 3
    assert spec.stage_transitions == (None,) * 3


@pytest.mark.parametrize(
    ("stem", "stride", "reduction"),
    [("imagenet", None, 4), ("imagenet", 1, 2), ("deep", None, 4), ("cifar", None, 1), ("cifar", 2, 2)],
)
def test_stem_reduction(stem: str, stride: int | None, reduction: int) -> None:
    assert NetworkSpec.model_validate({"stem": stem, "stem_stride": stride}).stem_reduction == reduction


def test_stages_after_a_transition_have_no_stride() -> None:
    assert get_spec("inception-v4").stage_strides == (1, 1, 1)
