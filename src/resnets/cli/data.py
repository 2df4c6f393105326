"""resnets data: get, list and check data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..data.datasets import DATASETS
from ..data.sources import locate
from ..reports.tables import print_table, table
from .options import messages, parse, print_json, results

_IMAGENET = "ImageNet (ILSVRC2012): photographs, in a folder of yours"


@dataclass
class GetOptions:
    """Options of `resnets data get`."""

    name: tyro.conf.Positional[str]
    """Data set, by name."""
    folder: Path | None = None
    """A folder that holds its files already, to be checked."""
    json: bool = False
    """One object with the folder's path on standard output."""


@dataclass
class ListOptions:
    """Options of `resnets data list`."""

    json: bool = False
    """One object a data set on standard output."""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: resnets data list          the data sets\n       resnets data get NAME      find or fetch one, check it, print its folder\n"
            "       resnets data check DATA    what is wrong with one: damaged files, duplicates, leaks between splits, imbalance"
        )
        return 0
    action, rest = arguments[0], arguments[1:]
    if action == "get":
        return _get(parse(GetOptions, rest, "data get", "Find or fetch a data set, check every file, and print its folder."))
    if action == "check":
        from .data_check import run as check

        return check(rest)
    if action == "list":
        return _list(parse(ListOptions, rest, "data list", "List the data sets."))
    raise ValueError(f"resnets data has no action {action!r}; there are check, get and list")


def _get(options: GetOptions) -> int:
    path = locate(options.name, options.folder, report=messages().print)
    if options.json:
        print_json({"name": options.name, "path": str(path)})
    else:
        print(path)
    return 0


def _list(options: ListOptions) -> int:
    rows = []
    for name, info in DATASETS.items():
        if options.json:
            sizes = {"num_train": info.num_train, "num_test": info.num_test, "num_classes": len(info.classes)}
            print_json(
                {"name": name, "title": info.title, **sizes, "channels": info.channels, "size": info.size, "licence": info.licence}
            )
        rows.append(
            (
                name,
                info.title,
                f"{info.num_train:,}",
                f"{info.num_test:,}",
                len(info.classes),
                f"{info.channels}×{info.size}×{info.size}",
                info.licence,
            )
        )
    # Not to be fetched, and its pictures have sizes of their own: it is trained on like a folder, under its name or its path.
    if options.json:
        sizes = {"num_train": 1_281_167, "num_test": 50_000, "num_classes": 1_000}
        print_json({"name": "imagenet", "title": _IMAGENET, **sizes, "channels": 3, "size": None, "licence": "for research"})
    rows.append(("imagenet", _IMAGENET, "1,281,167", "50,000", 1_000, "3×any", "for research"))
    if not options.json:
        print_table(results(), table("", ("data set", "title", "training", "test", "classes", "picture", "licence"), rows))
    return 0
