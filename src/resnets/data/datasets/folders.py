"""Folders of images: one folder per class, below train/ and val/ or directly in the folder that a user names.

Labels and order are those of torchvision's `ImageFolder`: classes by name, images by the path of their folder and then by name, whatever
is deeper in a class's folder included, links followed. What is no image by its name, and what is hidden, is counted and left.
Importing this module loads no torch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError
from ..image_source import ImageFiles

IMAGE_ENDINGS = (
    ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""What the names of image files end in, in lower case."""

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""By split: the names of its folder, in lower case; only one of each may be there."""
_LAYOUT = "it should hold train/CLASS/IMAGE and val/CLASS/IMAGE, or only CLASS/IMAGE"
_NAMED = 8
"""How many names a message lists before it counts the others."""


@dataclass(frozen=True, eq=False)
class OwnImages:
    """Images of a user, by split, with the same classes in each."""

    name: str
    root: Path
    splits: dict[str, ImageFiles]
    """ "train", "val" and "test", as far as they are there; or "all", where nothing says what is for training."""
    ignored: dict[str, int] = field(default_factory=dict)
    """How many files were left, by reason."""
    notes: tuple[str, ...] = ()
    """What else a user should know, in sentences."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, by label."""
        return next(iter(self.splits.values())).classes

    @property
    def training(self) -> ImageFiles:
        """The images to learn from, those to be held out included.

        Raises:
            DataError: there are none.
        """
        for split in ("train", "all"):
            if split in self.splits:
                return self.splits[split]
        raise DataError(f"{self.root} holds no images to learn from: {_LAYOUT}")

    @property
    def evaluation(self) -> ImageFiles | None:
        """The images that are meant for evaluation during training: val, else test; None where they have to be held out."""
        return self.splits.get("val") or self.splits.get("test")

    def messages(self) -> list[str]:
        """What was found, for a user to read."""
        parts = [f"{len(images):,} {'' if split == 'all' else split + ' '}images" for split, images in self.splits.items()]
        lines = [f"{self.root}: {', '.join(parts)} in {len(self.classes)} classes ({listed(self.classes)})"]
        if self.ignored:
            total = sum(self.ignored.values())
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.ignored.items())
            lines.append(f"{total:,} {'file was' if total == 1 else 'files were'} ignored: {reasons}")
        return lines + list(self.notes)


def listed(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def find_folder(folder: Path, *, lenient: bool = False) -> OwnImages:
    """The images in a folder.

    Args:
        lenient: keep a class that only some of the splits have, for whoever wants to report it.

    Raises:
        DataError: no images, two folders for one split, or (unless lenient) a class to evaluate on of which there is nothing to learn.
        OSError: the folder cannot be read.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    ignored: Counter[str] = Counter()
    notes: list[str] = []
    inside = _look(folder, ignored)
    split_folders = _split_folders(folder, inside)
    found = {split: _by_class(folder, f"{name}/", ignored) for split, name in split_folders.items()}
    if found:
        if others := sorted(set(inside) - set(split_folders.values())):
            notes.append(f"passed over beside {', '.join(f'{name}/' for name in split_folders.values())}: {listed(others)}")
    else:
        found = {"all": _by_class(folder, "", ignored, inside)}
    for split in [split for split, by_class in found.items() if split not in ("train", "all") and not any(by_class.values())]:
        notes.append(f"{split_folders[split]}/ has no images in folders of classes, and is not used")
        del found[split]
    classes = _agreed_classes(folder, found, notes, lenient)
    name = folder.resolve().name or "images"
    splits = {split: image_files(name, split, folder, by_class, classes) for split, by_class in found.items()}
    return OwnImages(name, folder, splits, dict(+ignored), tuple(notes))


def image_files(name: str, split: str, root: Path, by_class: Mapping[str, Sequence[str]], classes: tuple[str, ...]) -> ImageFiles:
    """A source of the images of each class, in the order of `classes`."""
    import numpy as np

    counts = [len(by_class.get(label, ())) for label in classes]
    paths = tuple(path for label in classes for path in by_class.get(label, ()))
    return ImageFiles(name, split, root, paths, np.repeat(np.arange(len(classes)), counts).astype(np.int64), classes)


def _split_folders(folder: Path, inside: list[str]) -> dict[str, str]:
    """The name of each split's folder; none where there is nothing to train on, for then the folders are classes."""
    named = {split: [name for name in inside if name.lower() in names] for split, names in SPLIT_FOLDERS.items()}
    for split, names in named.items():
        if len(names) > 1 and named["train"]:
            raise DataError(f"{folder} holds {' and '.join(f'{name}/' for name in names)}, both for {split}; keep one of them")
    meant = {split: names[0] for split, names in named.items() if names}
    if "train" in meant or (inside and set(meant.values()) == set(inside) and all(_look(folder / n, Counter()) for n in inside)):
        return meant
    return {}


def _look(folder: Path, ignored: Counter[str]) -> list[str]:
    """The names of the visible folders in a folder, in order; the files in it have no class and are counted."""
    folders = []
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            ignored["hidden"] += 1
        elif entry.is_dir():
            folders.append(entry.name)
        elif is_image(entry.name):
            ignored["outside of a class folder"] += 1
        else:
            ignored["no image by its name"] += 1
    return sorted(folders)


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(IMAGE_ENDINGS)


def _by_class(root: Path, below: str, ignored: Counter[str], names: list[str] | None = None) -> dict[str, list[str]]:
    """By class: the paths below `root` of its images, which are in `root/below/CLASS` and deeper."""
    names = _look(root / below, ignored) if names is None else names
    return {name: _images_in(root, below + name, ignored) for name in names}


def _images_in(root: Path, folder: str, ignored: Counter[str]) -> list[str]:
    """Paths below `root` of the images in a folder of it and deeper, ordered as torchvision orders them."""
    found = []
    seen: set[tuple[int, int]] = set()  # a link to a folder further up would lead round for ever
    for where, folders, files in os.walk(root / folder, followlinks=True):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        ignored["hidden"] += sum(name.startswith(".") for name in (*folders, *files))
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [name for name in files if not name.startswith(".")]
        images = [name for name in visible if is_image(name)]
        ignored["no image by its name"] += len(visible) - len(images)
        found += [(os.path.relpath(where, root).replace(os.sep, "/"), name) for name in images]
    return [f"{where}/{name}" for where, name in sorted(found)]


def _agreed_classes(
    folder: Path, found: Mapping[str, Mapping[str, Sequence[str]]], notes: list[str], lenient: bool
) -> tuple[str, ...]:
    """The classes of all splits: those that have images to learn from, or any where that does not matter."""
    base = None if lenient else next((split for split in ("train", "all") if split in found), None)
    filled = {split: sorted(name for name, paths in by_class.items() if paths) for split, by_class in found.items()}
    classes = filled[base] if base else sorted({name for names in filled.values() for name in names})
    empty = sorted({name for by_class in found.values() for name, paths in by_class.items() if not paths} - set(classes))
    if not classes:
        raise DataError(f"{folder} holds no images in folders of classes: {_LAYOUT}")
    for split, names in filled.items():
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise DataError(
                f"{folder}: {split} has images of {listed(unknown)}, of which {base} has none; a network cannot know a class that it "
                f"was never shown. Put images into {base}, or take the folders out of {split}"
            )
        missing = [name for name in classes if name not in names]
        if missing and split != base:
            notes.append(f"{split} has no images of {listed(missing)}, which are therefore not evaluated there")
    if empty:
        notes.append(f"folders without images, which are no classes: {listed(empty)}")
    return tuple(classes)
