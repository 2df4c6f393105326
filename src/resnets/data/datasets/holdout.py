"""Images held out of those to learn from, the file that remembers which, and the lists of images to leave out.

Legend: N images. Importing this module loads no torch.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ...core.reading import TABLE_LIMIT, read_file
from ..errors import DataError
from ..image_source import ImageFiles
from .folders import listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEADER = ("path", "label", "split")
_LOSSLESS = "surrogateescape"
"""Keeps the bytes of file names that are no UTF-8."""


def chosen(images: ImageFiles, indices: NDArray[np.int64], split: str) -> ImageFiles:
    """The images at `indices`, as another split."""
    paths = tuple(images.paths[i] for i in indices.tolist())
    return dataclasses.replace(images, split=split, paths=paths, labels=images.labels[indices])


def hold_out(images: ImageFiles, share: float, seed: int) -> tuple[ImageFiles, ImageFiles]:
    """Hold out a share of the images to evaluate on: (rest, held out), each in the order of `images`.

    The part has round(share * N) images, stratified, and depends on the labels, the share and the seed alone. The only image of a class
    is never held out.

    Raises:
        ValueError: the share leaves one of the parts, or a class's part to learn from, empty.
    """
    import numpy as np

    from .catalogue import stratified_split

    counts = np.bincount(images.labels, minlength=len(images.classes))
    several = np.flatnonzero(counts[images.labels] > 1)
    num_held = min(round(share * len(images)), len(several)) if 0 < share < 1 else 0
    if not 0 < num_held < len(images):
        raise UserError(f"holdout={share} of {len(images):,} images leaves one part empty; choose another share, or add images")
    held = several[stratified_split(images.labels[several], num_held, seed)[1]]
    rest = np.setdiff1d(np.arange(len(images)), held)
    left = np.bincount(images.labels[rest], minlength=len(counts))
    if emptied := [images.classes[i] for i in np.flatnonzero((left == 0) & (counts > 0))]:
        raise UserError(f"holdout={share} leaves no image of {listed(emptied)} to learn from; choose a smaller share")
    return chosen(images, rest, "train"), chosen(images, held, "val")


def split_file(rest: ImageFiles, held: ImageFiles) -> bytes:
    """Both parts as a CSV of path, label and split, which `read_split_file` takes."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_HEADER)
    for part in (rest, held):
        table.writerows(
            (path, part.classes[label], part.split) for path, label in zip(part.paths, part.labels.tolist(), strict=True)
        )
    return text.getvalue().encode("utf-8", _LOSSLESS)


def read_split_file(file: Path, images: ImageFiles) -> tuple[ImageFiles, ImageFiles, int]:
    """The parts of `images` that a file of `split_file` remembers, and how many images came since and belong to neither.

    An image that is gone since stays listed: reading it fails, and it is counted where it is missed.

    Raises:
        DataError: the file is damaged, or a class in it is none of these images'.
        OSError: the file cannot be read.
    """
    import numpy as np

    rows = list(csv.reader(io.StringIO(read_file(file, limit=TABLE_LIMIT).decode("utf-8", _LOSSLESS), newline="")))
    if not rows or tuple(rows[0]) != _HEADER or any(len(row) != 3 or row[2] not in ("train", "val") for row in rows[1:]):
        raise DataError(f"{file} is damaged: it is no table of path, label and split")
    label_of = {name: number for number, name in enumerate(images.classes)}
    unknown = sorted({row[1] for row in rows[1:]} - label_of.keys())
    if unknown or len({row[1] for row in rows[1:] if row[2] == "train"}) != len(label_of):
        raise DataError(f"the classes are not those with which the run began ({file}): {listed(unknown or images.classes)}")
    parts = []
    for split in ("train", "val"):
        own = [row for row in rows[1:] if row[2] == split]
        labels = np.array([label_of[row[1]] for row in own], np.int64)
        parts.append(dataclasses.replace(images, split=split, paths=tuple(row[0] for row in own), labels=labels))
    return parts[0], parts[1], len(set(images.paths) - {row[0] for row in rows[1:]})


def read_exclusions(file: Path) -> frozenset[str]:
    """The names of images to leave out: one per line, or the column name or path of a CSV, as `resnets data check` writes it.

    Raises:
        OSError: the file cannot be read.
    """
    text = read_file(file, limit=TABLE_LIMIT).decode("utf-8", _LOSSLESS).removeprefix("\ufeff")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    header = [name.strip().lower() for name in rows[0]] if rows else []
    column = next((header.index(name) for name in ("name", "path") if name in header), None)
    if column is not None:
        return frozenset(row[column] for row in rows[1:] if len(row) > column)
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def without(images: ImageFiles, names: Collection[str], *, whole: bool = True) -> ImageFiles:
    """The images whose names, with or without the folder before them, are not among `names`.

    Raises:
        ValueError: no image of some class is left, where all classes have to stay `whole`.
    """
    import numpy as np

    names = set(names)
    kept = [i for i, path in enumerate(images.paths) if path not in names and str(images.root / path) not in names]
    if len(kept) == len(images):
        return images
    left = chosen(images, np.array(kept, np.int64), images.split)
    gone = set(images.labels.tolist()) - set(left.labels.tolist())
    if gone and whole:
        raise UserError(
            f"the exclusion list leaves no image of {listed([images.classes[i] for i in sorted(gone)])} in {images.split}; "
            "take some off it, or take the class out of the data"
        )
    return left
