"""`fashion-scenes`: a data set for detection and segmentation that anyone can make, without a network, from Fashion-MNIST.

Ten classes of garments, real ones, at several sizes, slightly tinted and partly hidden, on backgrounds that are invented anew for each scene.
Training scenes show training garments and the others test garments, so that what is measured is not memory. Every number of a scene
follows from the seed, the split and the scene's place: of two sets that differ in their number of scenes, the shorter is the beginning of
the longer one. Importing this module loads no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...core.errors import UserError
from ...core.files import atomic_folder, write_atomically
from ...core.reading import SETTINGS_LIMIT, read_file
from ..annotations.coco import CocoImages, open_coco
from ..annotations.objects import AnnotatedImages
from ..annotations.voc import open_voc
from ..errors import DataError
from ..sources.request import Report, cache_directory
from .garments import CLASSES, load_garments
from .scene_files import TREE, SplitFiles, make_folders
from .scenes import SceneSettings, draw
from .textures import Numbers

NAME = "fashion-scenes"
VERSION = 2
"""Counts the changes that make other scenes of the same seed."""
GARMENTS = {"train": "train", "val": "test"}
"""By split: the split of Fashion-MNIST whose garments it shows."""
MANIFEST = "scenes.json"
_COMPARED = 16
"""Every which scene has its masks compared when all are done."""

Progress = Callable[[int, int], None]
"""Told how many scenes are done, and of how many."""


class SceneSet(BaseModel):
    """All that a set follows from; it is beside the scenes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = VERSION
    seed: int = Field(0, ge=0)
    train: int = Field(16_000, ge=1, le=999_999)
    """Scenes to learn from."""
    val: int = Field(500, ge=1, le=999_999)
    """Scenes to evaluate on."""
    scenes: SceneSettings = SceneSettings()

    @property
    def counts(self) -> dict[str, int]:
        """Scenes by split."""
        return {"train": self.train, "val": self.val}


@dataclass(frozen=True)
class MadeScenes:
    """A set on disk."""

    folder: Path
    settings: SceneSet
    objects: dict[str, int]
    """By split."""


def default_folder() -> Path:
    """Where the set is kept if no other place is named."""
    return cache_directory() / NAME


def make_scenes(
    folder: Path | None = None,
    settings: SceneSet | None = None,
    *,
    garments: Path | None = None,
    report: Report,
    progress: Progress | None = None,
) -> MadeScenes:
    """Makes the set, or finds it made with the same settings.

    Args:
        folder: where it is to be; it appears whole or not at all. None for `fashion-scenes` in the folder of data sets.
        settings: None for the set that everybody has: 16,000 and 500 scenes, seed 0.
        garments: a folder that holds Fashion-MNIST's files.

    Raises:
        ValueError: the folder holds something else, or a set with other settings.
        DataError: Fashion-MNIST cannot be had, or the set made is not as it should be.
        OSError: it cannot be written.
    """
    folder = default_folder() if folder is None else folder.expanduser()
    settings = settings or SceneSet()
    if (folder / MANIFEST).exists():
        found = read_manifest(folder)
        if found.settings != settings:
            raise UserError(
                f"{folder} holds {NAME} with other settings, {_difference(found.settings, settings)}; name another folder"
            )
        report(f"{folder} holds these scenes already")
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    done, total = 0, sum(settings.counts.values())
    objects = {}
    try:
        with atomic_folder(folder) as unfinished:
            make_folders(unfinished)
            for number, (split, count) in enumerate(settings.counts.items()):
                source = load_garments(GARMENTS[split], garments, report)
                files = SplitFiles(unfinished, split, CLASSES)
                for index in range(count):
                    files.add(draw(source, settings.scenes, Numbers(settings.version, settings.seed, number, index)))
                    done += 1
                    if progress is not None:
                        progress(done, total)
                files.finish()
                objects[split] = len(files.annotations)
            _verify(unfinished, settings)
            manifest = {"name": NAME, "settings": settings.model_dump(), "objects": objects}
            write_atomically(unfinished / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    except FileExistsError:
        if not (folder / MANIFEST).exists():
            raise
        return make_scenes(folder, settings, garments=garments, report=report)  # another process was first
    return MadeScenes(folder, settings, objects)


def read_manifest(folder: Path) -> MadeScenes:
    """What a set on disk says of itself.

    Raises:
        DataError: it is damaged, or was made by another version.
        OSError: it cannot be read.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(read_file(path, limit=SETTINGS_LIMIT))
        settings = SceneSet.model_validate(content["settings"])
        objects = {str(split): int(number) for split, number in content["objects"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise DataError(f"{path} is damaged; delete {folder} and make the scenes anew: resnets data make {NAME}") from error
    if settings.version != VERSION:
        raise DataError(
            f"{folder} was made by version {settings.version} of the generator, and this is version {VERSION}; make it anew"
        )
    return MadeScenes(folder, settings, objects)


def open_scenes(split: str, folder: Path | None, report: Report) -> CocoImages:
    """One split of the set, which is made first where there is none.

    Args:
        split: "train" or "val".
        folder: holds the set, or Fashion-MNIST's files; None for the folder of data sets.

    Raises:
        ValueError: there is no such split.
        DataError: Fashion-MNIST cannot be had.
    """
    if split not in GARMENTS:
        raise UserError(f"{NAME} has no split {split!r}: there are train and val (whose garments are Fashion-MNIST's test images)")
    for place in (folder, None if folder is None else folder / NAME):
        if place is not None and (place / MANIFEST).exists():
            return _opened(place, split)
    if not (default_folder() / MANIFEST).exists():
        report(f"{NAME} is made once, in {default_folder()}; it takes two minutes")
        make_scenes(garments=folder, report=report)
    return _opened(default_folder(), split)


def _opened(folder: Path, split: str) -> CocoImages:
    made = read_manifest(folder)
    images = open_coco(folder, split, name=NAME)
    if len(images) != made.settings.counts[split]:
        raise DataError(
            f"{folder} has {len(images):,} scenes in {split} and should have {made.settings.counts[split]:,}; "
            f"delete it and make it anew: resnets data make {NAME}"
        )
    return images


def _difference(there: SceneSet, asked: SceneSet) -> str:
    first, second = ({**entry.model_dump(exclude={"scenes"}), **entry.scenes.model_dump()} for entry in (there, asked))
    return ", ".join(f"{name} {first[name]} and not {second[name]}" for name in first if first[name] != second[name])


def _verify(folder: Path, settings: SceneSet) -> None:
    """Reads what was written, in both layouts.

    Raises:
        DataError: they differ, or are not what was asked for.
    """
    for split, count in settings.counts.items():
        both: list[AnnotatedImages] = [open_coco(folder, split), open_voc(folder / TREE, split)]
        if [len(images) for images in both] != [count, count]:
            raise DataError(f"{folder} has {[len(images) for images in both]} scenes in {split} where {count} were made")
        for index in range(count):
            coco, voc = (images.objects(index) for images in both)
            height, width = both[0].size_of(index)
            same = np.array_equal(coco.boxes, voc.boxes) and np.array_equal(coco.labels, voc.labels)
            inside = (coco.boxes >= 0).all() and (coco.boxes[:, 2:] <= (width, height)).all()
            whole = (coco.boxes[:, 2:] > coco.boxes[:, :2]).all() and both[1].size_of(index) == (height, width)
            if not (same and inside and whole):
                raise DataError(f"{both[0].name_of(index)} was written with other objects than it has: {coco.boxes.tolist()}")
            if index % _COMPARED == 0 and not np.array_equal(both[0].mask(index), both[1].mask(index)):
                raise DataError(f"{both[0].name_of(index)} has two masks that differ")
