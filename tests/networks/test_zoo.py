"""The zoo: names, families, overrides, and messages that help."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import resnets.networks
from resnets.core.errors import UserError
from resnets.networks import ROWS, NetworkSpec, get_row, get_spec, list_models
from resnets.networks.zoo import split_name


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cifar-resnet8", {"blocks": (1, 1, 1), "shortcut": "A", "stem_width": 16, "width": 16, "num_classes": 10}),
        ("cifar-plain14", {"blocks": (2, 2, 2), "shortcut": "none"}),
        ("cifar-preact-resnet20", {"blocks": (3, 3, 3), "residual": "basic", "activation_order": "full-preactivation"}),
        ("cifar-preact-resnet200", {"blocks": (22, 22, 22), "residual": "bottleneck", "bottleneck_stride": "1x1"}),
        ("wrn-10-1", {"blocks": (1, 1, 1), "widening_factor": 1.0}),
        ("wrn-52-1.5", {"blocks": (8, 8, 8), "widening_factor": 1.5, "activation_order": "full-preactivation"}),
        ("resnext152-8x16d", {"blocks": (3, 8, 36, 3), "cardinality": 8, "base_width": 16}),
        ("cifar-resnext20-2x8d", {"blocks": (2, 2, 2), "width": 64, "cardinality": 2, "base_width": 8}),
        ("alphazero-3x32", {"blocks": (3,), "width": 32, "stem_width": 32, "head": "policy-value", "num_classes": 362}),
    ],
)
def test_families_are_parsed(name: str, fields: dict[str, object]) -> None:
    spec = get_spec(name)
    assert {field: getattr(spec, field) for field in fields} == fields
    assert name not in ROWS


@pytest.mark.parametrize("name", list_models())
def test_a_row_in_a_familys_form_is_that_member(name: str) -> None:
    """The table and the families agree wherever both know a name; cifar-resnet164 and 1001 are the table's bottlenecks."""
    families = [make(*map(int, match.groups())) for _, pattern, _, make in resnets.networks.FAMILIES
                if name not in ("cifar-resnet164", "cifar-resnet1001") and (match := re.fullmatch(pattern, name))]  # fmt: skip
    assert all(spec == get_spec(name) for spec in families)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-50", "there is no network named 'resnet-50'; did you mean resnet50"),
        ("resnet51", "did you mean resnet"),
        ("Inception-V4", "inception-v4"),
        ("qqq", "`resnets models` lists them all"),
        ("cifar-resnet21", "no CIFAR network of this family has 21 layers: the depth is 6n + 2, for instance 20"),
        ("cifar-resnet2", "for instance 8"),
        ("cifar-resnext30-8x64d", "the depth is 9n + 2, for instance 29"),
        ("cifar-preact-resnet165", "the depth is 9n + 2, for instance 164"),
        ("wrn-29-10", "no wide network has 29 layers: the depth is 6n + 4, for instance 28"),
        ("wrn-4-1", "for instance 10"),
        ("wrn-16-0", "network wrn-16-0: widening_factor: Input should be greater than 0 (got 0)"),
        ("alphazero-0x8", "network alphazero-0x8: blocks.0: Input should be greater than 0 (got 0)"),
        ("cifar-resnext29-8x0d", "network cifar-resnext29-8x0d: base_width"),
    ],
)
def test_unknown_names_are_answered(name: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        get_row(name)
    assert message in str(error.value)
    assert type(error.value) is UserError  # one sentence, not pydantic's report


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("resnet18:in_channels=1,shortcut=A", {"in_channels": 1, "shortcut": "A"}),
        ("resnet18:in-channels=1", {"in_channels": 1}),
        ("resnet18: width = [8, 16,32,64] , dims=3", {"width": (8, 16, 32, 64), "dims": 3}),
        ("resnet18:width=(8,16,32,64)", {"width": (8, 16, 32, 64)}),
        ("resnet18:shortcut=none", {"shortcut": "none"}),
        ("resnet18:output_stride=8", {"output_stride": 8}),
        ("resnet18:output_stride=null", {"output_stride": None}),
        ("resnet18:zero_init_residual=true,dropout=0.25", {"zero_init_residual": True, "dropout": 0.25}),
        ("resnet18:norm_epsilon=1e-3", {"norm_epsilon": 1e-3}),
        ('resnet18:residual=["basic","basic","basic","bottleneck"]', {"residual": ("basic", "basic", "basic", "bottleneck")}),
        ("wrn-16-4:dropout=0.3,num_classes=100", {"dropout": 0.3, "num_classes": 100, "widening_factor": 4.0}),
        ("resnet18:", {"in_channels": 3}),
    ],
)
def test_overrides_in_the_name(text: str, fields: dict[str, object]) -> None:
    spec = get_spec(text)
    assert {field: getattr(spec, field) for field in fields} == fields


def test_keywords_win_over_the_name() -> None:
    assert get_spec("resnet18:num_classes=5,in_channels=1", num_classes=7) == get_spec("resnet18", num_classes=7, in_channels=1)
    assert split_name("a:b=1,c=[2,3],d-e=x") == ("a", {"b": 1, "c": [2, 3], "d_e": "x"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet18:in_chanels=1", "network resnet18 has no field 'in_chanels'; did you mean 'in_channels'?"),
        ("resnet18:xyzzy=1", "the fields are residual, blocks, width"),
        ("resnet18:in_channels", "'in_channels' is not FIELD=VALUE; write for instance resnet18:in_channels=1,shortcut=A"),
        ("resnet18:shortcut=Z", "network resnet18: shortcut: Input should be 'A', 'B', 'C', 'average-pool' or 'none' (got 'Z')"),
        ("resnet18:in_channels=0", "in_channels: Input should be greater than 0 (got 0)"),
        ("resnet18:width=[1,2]", "network resnet18: width has 2 entries but blocks has 4; give one per stage"),
    ],
)
def test_wrong_overrides_are_answered(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        get_spec(text)
    assert message in str(error.value)
    assert type(error.value) is UserError


def test_list_models_matches_shell_patterns_in_the_zoos_order() -> None:
    assert list_models("resnet*-v1") == ["resnet50-v1", "resnet101-v1", "resnet152-v1"]
    assert list_models() == list(ROWS)
    assert list_models("no-such-*") == []


def test_every_row_names_its_paper() -> None:
    assert all(row.paper and isinstance(row.spec, NetworkSpec) for row in ROWS.values())


def test_specs_load_no_torch() -> None:
    """Help and lists must be fast: a fresh interpreter that reads specs has not imported torch."""
    code = (
        "import sys, resnets.networks as n; n.get_spec('resnet18:in_channels=1'); n.list_models('wrn*'); n.get_row('wrn-22-2');"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_unknown_attributes_of_the_package_are_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        _ = resnets.networks.Netwrok


def test_the_room_imports_nothing_of_ours_from_outside() -> None:
    files = list(Path(resnets.networks.__file__).parent.glob("*.py"))
    assert len(files) > 8
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                core = node.level == 2 and (node.module or "").startswith("core.")
                assert node.level <= 1 or core, f"{file.name}:{node.lineno} reaches out of the room"
                assert not (node.module or "").startswith("resnets"), f"{file.name}:{node.lineno}"
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("resnets") for alias in node.names), f"{file.name}:{node.lineno}"
