"""Pictures held out of those to learn from, the file that remembers which, and the lists of pictures to leave out.

Legend: N pictures. Importing this module loads no torch.
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
from ..image_source import PictureFiles
from .folders import listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEADER = ("path", "label", "split")
_LOSSLESS = "surrogateescape"
"""Keeps the bytes of file names that are no UTF-8."""


def chosen(pictures: PictureFiles, indices: NDArray[np.int64], split: str) -> PictureFiles:
    """The pictures at `indices`, as another split."""
    paths = tuple(pictures.paths[i] for i in indices.tolist())
    return dataclasses.replace(pictures, split=split, paths=paths, labels=pictures.labels[indices])


def hold_out(pictures: PictureFiles, share: float, seed: int) -> tuple[PictureFiles, PictureFiles]:
    """Hold out a share of the pictures to evaluate on: (rest, held out), each in the order of `pictures`.

    The part has round(share * N) pictures, stratified, and depends on the labels, the share and the seed alone. The only picture of a class
    is never held out.

    Raises:
        ValueError: the share leaves one of the parts, or a class's part to learn from, empty.
    """
    import numpy as np

    from .catalogue import stratified_split

    counts = np.bincount(pictures.labels, minlength=len(pictures.classes))
    several = np.flatnonzero(counts[pictures.labels] > 1)
    num_held = min(round(share * len(pictures)), len(several)) if 0 < share < 1 else 0
    if not 0 < num_held < len(pictures):
        raise UserError(
            f"holdout={share} of {len(pictures):,} pictures leaves one part empty; choose another share, or add pictures"
        )
    held = several[stratified_split(pictures.labels[several], num_held, seed)[1]]
    rest = np.setdiff1d(np.arange(len(pictures)), held)
    left = np.bincount(pictures.labels[rest], minlength=len(counts))
    if emptied := [pictures.classes[i] for i in np.flatnonzero((left == 0) & (counts > 0))]:
        raise UserError(f"holdout={share} leaves no picture of {listed(emptied)} to learn from; choose a smaller share")
    return chosen(pictures, rest, "train"), chosen(pictures, held, "val")


def split_file(rest: PictureFiles, held: PictureFiles) -> bytes:
    """Both parts as a CSV of path, label and split, which `read_split_file` takes."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_HEADER)
    for part in (rest, held):
        table.writerows(
            (path, part.classes[label], part.split) for path, label in zip(part.paths, part.labels.tolist(), strict=True)
        )
    return text.getvalue().encode("utf-8", _LOSSLESS)


def read_split_file(file: Path, pictures: PictureFiles) -> tuple[PictureFiles, PictureFiles, int]:
    """The parts of `pictures` that a file of `split_file` remembers, and how many pictures came since and belong to neither.

    A picture that is gone since stays listed: reading it fails, and it is counted where it is missed.

    Raises:
        DataError: the file is damaged, or a class in it is none of these pictures'.
        OSError: the file cannot be read.
    """
    import numpy as np

    rows = list(csv.reader(io.StringIO(read_file(file, limit=TABLE_LIMIT).decode("utf-8", _LOSSLESS), newline="")))
    if not rows or tuple(rows[0]) != _HEADER or any(len(row) != 3 or row[2] not in ("train", "val") for row in rows[1:]):
        raise DataError(f"{file} is damaged: it is no table of path, label and split")
    label_of = {name: number for number, name in enumerate(pictures.classes)}
    unknown = sorted({row[1] for row in rows[1:]} - label_of.keys())
    if unknown or len({row[1] for row in rows[1:] if row[2] == "train"}) != len(label_of):
        raise DataError(f"the classes are not those with which the run began ({file}): {listed(unknown or pictures.classes)}")
    parts = []
    for split in ("train", "val"):
        own = [row for row in rows[1:] if row[2] == split]
        labels = np.array([label_of[row[1]] for row in own], np.int64)
        parts.append(dataclasses.replace(pictures, split=split, paths=tuple(row[0] for row in own), labels=labels))
    return parts[0], parts[1], len(set(pictures.paths) - {row[0] for row in rows[1:]})


def read_exclusions(file: Path) -> frozenset[str]:
    """The names of pictures to leave out: one a line, or the column name or path of a CSV, as `resnets data check` writes it.

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


def without(pictures: PictureFiles, names: Collection[str], *, whole: bool = True) -> PictureFiles:
    """The pictures whose names, with or without the folder before them, are not among `names`.

    Raises:
        ValueError: no picture of some class is left, where all classes have to stay `whole`.
    """
    import numpy as np

    names = set(names)
    kept = [i for i, path in enumerate(pictures.paths) if path not in names and str(pictures.root / path) not in names]
    if len(kept) == len(pictures):
        return pictures
    left = chosen(pictures, np.array(kept, np.int64), pictures.split)
    gone = set(pictures.labels.tolist()) - set(left.labels.tolist())
    if gone and whole:
        raise UserError(
            f"the exclusion list leaves no picture of {listed([pictures.classes[i] for i in sorted(gone)])} in {pictures.split}; "
            "take some off it, or take the class out of the data"
        )
    return left
