"""PASCAL VOC's layout: an image, an XML file with its objects, and lists of which images belong to a split.

    VOCdevkit/VOC2007/JPEGImages/000005.jpg
    VOCdevkit/VOC2007/Annotations/000005.xml
    VOCdevkit/VOC2007/ImageSets/Main/{train,val,trainval,test}.txt            for detection
    VOCdevkit/VOC2007/ImageSets/Segmentation/..., SegmentationClass/....png   for segmentation

Legend: N images, n objects of one image, K classes, H W height and width in pixels. VOC's corners count from 1 and belong to the box,
so that its xmin ymin xmax ymax is the box xmin - 1, ymin - 1, xmax, ymax here.
Source: the development kit of VOC2012, sections 3 and 4. Importing this module loads no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from ...core.reading import SETTINGS_LIMIT, read_file
from ..datasets.folders import is_image
from ..errors import DataError
from .masks import decoded_mask
from .objects import AnnotatedFiles, Objects, ObjectTable, numbers

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse", "motorbike",
    "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Of VOC 2007 and 2012, by label; masks call the first one 1."""

LISTS = {"train": ("train", "trainval"), "val": ("val", "test"), "test": ("test",)}
"""By split: the names of its list in a folder of a user's own, the first that is there."""
CLASS_FILES = ("classes.txt", "labels.txt")
"""Where a folder of a user's own may name its classes, one per line; else they are those that occur, by name."""
_MOST_BYTES = 16 << 20
"""Of an XML file; the largest of VOC has some 30 thousand."""
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocObject:
    """One object as the file states it."""

    name: str
    corners: tuple[float, float, float, float]
    """xmin ymin xmax ymax, as stated."""
    difficult: bool

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1 y1 x2 y2, edges from 0."""
        left, top, right, bottom = self.corners
        return left - 1, top - 1, right, bottom


@dataclass(frozen=True)
class VocAnnotation:
    """One XML file."""

    size: tuple[int, int] | None
    """H and W; None where the file does not say."""
    objects: tuple[VocObject, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class VocImages(AnnotatedFiles):
    """One split's images."""

    def more_files(self) -> Iterator[Path]:
        """Their masks, as far as they have some."""
        paths = (self._mask_file(index) for index in range(len(self)))
        return (path for path in paths if path.exists())

    def _mask_file(self, index: int) -> Path:
        return self.root / "SegmentationClass" / f"{Path(self.paths[index]).stem}.png"

    def mask(self, index: int) -> NDArray[np.uint8]:
        """(H, W) of SegmentationClass.

        Raises:
            ValueError: there is none, it cannot be read, or it has a class that is none.
        """
        path = self._mask_file(index)
        if not path.exists():
            raise DataError(f"{self.name} {self.split} has no mask {path}; open the images that have one with masks=True")
        mask = decoded_mask(read_file(path), str(path))
        most = int(mask[mask != 255].max(initial=0))
        if most > len(self.classes):
            raise DataError(f"the mask {path} has class {most}, and there are {len(self.classes)}; correct it or name the classes")
        return mask


def open_voc(
    tree: Path,
    split: str,
    *,
    lists: Sequence[str] | None = None,
    classes: tuple[str, ...] | None = None,
    name: str = "",
    masks: bool = False,
) -> VocImages:
    """One split of a data set in VOC's layout.

    Args:
        tree: the folder with JPEGImages and Annotations.
        split: "train", "val" or "test".
        lists: names of the list of images, the first that is there; None for what the split is called.
        classes: names by label; None for those in classes.txt, else those that occur in any annotation, by name.
        name: of the data set; empty for the folder's.
        masks: the images that have masks (ImageSets/Segmentation), and not all.

    Raises:
        DataError: a list, an annotation or a class is missing or wrong; the message names the file and the numbers.
        OSError: a file cannot be read.
    """
    name = name or tree.resolve().name
    stems = read_list(list_file(tree, split, lists, masks=masks))
    images = image_names(tree)
    unknown = [stem for stem in stems if stem not in images]
    if unknown:
        raise DataError(f"{tree}/JPEGImages lacks {len(unknown):,} images of {split}, {unknown[0]} among them; put them there")
    annotations = {stem: read_annotation(tree / "Annotations" / f"{stem}.xml") for stem in stems}
    if classes is None:
        classes = stated_classes(tree) or _occurring(tree, annotations)
    labels = {label: place for place, label in enumerate(classes)}
    sizes = [entry.size or _size_of_file(tree / "JPEGImages" / images[stem]) for stem, entry in annotations.items()]
    return VocImages(
        name=name, split=split, classes=classes, root=tree,
        paths=tuple(f"JPEGImages/{images[stem]}" for stem in stems),
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        table=ObjectTable.joined(_objects(entry, labels, images[stem]) for stem, entry in annotations.items()),
    )  # fmt: skip


def trees(folder: Path) -> list[Path]:
    """The folders in VOC's layout at or below `folder`: itself, VOC2007 and the like, or those in VOCdevkit."""
    places = [folder, *(path for top in (folder, folder / "VOCdevkit") if top.is_dir() for path in sorted(top.glob("VOC[0-9]*")))]
    return [place for place in places if (place / "Annotations").is_dir() and (place / "JPEGImages").is_dir()]


def list_file(tree: Path, split: str, lists: Sequence[str] | None = None, *, masks: bool = False) -> Path:
    """The list of a split's images.

    Raises:
        DataError: there is none.
    """
    folder = tree / "ImageSets" / ("Segmentation" if masks else "Main")
    names = LISTS[split] if lists is None else lists
    for name in names:
        if (folder / f"{name}.txt").is_file():
            return folder / f"{name}.txt"
    raise DataError(
        f"{folder} has no list {' or '.join(f'{name}.txt' for name in names)} of the images of {split}; write one name a line"
    )


def read_list(path: Path) -> list[str]:
    """The names in a list, without what may follow them (whether a class is there).

    Raises:
        DataError: a name occurs twice, or there is none.
        OSError: it cannot be read.
    """
    stems = [line.split()[0] for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if line.strip()]
    if not stems:
        raise DataError(f"{path} names no images")
    seen: set[str] = set()
    for stem in stems:
        if stem in seen:
            raise DataError(f"{path} names {stem} twice; each image counts once")
        seen.add(stem)
    return stems


def image_names(tree: Path) -> dict[str, str]:
    """Names of the image files by their stems."""
    return {path.stem: path.name for path in sorted((tree / "JPEGImages").iterdir()) if is_image(path.name)}


def stated_classes(tree: Path) -> tuple[str, ...] | None:
    """The names in classes.txt, if there is one."""
    for name in CLASS_FILES:
        if (tree / name).is_file():
            lines = (tree / name).read_text(encoding="utf-8").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return None


def read_annotation(path: Path) -> VocAnnotation:
    """The content of an XML file.

    Raises:
        DataError: it is damaged or hostile, or a box is not four finite numbers; the message names it.
        OSError: it cannot be read.
    """
    try:
        content = read_file(path, limit=SETTINGS_LIMIT)
    except FileNotFoundError as error:
        raise DataError(f"there is no annotation {path}; write one, without objects if the image has none") from error
    return parse_annotation(content, str(path))


def parse_annotation(content: bytes, name: str) -> VocAnnotation:
    """The content of an XML file called `name`; raises DataError as `read_annotation` does."""
    root = _tree(content, name)
    return VocAnnotation(_stated_size(root), tuple(_object(entry, name) for entry in root.findall("object")))


def _tree(content: bytes, name: str) -> ElementTree.Element:
    """Parsed without entities: a few lines of them can expand to gigabytes, and no annotation needs any."""
    if len(content) > _MOST_BYTES:
        raise DataError(f"{name} has {len(content):,} bytes, more than any annotation; get a fresh copy")
    parser, builder = expat.ParserCreate(), ElementTree.TreeBuilder()

    def refuse(*_: object) -> None:
        raise DataError(f"{name} declares a document type, in which entities can hide that fill the memory; remove <!DOCTYPE ...>")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError(f"{name} is no XML: {error}; get a fresh copy") from error
    except LookupError as error:
        raise DataError(f"{name} is in an unknown encoding: {error}; save it as UTF-8") from error
    return builder.close()


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Height and width; None where they are missing or 0, as some tools write them."""
    found = []
    for side in ("height", "width"):
        text = root.findtext(f"size/{side}", "").strip()
        found.append(int(text) if re.fullmatch(r"\d{1,7}", text) else 0)
    return (found[0], found[1]) if all(found) else None


def _object(entry: ElementTree.Element, name: str) -> VocObject:
    called = entry.findtext("name", "").strip()
    if not called:
        raise DataError(f"{name}: an object has no name; name its class")
    # Of the object itself: heads, hands and feet within it have boxes of their own.
    stated = [entry.findtext(f"bndbox/{side}", "").strip() for side in _SIDES]
    try:
        corners = [float(text) for text in stated]
    except ValueError as error:
        raise DataError(f"{name}: the box of a {called} is not four numbers: {' '.join(stated)}; correct or remove it") from error
    if not all(math.isfinite(number) and abs(number) < 1e9 for number in corners):
        raise DataError(f"{name}: the box of a {called} has a number that is not finite: {numbers(corners)}; correct or remove it")
    return VocObject(called, (corners[0], corners[1], corners[2], corners[3]), entry.findtext("difficult", "0").strip() == "1")


def _objects(annotation: VocAnnotation, labels: Mapping[str, int], name: str) -> Objects:
    for entry in annotation.objects:
        if entry.name not in labels:
            raise DataError(
                f"{name}: an object is called {entry.name!r}, and the classes are {', '.join(labels)}; correct it or add the class"
            )
    return Objects.of(
        [entry.box for entry in annotation.objects],
        [labels[entry.name] for entry in annotation.objects],
        difficult=[entry.difficult for entry in annotation.objects],
    )


def _occurring(tree: Path, known: Mapping[str, VocAnnotation]) -> tuple[str, ...]:
    """The names in all annotations of the folder, whatever their split, so that every split has the same classes."""
    found = {entry.name for annotation in known.values() for entry in annotation.objects}
    for annotation in all_annotations(tree, but=known):
        found.update(entry.name for entry in annotation.objects)
    return tuple(sorted(found))


def all_annotations(tree: Path, but: Mapping[str, VocAnnotation]) -> Iterator[VocAnnotation]:
    """The content of every XML file whose stem is not among `but`."""
    for path in sorted((tree / "Annotations").glob("*.xml")):
        if path.stem not in but:
            yield read_annotation(path)


def _size_of_file(path: Path) -> tuple[int, int]:
    from ..decoding.decode import EncodedImage
    from ..errors import Unreadable

    try:
        image = EncodedImage(read_file(path), 3)
    except Unreadable as error:
        raise DataError(f"{path} {error}, and its annotation does not state its size; repair or remove it") from error
    return image.height, image.width
