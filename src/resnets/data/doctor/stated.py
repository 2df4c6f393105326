"""What annotation files say, mistakes included: where readers refuse, this goes on and names each mistake.

Legend: H W height and width of an image in pixels. Importing this module loads no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.reading import read_file
from ..annotations import coco, voc
from ..annotations.masks import decoded_mask
from ..annotations.objects import IGNORED, numbers
from ..datasets.folders import SPLIT_FOLDERS
from ..errors import DataError
from .findings import Finding

Size = tuple[int, int]


@dataclass(frozen=True)
class StatedBox:
    """An object."""

    label: str
    box: tuple[float, float, float, float]
    """x1 y1 x2 y2, edges from 0."""
    text: str
    """The numbers as the file has them."""


@dataclass(frozen=True)
class StatedImage:
    """An image and its objects."""

    name: str
    """Its path below the data set's folder."""
    size: Size | None
    """H and W; None where the file does not say."""
    boxes: tuple[StatedBox, ...]


@dataclass
class Stated:
    """A data set as its annotations state it."""

    classes: tuple[str, ...] = ()
    splits: dict[str, list[StatedImage]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def found(self, kind: str, name: str, detail: str = "", *, exclude: bool = False) -> None:
        """Notes a mistake in an image's annotation."""
        self.findings.append(Finding(kind, (name,), detail, (name,) if exclude else ()))


def stated_coco(folder: Path) -> Stated:
    """All splits of a data set in COCO's layout.

    Raises:
        DataError: no annotation file can be read.
        OSError: one cannot be opened.
    """
    made = Stated()
    names: dict[int, str] = {}
    contents = {}
    for split in SPLIT_FOLDERS:
        for path in coco.annotation_files(folder, split):
            called = split if split not in contents else f"{split} ({path.stem})"
            try:
                contents[called] = path, split, coco.read_json(path)
            except DataError as error:
                made.found("annotation-broken", path.relative_to(folder).as_posix(), str(error))
    if not contents:
        raise DataError("; ".join(finding.detail for finding in made.findings) or f"{folder} has no annotation files")
    for called, (path, split, content) in contents.items():
        _read_categories(made, path.relative_to(folder).as_posix(), content["categories"], names)
        made.splits[called] = list(_coco_images(made, folder, path, split, content, names))
    made.classes = tuple(name for _, name in sorted(names.items()))
    return made


def _read_categories(made: Stated, file: str, entries: Sequence[Any], names: dict[int, str]) -> None:
    here: set[int] = set()
    for entry in entries:
        number, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if not isinstance(number, int) or not isinstance(name, str):
            made.found("annotation-broken", file, f"a category is {entry!r} and needs an id and a name")
        elif number in here:
            made.found("id-duplicate", file, f"category {number}")
        elif names.setdefault(number, name) != name:
            made.found("annotation-broken", file, f"category {number} is {name} and elsewhere {names[number]}")
        else:
            here.add(number)


def _coco_images(
    made: Stated, folder: Path, path: Path, split: str, content: Mapping[str, Any], names: Mapping[int, str]
) -> Iterator[StatedImage]:
    file = path.relative_to(folder).as_posix()
    images: dict[Any, Mapping[str, Any]] = {}
    for entry in content["images"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or not isinstance(entry.get("id"), int):
            made.found("annotation-broken", file, f"an image is {entry!r} and needs an id and a file_name")
        elif entry["id"] in images:
            made.found("id-duplicate", entry["file_name"], f"image {entry['id']}, as {images[entry['id']]['file_name']} is")
        else:
            images[entry["id"]] = entry
    below = _below(folder, path, split, [entry["file_name"] for entry in images.values()])
    objects: dict[Any, list[StatedBox]] = {number: [] for number in images}
    twice = Counter(entry.get("id") for entry in content["annotations"] if isinstance(entry, dict))
    for entry in content["annotations"]:
        number = entry.get("image_id") if isinstance(entry, dict) else None
        if number not in images:
            made.found(
                "annotation-orphan",
                file,
                f"annotation {entry.get('id') if isinstance(entry, dict) else entry!r} of image {number}",
            )
            continue
        name = below + images[number]["file_name"]
        if twice[entry.get("id")] > 1:
            made.found("id-duplicate", name, f"annotation {entry.get('id')}")
        box = _coco_box(made, name, entry, names)
        if box is not None:
            objects[number].append(box)
            _check_outline(made, name, entry, _size(images[number]))
    for number, image in images.items():
        yield StatedImage(below + image["file_name"], _size(image), tuple(objects[number]))


def _below(folder: Path, path: Path, split: str, files: Sequence[str]) -> str:
    """Where the images are, by the first that is anywhere."""
    for file in files:
        try:
            place = coco.image_root(folder, path, split, file)[1]
        except DataError:
            continue
        return f"{place}/" if place else ""
    return f"{path.stem.removeprefix('instances_')}/"


def _size(image: Mapping[str, Any]) -> Size | None:
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) and height > 0 < width else None


def _coco_box(made: Stated, name: str, entry: Mapping[str, Any], names: Mapping[int, str]) -> StatedBox | None:
    if entry.get("category_id") not in names:
        made.found("category-unknown", name, f"category {entry.get('category_id')} of annotation {entry.get('id')}", exclude=True)
        return None
    try:
        box = coco.corners(entry.get("bbox"), name)
    except DataError as error:
        made.found("annotation-broken", name, str(error), exclude=True)
        return None
    left, top, width, height = (f"{number:.7g}" for number in entry["bbox"])
    return StatedBox(names[entry["category_id"]], box, f"x {left} y {top} width {width} height {height}")


def _check_outline(made: Stated, name: str, entry: Mapping[str, Any], size: Size | None) -> None:
    """By its form alone: drawing every outline of COCO would take a quarter of an hour."""
    outline = entry.get("segmentation")
    if isinstance(outline, dict):
        if size is not None and list(outline.get("size", ())) != list(size):
            made.found(
                "mask-broken", name, f"annotation {entry.get('id')}: a mask of {outline.get('size')}, the image is {list(size)}"
            )
    elif isinstance(outline, list):
        bad = [part for part in outline if not isinstance(part, list) or len(part) < 6 or len(part) % 2]
        if bad:
            made.found("mask-broken", name, f"annotation {entry.get('id')}: a polygon that has not x and y of three corners")


def stated_voc(folder: Path, tree: Path, prefix: str = "") -> Stated:
    """All splits of a tree in VOC's layout.

    Args:
        folder: below which names are given.
        tree: holds JPEGImages and Annotations.
        prefix: of the names of splits.

    Raises:
        DataError: it has no lists.
        OSError: a file cannot be opened.
    """
    made = Stated()
    above = tree.relative_to(folder).as_posix()
    above = "" if above == "." else f"{above}/"
    images = voc.image_names(tree)
    stated = voc.stated_classes(tree)
    names = ["train", "val", "test"] if (tree / "ImageSets/Main/train.txt").exists() else ["trainval", "test"]
    there = [name for name in names if (tree / f"ImageSets/Main/{name}.txt").exists()]
    if not there:
        raise DataError(f"{tree}/ImageSets/Main has no lists; write train.txt and val.txt there, the name of one image per line")
    found: set[str] = set()
    for name in there:
        made.splits[prefix + name] = []
        seen: set[str] = set()
        for line in (tree / f"ImageSets/Main/{name}.txt").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            stem = line.split()[0] if line.strip() else ""
            if stem in seen:
                made.found("id-duplicate", f"{above}JPEGImages/{images.get(stem, stem)}", f"listed twice in {name}.txt")
            elif stem:
                seen.add(stem)
                entry = _voc_image(made, tree, above, stem, images.get(stem, f"{stem}.jpg"))
                found.update(box.label for box in entry.boxes)
                made.splits[prefix + name].append(entry)
    made.classes = stated or tuple(sorted(found))
    for entry in (entry for split in made.splits.values() for entry in split):
        for label in sorted({box.label for box in entry.boxes} - set(made.classes)):
            made.found("category-unknown", entry.name, f"{label}, which the tree's list of classes does not name", exclude=True)
    _check_masks(made, tree, above)
    return made


def _voc_image(made: Stated, tree: Path, above: str, stem: str, file: str) -> StatedImage:
    name, path = f"{above}JPEGImages/{file}", tree / "Annotations" / f"{stem}.xml"
    if not path.is_file():
        made.found("annotation-missing", name, f"no {above}Annotations/{stem}.xml", exclude=True)
        return StatedImage(name, None, ())
    try:
        annotation = voc.read_annotation(path)
    except (DataError, OSError) as error:
        made.found("annotation-broken", name, str(error), exclude=True)
        return StatedImage(name, None, ())
    boxes = (StatedBox(entry.name, entry.box, f"xmin ymin xmax ymax {numbers(entry.corners)}") for entry in annotation.objects)
    return StatedImage(name, annotation.size, tuple(boxes))


def _check_masks(made: Stated, tree: Path, above: str) -> None:
    """Of the images that are listed for segmentation."""
    sizes = {Path(entry.name).stem: entry.size for split in made.splits.values() for entry in split}
    stems = {
        line.split()[0]: None
        for path in sorted((tree / "ImageSets/Segmentation").glob("*.txt"))
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        if line.strip()
    }
    for stem in stems:
        name, path = f"{above}SegmentationClass/{stem}.png", tree / f"SegmentationClass/{stem}.png"
        if not path.is_file():
            made.found("mask-missing", name)
            continue
        try:
            mask = decoded_mask(read_file(path), name)
        except (DataError, OSError) as error:
            made.found("mask-broken", name, str(error))
            continue
        most = int(mask[mask != IGNORED].max(initial=0))
        if most > len(made.classes):
            made.found("mask-broken", name, f"it has class {most}, and there are {len(made.classes)}")
        elif sizes.get(stem) not in (None, mask.shape):
            stated = sizes[stem]
            assert stated is not None
            made.found("mask-broken", name, f"it has {mask.shape[1]} x {mask.shape[0]} pixels, the image {stated[1]} x {stated[0]}")
