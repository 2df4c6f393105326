"""resnets describe: a network layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from ..networks import get_row, get_spec
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
    json: bool = False
    """One object on standard output."""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    options = parse(DescribeOptions, arguments, "describe", "Show a network's layers, named as in the paper.")
    if options.input_size is not None and options.input_size < 1:
        raise ValueError(f"--input-size is a number of pixels, not {options.input_size}")
    spec, paper = get_spec(options.name), get_row(split_name(options.name)[0]).paper
    from ..inspection.cost import network_cost

    cost = network_cost(spec, options.input_size)
    if options.json:
        stages = [
            {"name": s.name, "layers": s.layers, "output": s.output, "parameters": s.parameters, "macs": s.macs}
            for s in cost.stages
        ]
        totals = {"parameters": cost.parameters, "macs": cost.macs}
        print_json(
            {
                "name": options.name,
                "paper": paper,
                "input": cost.input,
                **totals,
                "stages": stages,
                "spec": spec.model_dump(mode="json"),
            }
        )
        return 0
    shape = "×".join(map(str, cost.input))
    rows = [("input", "", shape, "", "")]
    rows += [(s.name, s.layers, "×".join(map(str, s.output)), f"{s.parameters:,}", f"{s.macs:,}") for s in cost.stages]
    rows.append(("total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}"))
    console = results()
    print_table(console, table(f"{options.name}, {paper}", ("layer", "made of", "output", "parameters", "multiply-adds"), rows))
    console.print(
        "one fused multiply-add counts as one; convolutions and linear layers are counted, for one picture", soft_wrap=True
    )
    return 0
