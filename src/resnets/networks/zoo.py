"""The zoo: a table of name -> spec, and families of names that are parsed. Data only; importing it loads no torch.

A network is named anywhere as NAME or NAME:FIELD=VALUE,FIELD=VALUE, for instance `resnet18:in_channels=1,shortcut=A` or
`wrn-16-4:dropout=0.3,num_classes=100`; the fields are those of `NetworkSpec`.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from ..core.errors import UserError
from .spec import NetworkSpec

HE2015, HE2016 = "He 2015 (1512.03385)", "He 2016 (1603.05027)"
WRN, RESNEXT = "Zagoruyko 2016 (1605.07146)", "Xie 2016 (1611.05431)"
INCEPTION, SENET, TRICKS = "Szegedy 2016 (1602.07261)", "Hu 2018 (1709.01507)", "He 2018 (1812.01187)"
ALPHAZERO, TUTORIAL = "Silver 2017 (AlphaGo Zero)", "Dive into Deep Learning, ResNet section"


@dataclass(frozen=True)
class ZooRow:
    """A named network: its spec, and the paper that it comes from."""

    spec: NetworkSpec
    paper: str


def _imagenet(depth: int, **fields: Any) -> NetworkSpec:
    """He 2015, Table 1, and the 200 layers of He 2016, §5."""
    blocks = {
        18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
    }[depth]  # fmt: skip
    return NetworkSpec(**{"blocks": blocks, "residual": "basic" if depth < 50 else "bottleneck", **fields})


def _preactivation(**fields: Any) -> dict[str, Any]:
    return {"activation_order": "full-preactivation", "projection_norm": False, **fields}


def _cifar(depth: int, *, layers_per_unit: int, **fields: Any) -> NetworkSpec:
    """He 2015 §4.2: three stages of n units at 32, 16 and 8 pixels, depth = (layers a unit) 3n + 2."""
    per_stage, rest = divmod(depth - 2, 3 * layers_per_unit)
    if rest or per_stage < 1:
        near = 3 * layers_per_unit * max(1, round((depth - 2) / (3 * layers_per_unit))) + 2
        raise UserError(
            f"no CIFAR network of this family has {depth} layers: the depth is {3 * layers_per_unit}n + 2, for instance {near}"
        )
    base = {
        "blocks": (per_stage,) * 3, "stem": "cifar", "stem_width": 16, "width": 16, "num_classes": 10, "input_size": 32,
        "residual": "basic" if layers_per_unit == 2 else "bottleneck",
    }  # fmt: skip
    return NetworkSpec(**{**base, **fields})


def _wide(depth: int, factor: float) -> NetworkSpec:
    """WRN §2 and Table 1: wrn-{depth}-{k}, depth = 6n + 4 (its two extra layers are projections)."""
    if (depth - 4) % 6 or depth < 10:
        raise UserError(
            f"no wide network has {depth} layers: the depth is 6n + 4, for instance {6 * max(1, round((depth - 4) / 6)) + 4}"
        )
    return _cifar(depth - 2, layers_per_unit=2, widening_factor=factor, **_preactivation())


def _resnext(depth: int, cardinality: int, base_width: int) -> NetworkSpec:
    return _imagenet(depth, cardinality=cardinality, base_width=base_width)


def _cifar_resnext(depth: int, cardinality: int, base_width: int) -> NetworkSpec:
    """ResNeXt §5.3: 9n + 2 layers, three stages of widths 64, 128, 256."""
    return _cifar(depth, layers_per_unit=3, stem_width=64, width=64, cardinality=cardinality, base_width=base_width)


def _cifar_preactivation(depth: int) -> NetworkSpec:
    """He 2016: basic units with option A up to 110 layers (as its Table 1 base), bottlenecks with projections from 164 on
    (resnet-pre-act.lua)."""
    if depth < 164:
        return _cifar(depth, layers_per_unit=2, shortcut="A", **_preactivation(shared_preactivation="first-unit"))
    return _cifar(depth, layers_per_unit=3, bottleneck_stride="1x1", **_preactivation())


def _alphazero(blocks: int, width: int) -> NetworkSpec:
    """AlphaGo Zero: `blocks` units of `width` channels on a 19 x 19 board of 17 planes; 361 points and pass."""
    return NetworkSpec(
        blocks=(blocks,),
        width=width,
        stem="cifar",
        stem_width=width,
        head="policy-value",
        num_classes=362,
        in_channels=17,
        input_size=19,
    )


def _inception(version: str, blocks: tuple[int, int, int], **fields: Any) -> NetworkSpec:
    family = "v4" if version == "v4" else f"resnet-{version}"
    return NetworkSpec(
        **{
            "blocks": blocks,
            "residual": tuple(f"inception-{family}-{letter}" for letter in "abc"),
            "stem": f"inception-{family}",
            "transitions": (None, f"reduction-a-{family}", f"reduction-b-{family}"),
            "norm_epsilon": 1e-3,
            "input_size": 299,
            "head_dropout": 0.2,
            **fields,
        }
    )


_SCALES = (0.17, 0.10, 0.20)  # A, B, C in TF-slim's release

ROWS: dict[str, ZooRow] = {
    **{f"resnet{d}": ZooRow(_imagenet(d), HE2015) for d in (18, 34, 50, 101, 152)},
    **{f"resnet{d}-v1": ZooRow(_imagenet(d, bottleneck_stride="1x1"), HE2015) for d in (50, 101, 152)},
    **{f"plain{d}": ZooRow(_imagenet(d, shortcut="none"), HE2015) for d in (18, 34)},
    **{f"cifar-resnet{d}": ZooRow(_cifar(d, layers_per_unit=2, shortcut="A"), HE2015) for d in (20, 32, 44, 56, 110, 1202)},
    **{f"cifar-plain{d}": ZooRow(_cifar(d, layers_per_unit=2, shortcut="none"), HE2015) for d in (20, 32, 44, 56, 110)},
    **{f"cifar-resnet{d}": ZooRow(_cifar(d, layers_per_unit=3, bottleneck_stride="1x1"), HE2016) for d in (164, 1001)},
    **{f"cifar-preact-resnet{d}": ZooRow(_cifar_preactivation(d), HE2016) for d in (110, 164, 1001)},
    **{f"preact-resnet{d}": ZooRow(_imagenet(d, **_preactivation()), HE2016) for d in (18, 34, 50, 101, 152, 200)},
    "resnet200": ZooRow(_imagenet(200, bottleneck_stride="3x3"), HE2016),
    **{f"wrn-{d}-{k}": ZooRow(_wide(d, k), WRN) for d, k in ((16, 4), (16, 8), (22, 8), (28, 10), (40, 1), (40, 2), (40, 4))},
    **{f"wide-resnet{d}-2": ZooRow(_imagenet(d, base_width=128), WRN) for d in (50, 101)},
    **{
        f"resnext{d}-{c}x{w}d": ZooRow(_resnext(d, c, w), RESNEXT)
        for d, c, w in ((50, 32, 4), (101, 32, 4), (101, 32, 8), (101, 64, 4))
    },
    **{f"cifar-resnext29-{c}x64d": ZooRow(_cifar_resnext(29, c, 64), RESNEXT) for c in (8, 16)},
    **{f"se-resnet{d}": ZooRow(_imagenet(d, squeeze_excitation=16), SENET) for d in (18, 34, 50, 101, 152)},
    "se-resnext50-32x4d": ZooRow(_imagenet(50, squeeze_excitation=16, cardinality=32, base_width=4), SENET),
    **{f"resnet{d}-d": ZooRow(_imagenet(d, stem="deep", shortcut="average-pool"), TRICKS) for d in (18, 34, 50, 101, 152)},
    "inception-v4": ZooRow(_inception("v4", (4, 7, 3), shortcut="none"), INCEPTION),
    "inception-resnet-v1": ZooRow(_inception("v1", (5, 10, 5), residual_scale=_SCALES), INCEPTION),
    "inception-resnet-v2": ZooRow(
        _inception("v2", (10, 20, 10), residual_scale=_SCALES, linear_last_unit=True, final_width=1536), INCEPTION
    ),
    "inception-resnet-v2-paper": ZooRow(_inception("v2", (5, 10, 5), residual_scale=_SCALES, stem="inception-v4"), INCEPTION),
    "alphazero-19x256": ZooRow(_alphazero(19, 256), ALPHAZERO),
    "alphazero-39x256": ZooRow(_alphazero(39, 256), ALPHAZERO),
    "tutorial-resnet18": ZooRow(
        _imagenet(18, in_channels=1, num_classes=10, input_size=96, conv_bias=True, projection_norm=False, initialization="torch"),
        TUTORIAL,
    ),
}

_D, _F = r"(\d+)", r"(\d+(?:\.\d+)?)"
FAMILIES: tuple[tuple[str, str, str, Callable[..., NetworkSpec]], ...] = (
    ("cifar-resnet{6n+2}", rf"cifar-resnet{_D}", HE2015, lambda d: _cifar(d, layers_per_unit=2, shortcut="A")),
    ("cifar-plain{6n+2}", rf"cifar-plain{_D}", HE2015, lambda d: _cifar(d, layers_per_unit=2, shortcut="none")),
    ("cifar-preact-resnet{6n+2 below 164, 9n+2 from 164}", rf"cifar-preact-resnet{_D}", HE2016, _cifar_preactivation),
    ("wrn-{6n+4}-{k}", rf"wrn-{_D}-{_F}", WRN, _wide),
    ("resnext{50|101|152}-{C}x{d}d", rf"resnext(50|101|152)-{_D}x{_D}d", RESNEXT, _resnext),
    ("cifar-resnext{9n+2}-{C}x{d}d", rf"cifar-resnext{_D}-{_D}x{_D}d", RESNEXT, _cifar_resnext),
    ("alphazero-{blocks}x{width}", rf"alphazero-{_D}x{_D}", ALPHAZERO, _alphazero),
)
"""Families of names: how the name is written, its pattern, the paper, and the function from its numbers to the spec."""


def list_models(pattern: str = "*") -> list[str]:
    """Names of the zoo's rows that match a shell pattern, in the zoo's order; a family's other members can be named too."""
    return [name for name in ROWS if fnmatch.fnmatchcase(name, pattern)]


@cache
def get_row(name: str) -> ZooRow:
    """The row of a plain name (no overrides), of the table or of a family.

    Raises:
        ValueError: no such network (the message names the nearest ones), or numbers that make none.
    """
    if name in ROWS:
        return ROWS[name]
    for _, pattern, paper, make in FAMILIES:
        match = re.fullmatch(pattern, name)
        if match:
            try:
                return ZooRow(make(*(float(g) if "." in g else int(g) for g in match.groups())), paper)
            except ValidationError as error:
                raise UserError(f"network {name}: {explain(error)}") from None
    near = difflib.get_close_matches(name, ROWS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "`resnets models` lists them all."
    raise UserError(f"there is no network named {name!r}; {hint}")


def split_name(text: str) -> tuple[str, dict[str, Any]]:
    """A name with overrides, NAME:FIELD=VALUE,FIELD=VALUE, as name and dict. Values are JSON or bare words.

    Raises:
        ValueError: an override without "=".
    """
    name, _, tail = text.partition(":")
    overrides: dict[str, Any] = {}
    for item in _split_outside_brackets(tail) if tail else ():
        field, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"in network {text!r}, {item!r} is not FIELD=VALUE; write for instance {name}:in_channels=1,shortcut=A")
        overrides[field.strip().replace("-", "_")] = _value(value.strip())
    return name, overrides


def _split_outside_brackets(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def _value(text: str) -> Any:
    if text.lower() in ("true", "false", "none", "null"):
        # "none" is a value of `shortcut`; a field that may be unset takes "null".
        return {"true": True, "false": False, "null": None}.get(text.lower(), text)
    try:
        return json.loads(text.replace("(", "[").replace(")", "]"))
    except json.JSONDecodeError:
        return text


def get_spec(name: str, **overrides: Any) -> NetworkSpec:
    """The spec of a network by name, with other values for some of its fields.

    Raises:
        ValueError: an unknown name or field (the message names the nearest), or a value that does not fit.
    """
    plain, inline = split_name(name)
    spec = get_row(plain).spec
    changes = {**inline, **overrides}
    if not changes:
        return spec
    for field in changes:
        if field not in NetworkSpec.model_fields:
            near = difflib.get_close_matches(field, NetworkSpec.model_fields, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(NetworkSpec.model_fields)}."
            raise UserError(f"network {plain} has no field {field!r}; {hint}")
    try:
        return spec.updated(**changes)
    except ValidationError as error:
        raise UserError(f"network {plain}: {explain(error)}") from None


def spell(spec: NetworkSpec, leaving_out: frozenset[str] = frozenset()) -> str:
    """The shortest name with overrides that `get_spec` turns into `spec`, up to the fields in `leaving_out`."""
    fields = [field for field in NetworkSpec.model_fields if field not in leaving_out]
    named = []
    for name, row in ROWS.items():
        changes = [field for field in fields if getattr(spec, field) != getattr(row.spec, field)]
        values = ",".join(f"{field}={_spelled(getattr(spec, field))}" for field in changes)
        named.append((len(changes), len(values), f"{name}:{values}" if changes else name))
    return min(named)[2]


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def explain(error: ValidationError) -> str:
    """One sentence a problem, each with the field, the value and what was expected."""
    sentences = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        sentences.append(
            f"{field}: {message} (got {problem['input']!r})" if field and not isinstance(problem["input"], dict) else message
        )
    return "; ".join(dict.fromkeys(sentences))
