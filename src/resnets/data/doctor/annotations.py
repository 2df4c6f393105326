"""The doctor of annotations: what is wrong with the boxes of a data set, beside what is wrong with its images.

Legend: N images, K classes, H W height and width in pixels. What can be found is the table `doctor_findings.KINDS`.
Importing this module loads no torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.reading import read_file
from ..annotations import coco, voc
from ..annotations.training_boxes import SLACK
from ..decoding.decode import EncodedImage
from ..errors import DataError, Unreadable
from ..image_source import ImageFiles
from .check import Progress, check_images, class_findings
from .findings import Checkup, Finding, in_order
from .stated import Size, Stated, StatedBox, StatedImage, stated_coco, stated_voc

_ONE_CLASS = ("images",)
"""Images with many objects have no class of their own: to the doctor of images all are of one, and what it says about classes is
left out."""
_OF_CLASSES = ("class-missing", "imbalance", "few-images", "contradiction")


def check_annotated(
    folder: Path,
    *,
    near_duplicates: bool = False,
    workers: int | None = None,
    seconds: float = 60.0,
    progress: Progress | None = None,
) -> tuple[Checkup, list[ImageFiles]]:
    """Examines the annotations of a folder in the layout of VOC, COCO or both, and every image that they name.

    Args:
        folder: of the data set.
        near_duplicates, workers, seconds, progress: as for `check_images`.

    Returns:
        What was found, in which the counts are of images that show a class; and the images by split.

    Raises:
        DataError: it is in neither layout, or names no image that is there.
        ChildProcessError: the processes cannot be started.
        OSError: a file cannot be read.
    """
    began = time.perf_counter()
    layouts = list(_layouts(folder))
    if not layouts:
        raise DataError(f"{folder} is in neither layout of annotated images, VOC's or COCO's")
    findings = [finding for stated in layouts for finding in stated.findings]
    main = layouts[0]
    for stated in layouts:
        sizes = {entry.name: _size_of(folder / entry.name) for split in stated.splits.values() for entry in split}
        for entry in (entry for split in stated.splits.values() for entry in split):
            findings += _about_image(folder, entry, sizes[entry.name])
    name = folder.resolve().name
    sources = _sources(folder, name, main)
    if not sources:
        raise DataError(f"{folder} holds none of the images that its annotations name; put them there")
    checked = check_images(
        sources, name=name, near_duplicates=near_duplicates, workers=workers, seconds=seconds, progress=progress
    )  # fmt: skip
    findings += [finding for finding in checked.findings if finding.kind not in _OF_CLASSES]
    counts = {split: _counts(main.classes, images) for split, images in main.splits.items()}
    findings += class_findings(main.classes, counts)
    images = {split: len(entries) for split, entries in main.splits.items()}
    objects = sum(len(entry.boxes) for entries in main.splits.values() for entry in entries)
    once = {(finding.kind, finding.names, finding.detail): finding for finding in reversed(findings)}
    made = replace(
        checked, classes=main.classes, counts=counts, images=images, objects=objects,
        findings=in_order(tuple(reversed(once.values()))), seconds=time.perf_counter() - began,
    )  # fmt: skip
    return made, sources


def _layouts(folder: Path) -> Iterator[Stated]:
    """COCO's, then VOC's; the trees of several years as one."""
    if coco.is_coco(folder):
        yield stated_coco(folder)
    trees = voc.trees(folder)
    joined = Stated()
    for tree in trees:
        part = stated_voc(folder, tree, f"{tree.name} " if len(trees) > 1 else "")
        joined.classes = tuple(dict.fromkeys((*joined.classes, *part.classes)))
        joined.splits.update(part.splits)
        joined.findings += part.findings
    if trees:
        yield joined


def _sources(folder: Path, name: str, stated: Stated) -> list[ImageFiles]:
    """The images that are there, by split."""
    made = []
    for split, entries in stated.splits.items():
        paths = tuple(dict.fromkeys(entry.name for entry in entries if (folder / entry.name).is_file()))
        if paths:
            made.append(ImageFiles(name, split, folder, paths, np.zeros(len(paths), np.int64), _ONE_CLASS))
    return made


def _counts(classes: Sequence[str], entries: Sequence[StatedImage]) -> tuple[int, ...]:
    """Images that show each class."""
    found = dict.fromkeys(classes, 0)
    for entry in entries:
        for label in {box.label for box in entry.boxes} & found.keys():
            found[label] += 1
    return tuple(found.values())


def _size_of(path: Path) -> tuple[Size, bool] | None:
    """H and W of a file, and whether EXIF data turns it by a right angle; None where that cannot be told, which others report."""
    try:
        image = EncodedImage(read_file(path), 3)
    except (OSError, Unreadable):
        return None
    return (image.height, image.width), image.is_turned


def _about_image(folder: Path, entry: StatedImage, found: tuple[Size, bool] | None) -> Iterator[Finding]:
    if not (folder / entry.name).is_file():
        yield Finding("image-missing", (entry.name,), "no such file", (entry.name,))
    if not entry.boxes:
        yield Finding("no-objects", (entry.name,))
    size = entry.size
    if found is not None:
        actual, is_turned = found
        # Boxes drawn on the image as it is stored are understood where EXIF data turns it.
        if size is not None and size != actual and not (is_turned and size == actual[::-1]):
            detail = f"the annotation says {size[1]} x {size[0]}, the file has {actual[1]} x {actual[0]}"
            yield Finding("size-differs", (entry.name,), detail)
            size = actual
        size = size or actual
    for box in entry.boxes:
        kind = box_kind(box, size)
        if kind is not None:
            within = f" in an image of {size[1]} x {size[0]}" if kind == "box-outside" and size is not None else ""
            yield Finding(kind, (entry.name,), f"{box.label}: {box.text}{within}")


def box_kind(box: StatedBox, size: Size | None) -> str | None:
    """What is wrong with a box in an image of H and W: a key of `KINDS`, or None."""
    left, top, right, bottom = box.box
    wide, high = right - left, bottom - top
    if wide < 0 or high < 0:
        return "box-inverted"
    if wide == 0 or high == 0:
        return "box-degenerate"
    if size is not None and (min(left, top) < -SLACK or right > size[1] + SLACK or bottom > size[0] + SLACK):
        return "box-outside"
    return "box-thin" if wide <= 1 or high <= 1 else None
