"""ImageNet as it is published (ILSVRC2012): train/WNID/*.JPEG, and val/ in folders of classes or flat, with the devkit's ground truth.

Labels are the places of the sorted WNIDs, as torchvision's and its weights' are. The devkit numbers the same classes from 1 in an order of
its own, which `meta.mat` translates. Importing this module loads no torch.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import DataError, NotThere
from .folders import OwnImages, find_folder, image_files, is_image
from .mat import read_structs

_WNID = re.compile(r"n\d{8}")
_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_DEVKITS = (".", "data", "ILSVRC2012_devkit_t12/data", "devkit/data", "devkit")
"""Where the devkit's files may be below the folder."""


def has_flat_validation(folder: Path) -> bool:
    """Whether a folder's val/ holds ImageNet's validation images without folders of classes."""
    places = [folder / "val"] if (folder / "val").is_dir() else []
    return any(_VALIDATION.fullmatch(path.name) for place in places for path in place.iterdir())


def check_layout(folder: Path) -> None:
    """Looks whether a folder holds ImageNet.

    Raises:
        NotThere: there is no folder, or it is laid out otherwise.
    """
    if not folder.is_dir():
        raise NotThere(f"there is no folder {folder}")
    for split in ("train", "val"):
        if not (folder / split).is_dir():
            raise NotThere(f"{folder} lacks {split}/")
    if not any(_WNID.fullmatch(path.name) for path in (folder / "train").iterdir()):
        raise NotThere(f"{folder / 'train'} has no folders of classes such as n01440764")


def find_imagenet(folder: Path) -> OwnImages:
    """The images of ImageNet, or of some of its classes, in a folder.

    Raises:
        DataError: a flat val/ whose ground truth is missing or does not fit.
        OSError: the folder cannot be read.
    """
    own = find_folder(folder)
    if not has_flat_validation(folder):
        return own
    by_class: dict[str, list[str]] = {}
    names = validation_classes(folder)
    left = 0
    for path in sorted((folder / "val").iterdir()):
        match = _VALIDATION.fullmatch(path.name)
        if match is None:
            left += is_image(path.name)
            continue
        number = int(match[1])
        if not 1 <= number <= len(names):
            raise DataError(f"{path} has no line in {TRUTH}, which has {len(names):,}; get the devkit of ILSVRC2012")
        by_class.setdefault(names[number - 1], []).append(f"val/{path.name}")
    unknown = sorted(by_class.keys() - set(own.classes))
    if unknown:
        # A part of ImageNet: images of classes that are not there to learn are no use for evaluation.
        left += sum(len(by_class.pop(name)) for name in unknown)
    found = sum(map(len, by_class.values()))
    ignored = {reason: count for reason, count in own.ignored.items() if reason != "outside of a class folder"}
    outside = own.ignored.get("outside of a class folder", 0) - found - left
    ignored |= {reason: n for reason, n in (("outside of a class folder", outside), ("of classes not in train/", left)) if n > 0}
    notes = tuple(note for note in own.notes if not note.startswith("val/"))
    splits = {**own.splits, "val": image_files(own.name, "val", folder, by_class, own.classes)}
    return OwnImages(own.name, folder, splits, ignored, notes)


def validation_classes(folder: Path) -> list[str]:
    """The WNID of each validation image, by its number less one, from the devkit in or below a folder.

    Raises:
        DataError: the devkit is not there, or its files do not fit each other.
        OSError: they cannot be read.
    """
    kit = next((folder / place for place in _DEVKITS if (folder / place / TRUTH).is_file()), None)
    if kit is None:
        raise DataError(
            f"{folder / 'val'} is flat, and {TRUTH} is neither in {folder} nor in its {', '.join(_DEVKITS[1:])}: unpack "
            f"ILSVRC2012_devkit_t12.tar.gz in {folder}, or move the images into folders of classes"
        )
    of_number = class_order(kit / "meta.mat")
    found = []
    for line, text in enumerate((kit / TRUTH).read_text(encoding="ascii").split(), start=1):
        if not text.isdigit() or int(text) not in of_number:
            raise DataError(f"{kit / TRUTH}, line {line}: {text!r} is the number of no class; get a fresh copy of the devkit")
        found.append(of_number[int(text)])
    return found


def class_order(meta: Path) -> dict[int, str]:
    """The WNID of each of the devkit's class numbers; only classes without parts count, which are those that images have.

    Raises:
        DataError: the file is damaged or another.
        OSError: it cannot be read.
    """
    synsets = read_structs(meta, "synsets")
    try:
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets if int(row["num_children"]) == 0}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{meta} is not the devkit's: its synsets have no {error}") from error
