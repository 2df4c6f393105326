"""COCO's annotation files: objects with boxes and masks in one JSON file a split.

Legend: N images, n objects of one image, K classes, H W height and width in pixels. COCO numbers its categories with gaps (80 of 1 to
90); labels here are places among the categories in the order of their numbers, and `category_ids` leads back.
Source: "Data format", https://cocodataset.org/#format-data. Importing this module loads no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.reading import TABLE_LIMIT, read_file
from ..datasets.folders import SPLIT_FOLDERS
from ..errors import DataError
from .objects import IGNORED, AnnotatedFiles, Objects, ObjectTable
from .polygons import inside_polygons
from .rle import from_run_lengths, uncompressed

Segmentation = NDArray[np.float64] | tuple[NDArray[np.float64], ...] | dict[str, Any] | None

_ROBOFLOW = "_annotations.coco.json"
"""The name under which some tools export a split, beside its images."""
_MOST_CLASSES = 254
"""That a mask of bytes can tell apart, beside background and what is ignored."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoImages(AnnotatedFiles):
    """One split's images."""

    image_ids: tuple[int, ...]
    """(N,): COCO's number of each image, as results are handed in."""
    category_ids: tuple[int, ...]
    """(K,): COCO's number of each class."""
    annotation_ids: NDArray[np.int64]
    """(M,): COCO's number of each object, in the order of the table."""
    outlines: tuple[tuple[Any, ...], ...]
    """By image: the segmentation of each of its objects as the file has it, None where there is none."""

    def object_mask(self, index: int, row: int) -> NDArray[np.bool_]:
        """(H, W) of one object of an image.

        Raises:
            ValueError: it has none, or one that is none.
        """
        found = self.outlines[index][row]
        if not found:
            raise UserError(f"{self.name} {self.split}: object {row} of {self.name_of(index)} has a box and no mask")
        try:
            return object_mask(found, self.size_of(index))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{self.name_of(index)}: the mask of object {row} cannot be read: {error}") from error

    def mask(self, index: int) -> NDArray[np.uint8]:
        """(H, W): 0 for background, 1 to K for the classes, 255 where masks of two objects overlap.

        It is what torchvision's segmentation reference trains on (coco_utils.py), crowds included, so that figures can be compared.

        Raises:
            ValueError: an object has no mask, or one that cannot be read, or there are too many classes.
        """
        if len(self.classes) > _MOST_CLASSES:
            raise UserError(f"{self.name} has {len(self.classes)} classes, and masks are for {_MOST_CLASSES} at most")
        made = np.zeros(self.size_of(index), np.uint8)
        covered = np.zeros(made.shape, np.uint8)
        for row, label in enumerate(self.objects(index).labels.tolist()):
            mask = self.object_mask(index, row)
            made[mask] = label + 1
            covered += mask & (covered < 2)
        made[covered > 1] = IGNORED
        return made


def object_mask(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of a segmentation: polygons, run lengths, or compressed run lengths.

    Raises:
        ValueError: it is none of these, or of another size.
    """
    if isinstance(segmentation, Mapping):
        stated = tuple(segmentation["size"])
        if stated != size:
            raise UserError(f"it is of {stated[0]} x {stated[1]} and the image of {size[0]} x {size[1]} pixels")
        counts = segmentation["counts"]
        return from_run_lengths(uncompressed(counts) if isinstance(counts, str) else counts, size)
    return inside_polygons([np.asarray(polygon, np.float64) for polygon in segmentation], size)


def open_coco(
    folder: Path, split: str, *, name: str = "", pattern: str | None = None, report: Callable[[str], None] | None = None
) -> CocoImages:
    """One split of a data set in COCO's layout.

    Args:
        folder: holds annotations/ and the folders of images, or train/, valid/ with a _annotations.coco.json each.
        split: "train", "val" or "test".
        name: of the data set; empty for the folder's.
        pattern: a regular expression for the annotation file's name, where there may be several years.
        report: told of annotations that are passed over.

    Raises:
        DataError: there is no such file or more than one, or it is no COCO file; the message names the image and the numbers.
        OSError: it cannot be read.
    """
    path = annotation_file(folder, split, pattern)
    content = read_json(path)
    name = name or folder.resolve().name
    try:
        return _images(content, path, folder, split, name, report)
    except DataError:
        raise
    except (KeyError, TypeError, AttributeError, OverflowError, ValueError) as error:
        what = f"an entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is no annotation file of COCO: {what}") from error


def annotation_files(folder: Path, split: str) -> list[Path]:
    """The files that may be the annotations of a split, in order of name."""
    names = "|".join(SPLIT_FOLDERS[split])
    own = re.compile(rf"(instances_)?({names})(\d{{4}})?\.json", re.IGNORECASE)
    found = [path for path in _entries(folder / "annotations") if own.fullmatch(path.name)]
    beside = [folder / part / _ROBOFLOW for part in SPLIT_FOLDERS[split]]
    return found + [path for path in beside if path.is_file()]


def annotation_file(folder: Path, split: str, pattern: str | None = None) -> Path:
    """The annotations of a split.

    Raises:
        DataError: there are none, or several.
    """
    found = [path for path in annotation_files(folder, split) if pattern is None or re.fullmatch(pattern, path.name)]
    if len(found) != 1:
        wanted = f"annotations/instances_{split}2017.json (or annotations/{split}.json, or {split}/{_ROBOFLOW})"
        if not found:
            raise DataError(f"{folder} has no annotations of {split} in COCO's layout: there should be {wanted}")
        raise DataError(f"{folder} has several annotation files for {split}: {', '.join(path.name for path in found)}; keep one")
    return found[0]


def is_coco(folder: Path) -> bool:
    """Whether a folder is in COCO's layout."""
    return any(annotation_files(folder, split) for split in SPLIT_FOLDERS)


def read_json(path: Path) -> dict[str, Any]:
    """The content of an annotation file.

    Raises:
        DataError: it is no JSON, or has no images, annotations and categories.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(read_file(path, limit=TABLE_LIMIT))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError too
        raise DataError(f"{path} is no JSON file: {error}; get a fresh copy") from error
    kinds = ("images", "annotations", "categories")
    if not isinstance(content, dict) or any(not isinstance(content.get(kind), list) for kind in kinds):
        raise DataError(f"{path} is no annotation file of COCO: it needs lists {', '.join(kinds)}")
    return content


def categories(content: Mapping[str, Any]) -> dict[int, str]:
    """Names by number, in the order of the numbers."""
    return dict(sorted((int(entry["id"]), str(entry["name"])) for entry in content["categories"]))


def image_root(folder: Path, annotations: Path, split: str, first: str | None) -> tuple[Path, str]:
    """The folder below which file names are meant, and the part of it below `folder`, by where the first image is.

    Raises:
        DataError: it is nowhere.
    """
    stem = annotations.stem.removeprefix("instances_")
    if annotations.name == _ROBOFLOW:
        return folder, annotations.parent.name
    places = [stem, f"images/{stem}", *SPLIT_FOLDERS[split], *(f"images/{part}" for part in SPLIT_FOLDERS[split]), "images", ""]
    for place in places:
        if first is None or (folder / place / first).is_file():
            return folder, place
    raise DataError(
        f"{folder}: the image {first} of {annotations.name} is in none of "
        f"{', '.join(f'{place}/' for place in dict.fromkeys(places) if place)} and not in the folder itself; put the images into {stem}/"
    )


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _images(
    content: Mapping[str, Any], path: Path, folder: Path, split: str, name: str, report: Callable[[str], None] | None
) -> CocoImages:
    """Raises KeyError and TypeError for entries that are not COCO's."""
    names = categories(content)
    if len(names) != len(content["categories"]):
        raise DataError(f"{path}: two categories have the same number; each needs its own")
    if not content["images"]:
        raise DataError(f"{path} lists no images")
    labels = {number: label for label, number in enumerate(names)}
    places: dict[int, int] = {}
    for place, entry in enumerate(content["images"]):
        if entry["id"] in places:
            raise DataError(
                f"{path}: two images have the number {entry['id']}, {entry['file_name']} one of them; each needs its own"
            )
        places[entry["id"]] = place
    found: list[list[Mapping[str, Any]]] = [[] for _ in places]
    orphans = 0
    for entry in content["annotations"]:
        if entry["image_id"] not in places:
            orphans += 1
            continue
        if entry["category_id"] not in labels:
            raise DataError(
                f"{path}: annotation {entry['id']} of {content['images'][places[entry['image_id']]]['file_name']} is of category "
                f"{entry['category_id']}, which is not listed; add the category or remove the annotation"
            )
        found[places[entry["image_id"]]].append(entry)
    if orphans and report is not None:
        report(f"{path}: {orphans:,} annotations are of images that are not listed, and passed over")
    files = [str(entry["file_name"]) for entry in content["images"]]
    root, below = image_root(folder, path, split, files[0] if files else None)
    return CocoImages(
        name=name, split=split, classes=tuple(names.values()), root=root,
        paths=tuple(f"{below}/{file}" if below else file for file in files),
        sizes=np.array([_size(entry, path) for entry in content["images"]], np.int32).reshape(-1, 2),
        table=ObjectTable.joined(_objects(entries, labels, file) for entries, file in zip(found, files, strict=True)),
        image_ids=tuple(places), category_ids=tuple(names),
        annotation_ids=np.array([entry["id"] for entries in found for entry in entries], np.int64),
        outlines=tuple(tuple(_packed(entry.get("segmentation")) for entry in entries) for entries in found),
    )  # fmt: skip


def _objects(entries: Sequence[Mapping[str, Any]], labels: Mapping[int, int], file: str) -> Objects:
    """COCO's boxes are x, y, width and height."""
    boxes = [corners(entry["bbox"], file) for entry in entries]
    return Objects.of(
        boxes,
        [labels[entry["category_id"]] for entry in entries],
        crowd=[bool(entry.get("iscrowd", 0)) for entry in entries],
        areas=[_area(entry, box, file) for entry, box in zip(entries, boxes, strict=True)],
    )


def corners(box: Any, file: str) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 of COCO's x, y, width and height.

    Raises:
        DataError: it is no four finite numbers.
    """
    sound = isinstance(box, list) and len(box) == 4 and all(_is_number(number) for number in box)
    if not sound:
        raise DataError(f"{file}: the box {box} is no four numbers (x, y, width, height); correct or remove it")
    left, top, width, height = box
    return left, top, left + width, top + height


def _size(entry: Mapping[str, Any], path: Path) -> tuple[int, int]:
    height, width = entry["height"], entry["width"]
    if not all(isinstance(side, int) and 0 < side < 10**6 for side in (height, width)):
        raise DataError(f"{path}: {entry['file_name']} is stated to be {str(height)[:20]} x {str(width)[:20]} pixels; correct it")
    return height, width


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e9 < value < 1e9


def _area(entry: Mapping[str, Any], box: tuple[float, float, float, float], file: str) -> float:
    area = entry.get("area")
    if area is None:
        return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
    if not _is_number(area):
        raise DataError(f"{file}: the area {area!r} of an object with the box {entry['bbox']} is no number; correct or remove it")
    return float(area)


def _packed(segmentation: Any) -> Any:
    """Polygons as arrays, an eighth of the memory of lists of numbers; other kinds as they are."""
    if not isinstance(segmentation, list):
        return segmentation
    return tuple(np.asarray(polygon, np.float64) for polygon in segmentation)


def splits_there(folder: Path) -> Iterator[str]:
    """The splits that have annotations."""
    return (split for split in SPLIT_FOLDERS if annotation_files(folder, split))
