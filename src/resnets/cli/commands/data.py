"""resnets data: get, list and check data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ...core.errors import UserError
from ...data.datasets.catalogue import DATASETS
from ...data.datasets.locate import locate
from ...networks.zoo import explain
from ...reports.tables import print_table, table
from ..command import Command, Group
from ..options import messages, print_json, print_text, results
from .data_check import COMMAND as CHECK

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
class MakeOptions:
    """Options of `resnets data make`."""

    name: tyro.conf.Positional[str]
    """The data set: fashion-scenes."""
    output: Path | None = None
    """Folder for it, which must not be there yet; unset: fashion-scenes in the folder of data sets, where training looks for it."""
    train: int = 16_000
    """Scenes to learn from, with garments of Fashion-MNIST's training images."""
    val: int = 500
    """Scenes to evaluate on, with garments of its test images."""
    seed: int = 0
    """Other numbers give other scenes."""
    size: int = 192
    """Pixels of the longest side that a scene can have; each side is 5/6 of it at least."""
    smallest: int = 48
    """Pixels of the longer side of the smallest garments."""
    largest: int = 96
    """Pixels of the longer side of the largest garments."""
    objects: int = 8
    """Garments of a scene at most."""
    data_folder: Path | None = None
    """Folder that holds Fashion-MNIST's files; unset: cache, system, then download."""
    json: bool = False
    """One object with the folder's path and what is in it on standard output."""


@dataclass
class ListOptions:
    """Options of `resnets data list`."""

    json: bool = False
    """One object a data set on standard output."""


def _get(options: GetOptions) -> int:
    from ...data.annotated.opening import ANNOTATED, folder_of

    if options.name in ANNOTATED:
        path = folder_of(options.name, options.folder)
    else:
        path = locate(options.name, options.folder, report=messages().print)
    if options.json:
        print_json({"name": options.name, "path": str(path)})
    else:
        print_text(path)
    return 0


def _make(options: MakeOptions) -> int:
    from pydantic import ValidationError

    from ...data.synthetic.fashion_scenes import NAME, SceneSet, make_scenes
    from ...data.synthetic.scenes import SceneSettings
    from .data_check import shown_progress

    if options.name != NAME:
        raise UserError(f"resnets data make makes {NAME} and no {options.name!r}")
    try:
        scenes = SceneSettings(size=options.size, smallest=options.smallest, largest=options.largest, objects=options.objects)
        settings = SceneSet(seed=options.seed, train=options.train, val=options.val, scenes=scenes)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    with shown_progress(NAME, "making", "made", "scenes") as told:
        made = make_scenes(options.output, settings, garments=options.data_folder, report=messages().print, progress=told)
    if options.json:
        print_json({"name": NAME, "path": str(made.folder), "settings": settings.model_dump(), "num_objects": made.objects})
    else:
        print_text(made.folder)
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
    # Not to be fetched, and its images have sizes of their own: it is trained on like a folder, under its name or its path.
    if options.json:
        sizes = {"num_train": 1_281_167, "num_test": 50_000, "num_classes": 1_000}
        print_json({"name": "imagenet", "title": _IMAGENET, **sizes, "channels": 3, "size": None, "licence": "for research"})
    rows.append(("imagenet", _IMAGENET, "1,281,167", "50,000", 1_000, "3×any", "for research"))
    from ...data.annotated.opening import ANNOTATED

    for annotated in ANNOTATED.values():
        if options.json:
            sizes = {"num_train": annotated.num_train, "num_test": annotated.num_val, "num_classes": annotated.num_classes}
            print_json(
                {
                    "name": annotated.name,
                    "title": annotated.title,
                    **sizes,
                    "channels": 3,
                    "size": None,
                    "licence": annotated.licence,
                }
            )
        rows.append(
            (
                annotated.name,
                annotated.title,
                f"{annotated.num_train:,}",
                f"{annotated.num_val:,}",
                annotated.num_classes,
                "3×any",
                annotated.licence,
            )
        )
    if not options.json:
        print_table(results(), table("", ("data set", "title", "training", "test", "classes", "image", "licence"), rows))
    return 0


COMMAND = Group(
    "data",
    "Get, list, make and check data sets.",
    {
        "list": ("the data sets", Command("data list", ListOptions, "List the data sets.", _list)),
        "get": (
            "find or fetch one, check it, print its folder",
            Command("data get", GetOptions, "Find or fetch a data set, check every file, and print its folder.", _get),
        ),
        "make": (
            "make one: fashion-scenes, for detection and segmentation",
            Command("data make", MakeOptions, "Make a data set with boxes and masks from Fashion-MNIST, without a network.", _make),
        ),
        "check": ("what is wrong with one: damaged files, duplicates, leaks between splits, imbalance", CHECK),
    },
)
