"""resnets describe: networks layer by layer, other packages' too, or where it differs from a paper's or a package's definition."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import tyro

from ...core.errors import UserError
from ...inspection.references import ReferenceName
from ...networks import NetworkSpec, get_row, get_spec
from ...networks.zoo import split_name
from ...reports.tables import print_table, table
from ..command import Command
from ..options import print_json, results


@dataclass
class DescribeOptions:
    """Options of `resnets describe`."""

    names: tyro.conf.Positional[tuple[str, ...]]
    """One network, or several side by side, by name: of the zoo (fields of its spec may follow: cifar-resnet20:width=32,shortcut=B), or
    torchvision/NAME or timm/NAME, such as torchvision/vgg19, for another package's."""
    input_size: int | None = None
    """Height and width of the image in pixels; unset: the network's own."""
    against: ReferenceName | None = None
    """List instead every deviation from this reference's definition of the network: a paper's with its released code, or a package's."""
    json: bool = False
    """One object a network on standard output."""


def run(options: DescribeOptions) -> int:
    """Carries out the command."""
    if not options.names:
        raise UserError("name at least one network: resnets describe resnet50")
    if options.input_size is not None and options.input_size < 1:
        raise UserError(f"--input-size is a number of pixels, not {options.input_size}")
    if options.against is not None and options.input_size is not None:
        raise UserError("--against compares definitions, which have no --input-size; leave one of the two out")
    totals = []
    for name in options.names:
        if "/" in name:
            if options.against is not None:
                raise UserError(f"--against compares the fields of our own spec, and {name} has none; name a network of the zoo")
            totals.append(_foreign(name, options.input_size, as_json=options.json))
        elif options.against is not None:
            _compare(name, get_spec(name), options.against, as_json=options.json)
        else:
            totals.append(_describe(name, get_spec(name), options.input_size, as_json=options.json))
    if len(totals) > 1 and not options.json:
        first = totals[0]
        rows = [
            (name, f"{parameters:,}", f"{macs:,}", f"{parameters / first[1]:.4f}", f"{macs / first[2]:.4f}")
            for name, parameters, macs in totals
        ]
        columns = (
            "network",
            "parameters",
            "multiply-adds",
            "parameters, share of the first's",
            "multiply-adds, share of the first's",
        )
        print_table(results(), table("side by side", columns, rows))
    return 0


Totals = tuple[str, int, int]
"""Name, parameters, multiply-adds."""


def _foreign(name: str, input_size: int | None, *, as_json: bool) -> Totals:
    """Another package's network by the modules that it consists of."""
    from importlib.metadata import version

    from ...weights.foreign_network import foreign_parts

    cost = foreign_parts(name, input_size)
    package = name.partition("/")[0]
    origin, shape = f"{package} {version(package)}", (cost.channels, cost.size, cost.size)
    totals = {"parameters": cost.parameters, "macs": cost.macs}
    if as_json:
        print_json({"name": name, "paper": origin, "input": shape, **totals, "stages": [asdict(part) for part in cost.parts]})
    else:
        rows = [("input", "", "×".join(map(str, shape)), "", "")]
        rows += [
            (part.name, part.kind, "×".join(map(str, part.output or ())) or "-", f"{part.parameters:,}", f"{part.macs:,}")
            for part in cost.parts
        ]
        rows.append(("total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}"))
        print_table(results(), table(f"{name}, {origin}", ("module", "class", "output", "parameters", "multiply-adds"), rows))
    return name, cost.parameters, cost.macs


def _describe(name: str, spec: NetworkSpec, input_size: int | None, *, as_json: bool) -> Totals:
    from ...inspection.cost import network_cost
    from ...inspection.memory import activation_bytes
    from ...inspection.published_costs import published_for
    from ...inspection.receptive_field import receptive_fields

    paper = get_row(split_name(name)[0]).paper
    cost = network_cost(spec, input_size)
    memory, fields = activation_bytes(spec, input_size), receptive_fields(spec)
    whole = max(field.size for field in fields.values())
    seen = {s.name: fields[s.name].size if s.name in fields else None for s in cost.stages}
    # A printed number of multiply-adds is one at the native size.
    printed = [p for p in published_for(name) if p.quantity == "parameters" or input_size in (None, spec.input_size)]
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
                "published": [{**asdict(p), "value": p.value} for p in printed],
                "spec": spec.model_dump(mode="json"),
            }
        )
        return name, cost.parameters, cost.macs
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
        "one fused multiply-add counts as one; convolutions and linear layers are counted, for one image",
        "activation bytes: what autograd keeps of one image for the backward pass, at fp32, each storage once, without parameters",
        "receptive field: pixels along one axis that one position of the map sees; pools over the whole map (head, gates) left out",
        *(f"printed: {p.sentence()}" for p in printed),
    ):
        console.print(line, soft_wrap=True)
    return name, cost.parameters, cost.macs


def _compare(name: str, spec: NetworkSpec, reference: ReferenceName, *, as_json: bool) -> None:
    from ...inspection.deviations import WHAT, compare

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


COMMAND = Command("describe", DescribeOptions, "Show a network's layers, named as in the paper.", run)
