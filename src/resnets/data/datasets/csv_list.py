"""A CSV of images: a header that names the columns path, label and perhaps split, then one image per line.

Paths are absolute or below the CSV's own folder; a label is a class's name. Columns beside these are left. Importing this module loads
no torch.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ...core.reading import TABLE_LIMIT, read_file
from ..errors import DataError
from ..image_source import ImageFiles
from .folders import SPLIT_FOLDERS, OwnImages, listed

_SHAPE = "the first line names the columns: path,label or path,label,split"


def find_csv(file: Path) -> OwnImages:
    """The images that a CSV lists, as they are in it. Without the column split they are one lot, "all".

    Raises:
        DataError: the file is no such table, or a line of it is wrong (the message has its number).
        OSError: the file cannot be read.
    """
    file = file.expanduser()
    rows = _rows(file)
    if not any((file.parent / path).exists() for path, _, _ in rows):
        raise DataError(
            f"{file} lists {len(rows):,} images, and not one of them is there; the first would be {file.parent / rows[0][0]}. Paths are "
            "absolute or begin at the CSV's own folder"
        )
    names = sorted({label for _, label, _ in rows})
    splits: dict[str, list[tuple[str, int]]] = {}
    label_of = {name: number for number, name in enumerate(names)}
    for path, label, split in rows:
        splits.setdefault(split, []).append((path, label_of[label]))
    base = "all" if "all" in splits else "train" if "train" in splits else None
    notes = []
    for split, images in splits.items():
        absent = [name for name in names if label_of[name] not in {label for _, label in images}]
        if absent and split == base:
            raise DataError(
                f"{file}: no image to train on has the label {listed(absent)}, which others have; a network cannot know a class that it "
                "was never shown"
            )
        if absent and base:
            notes.append(f"{split} has no images of {listed(absent)}, which are therefore not evaluated there")
    sources: dict[str, ImageFiles] = {
        split: _source(file, split, splits[split], tuple(names)) for split in ("train", "val", "test", "all") if split in splits
    }
    return OwnImages(file.stem, file, sources, {}, tuple(notes))


def _source(file: Path, split: str, images: list[tuple[str, int]], classes: tuple[str, ...]) -> ImageFiles:
    import numpy as np

    labels = np.array([label for _, label in images], np.int64)
    return ImageFiles(file.stem, split, file.parent, tuple(path for path, _ in images), labels, classes)


def _rows(file: Path) -> list[tuple[str, str, str]]:
    """Path, label and split ("all" where the table has no such column) of each line."""
    try:
        # Spreadsheets begin their UTF-8 files with a byte-order mark, which would be read as a part of the first column's name.
        content = read_file(file, limit=TABLE_LIMIT)
        text = content.decode("utf-8-sig", errors="strict")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{file}, line {line}: not UTF-8; save the file as CSV UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
    rows: list[tuple[str, str, str]] = []
    seen: dict[tuple[str, str], int] = {}
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        columns = _columns(file, header)
        for cells in reader:
            where = f"{file}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} {'value' if len(cells) == 1 else 'values'} for {len(header)} columns; put values that hold a "
                    "comma into quotation marks"
                )
            path, label, split = (cells[column].strip() if column is not None else None for column in columns)
            if not path or not label:
                raise DataError(f"{where}: the {'label' if path else 'path'} is empty")
            known = _split(where, split)
            if (first := seen.setdefault((path, known), reader.line_num)) != reader.line_num:
                raise DataError(f"{where}: {path} is listed already in line {first}; keep one of the two")
            rows.append((path, label, known))
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: {error}; is a quotation mark left open?") from None
    if not rows:
        raise DataError(f"{file} lists no images; {_SHAPE}")
    return rows


def _delimiter(text: str) -> str:
    """What is between the values: spreadsheets of some countries write semicolons, others tabs."""
    header = text.partition("\n")[0]
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _columns(file: Path, header: list[str]) -> tuple[int, int, int | None]:
    for wanted in ("path", "label"):
        if header.count(wanted) != 1:
            found = ", ".join(header) or "nothing"
            raise DataError(
                f"{file}, line 1: {'no' if wanted not in header else 'more than one'} column {wanted} (found: {found}); {_SHAPE}"
            )
    return header.index("path"), header.index("label"), header.index("split") if "split" in header else None


def _split(where: str, text: str | None) -> str:
    if text is None:
        return "all"
    for split, names in SPLIT_FOLDERS.items():
        if text.lower() in names:
            return split
    raise DataError(f"{where}: the split is {text!r}; it is train, val or test")
