"""resnets models: the zoo as a table."""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass
from typing import Literal

import tyro

from ...core.errors import UserError
from ...networks import FAMILIES, get_row, list_models
from ...reports.tables import giga, print_table, table
from ..command import Command
from ..options import print_json, results


@dataclass
class ModelsOptions:
    """Options of `resnets models`."""

    pattern: tyro.conf.Positional[str] = "*"
    """Names to show, with * and ?; one name of a family, such as wrn-22-3; or torchvision/NAME or timm/NAME, such as
    torchvision/vgg19, for another package's network."""
    against: Literal["papers"] | None = None
    """Show instead every number of parameters or multiply-adds that the papers print, beside ours, with the reason where they differ."""
    json: bool = False
    """One object a network (or printed number) on standard output."""


def run(options: ModelsOptions) -> int:
    """Carries out the command."""
    if options.against is not None:
        return _against_papers(options)
    if "/" in options.pattern:
        return _foreign(options)
    from ...inspection.zoo_costs import zoo_cost

    names = list_models(options.pattern)
    if not names and any(letter in options.pattern for letter in "*?["):
        raise UserError(f"no network's name matches {options.pattern!r}; `resnets models` lists them all")
    rows = []
    for name in names or [options.pattern]:
        row = get_row(name)
        parameters, macs = zoo_cost(name)
        if options.json:
            value = {"name": name, "parameters": parameters, "macs": macs, "input_size": row.spec.input_size, "paper": row.paper}
            print_json(value)
        rows.append(
            (name, giga(parameters), giga(macs), f"{row.spec.in_channels}×{row.spec.input_size}×{row.spec.input_size}", row.paper)
        )
    if not options.json:
        console = results()
        print_table(console, table("", ("network", "parameters", "multiply-adds", "input", "paper"), rows))
        if len(rows) > 1:
            console.print("families: " + ", ".join(how for how, _, _, _ in FAMILIES), soft_wrap=True, markup=False)
            console.print("fields may follow any name: resnet18:in_channels=1,shortcut=A", soft_wrap=True)
    return 0


def _against_papers(options: ModelsOptions) -> int:
    """Rows of what the papers print about the networks whose names match."""
    from ...inspection.published_costs import QUANTITIES, published_costs

    rows = []
    for cost in published_costs():
        if not fnmatch.fnmatchcase(cost.network.partition(":")[0], options.pattern):
            continue
        ours = cost.ours()
        if options.json:
            print_json({**asdict(cost), "value": cost.value, "ours": ours, "agrees": cost.agrees(ours)})
        difference = f"{100 * (ours / cost.value - 1):+.1f} %"
        rows.append(
            (cost.network, QUANTITIES[cost.quantity], cost.printed, f"{ours:,}", difference, cost.source, cost.reason or "")
        )
    if not rows:
        raise UserError(
            f"no paper's numbers are kept here for {options.pattern!r}; `resnets models --against papers` lists all there are"
        )
    if not options.json:
        console = results()
        columns = ("network", "what", "printed", "ours", "difference", "where", "reason")
        print_table(console, table("", columns, rows))
        console.print("a reason is given where ours neither rounds to the printed digits nor is within 1 % of them", soft_wrap=True)
    return 0


def _foreign(options: ModelsOptions) -> int:
    """Rows of other packages' networks, counted now."""
    from importlib.metadata import version

    from ...weights.foreign_network import foreign_parts, list_foreign

    names = list_foreign(options.pattern)
    if not names and any(letter in options.pattern for letter in "*?["):
        raise UserError(f"no network's name matches {options.pattern!r}")
    rows = []
    for name in names or [options.pattern]:
        cost = foreign_parts(name)
        package = name.partition("/")[0]
        origin = f"{package} {version(package)}"
        if options.json:
            value = {"name": name, "parameters": cost.parameters, "macs": cost.macs, "input_size": cost.size, "paper": origin}
            print_json(value)
        rows.append((name, giga(cost.parameters), giga(cost.macs), f"{cost.channels}×{cost.size}×{cost.size}", origin))
    if not options.json:
        print_table(results(), table("", ("network", "parameters", "multiply-adds", "input", "package"), rows))
    return 0


COMMAND = Command("models", ModelsOptions, "List the networks: parameters, multiply-adds at the native size, paper.", run)
