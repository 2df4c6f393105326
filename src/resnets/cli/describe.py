"""resnets describe: a network layer by layer, or where it differs from a paper's or a package's definition."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import tyro

from ..networks import NetworkSpec, get_row, get_spec
from ..networks.zoo import split_name
from ..reports.tables import print_table, table
from .options import parse, print_json, results


@dataclass
class DescribeOptions:
    """Options of `resnets describe`."""

    name: tyro.conf.Positional[str]
    """A network's name; fields of its spec may follow: cifar-resnet20:width=32,shortcut=B."""
    input_size: int | None = None
    """Height and width of the picture in pixels; unset: the network's own."""
    against: Literal["he2015", "torchvision", "timm"] | None = None
    """List instead every deviation from this reference's definition of the network."""
    json: bool = False
    """One object on standard output."""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    options = parse(DescribeOptions, arguments, "describe", "Show a network's layers, named as in the paper.")
    if options.input_size is not None and options.input_size < 1:
        raise ValueError(f"--input-size is a number of pixels, not {options.input_size}")
    spec = get_spec(options.name)
    if options.against is not None:
        if options.input_size is not None:
            raise ValueError("--against compares definitions, which have no --input-size; leave one of the two out")
        _compare(options.name, spec, options.against, as_json=options.json)
    else:
        _describe(options.name, spec, options.input_size, as_json=options.json)
    return 0


def _describe(name: str, spec: NetworkSpec, input_size: int | None, *, as_json: bool) -> None:
    from ..inspection.cost import network_cost
    from ..inspection.memory import activation_bytes
    from ..inspection.receptive_field import receptive_fields

    paper = get_row(split_name(name)[0]).paper
    cost = network_cost(spec, input_size)
    memory, fields = activation_bytes(spec, input_size), receptive_fields(spec)
    whole = max(field.size for field in fields.values())
    seen = {s.name: fields[s.name].size if s.name in fields else None for s in cost.stages}
    if as_json:
        stages = [
            {
                "name": s.name,
                "layers": s.layers,
                "output": s.output,
                "parameters": s.parameters,
                "macs": s.macs,
                "activation_bytes": memory[s.name],
                "receptive_field": seen[s.name],
            }
            for s in cost.stages
        ]
        print_json(
            {
                "name": name,
                "paper": paper,
                "input": cost.input,
                "parameters": cost.parameters,
                "macs": cost.macs,
                "activation_bytes": sum(memory.values()),
                "receptive_field": whole,
                "stages": stages,
                "spec": spec.model_dump(mode="json"),
            }
        )
        return
    rows = [("input", "", "×".join(map(str, cost.input)), "", "", "", "")]
    rows += [
        (
            s.name,
            s.layers,
            "×".join(map(str, s.output)),
            f"{s.parameters:,}",
            f"{s.macs:,}",
            f"{memory[s.name]:,}",
            f"{seen[s.name] or '-'}",
        )
        for s in cost.stages
    ]
    rows.append(("total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}", f"{sum(memory.values()):,}", str(whole)))
    columns = ("layer", "made of", "output", "parameters", "multiply-adds", "activation bytes", "receptive field")
    console = results()
    print_table(console, table(f"{name}, {paper}", columns, rows))
    for line in (
        "one fused multiply-add counts as one; convolutions and linear layers are counted, for one picture",
        "activation bytes: what autograd keeps of one picture for the backward pass, at fp32, each storage once, without parameters",
        "receptive field: pixels along one axis that one position of the map sees; pools over the whole map (head, gates) left out",
    ):
        console.print(line, soft_wrap=True)


def _compare(name: str, spec: NetworkSpec, reference: Literal["he2015", "torchvision", "timm"], *, as_json: bool) -> None:
    from ..inspection.deviations import WHAT, compare

    comparison = compare(spec, reference)
    if as_json:
        print_json(
            {
                "name": name,
                "reference": reference,
                "network": comparison.network,
                "source": comparison.source,
                "deviations": [asdict(deviation) for deviation in comparison.deviations],
                "unstated": comparison.unstated,
            }
        )
        return
    console = results()
    title = f"{name} against {reference}'s {comparison.network} ({comparison.source})"
    if comparison.deviations:
        rows = [(d.what, _words(d.ours), _words(d.theirs), d.source) for d in comparison.deviations]
        print_table(console, table(title, ("what", "ours", "theirs", "source"), rows))
    else:
        console.print(f"{title}: no deviations", soft_wrap=True)
    if comparison.unstated:
        console.print(f"not stated there: {'; '.join(WHAT[field] for field in comparison.unstated)}", soft_wrap=True)


def _words(value: Any) -> str:
    """A field's value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return ", ".join(map(_words, value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
