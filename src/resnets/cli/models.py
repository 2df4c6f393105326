"""resnets models: the zoo as a table."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from ..networks import FAMILIES, get_row, list_models
from ..reports.tables import giga, print_table, table
from .options import parse, print_json, results


@dataclass
class ModelsOptions:
    """Options of `resnets models`."""

    pattern: tyro.conf.Positional[str] = "*"
    """Names to show, with * and ?; one name of a family, such as wrn-22-3; or torchvision/NAME or timm/NAME, such as
    torchvision/vgg19, for another package's network."""
    json: bool = False
    """One object a network on standard output."""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    options = parse(ModelsOptions, arguments, "models", "List the networks: parameters, multiply-adds at the native size, paper.")
    if "/" in options.pattern:
        return _foreign(options)
    from ..inspection.zoo_costs import zoo_cost

    names = list_models(options.pattern)
    if not names and any(letter in options.pattern for letter in "*?["):
        raise ValueError(f"no network's name matches {options.pattern!r}; `resnets models` lists them all")
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


def _foreign(options: ModelsOptions) -> int:
    """Rows of other packages' networks, counted now."""
    from importlib.metadata import version

    from ..weights.foreign_network import foreign_cost, list_foreign

    names = list_foreign(options.pattern)
    if not names and any(letter in options.pattern for letter in "*?["):
        raise ValueError(f"no network's name matches {options.pattern!r}")
    rows = []
    for name in names or [options.pattern]:
        parameters, macs, size = foreign_cost(name)
        package = name.partition("/")[0]
        origin = f"{package} {version(package)}"
        if options.json:
            print_json({"name": name, "parameters": parameters, "macs": macs, "input_size": size, "paper": origin})
        rows.append((name, giga(parameters), giga(macs), f"{size}×{size}", origin))
    if not options.json:
        print_table(results(), table("", ("network", "parameters", "multiply-adds", "input", "package"), rows))
    return 0
