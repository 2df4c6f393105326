"""`open_annotated`: annotated images by what a person types, a name or a folder. Importing this module loads no torch.

Which lists stand for a split follows the protocols under which results are published:

    voc07      train = trainval 2007; val and test = test 2007 (trained on train 2007 alone and judged on its val where there is no test)
    voc12      train = train 2012; val = val 2012 (the annotations of its test are not public)
    voc0712    train = trainval 2007 and trainval 2012; val and test = test 2007
    coco       train = train2017; val = val2017
    a folder   each split by its own name; train also from trainval, and val from test, where there is no list of the name
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core.errors import UserError
from ..annotations.coco import is_coco, open_coco
from ..annotations.objects import AnnotatedImages, Several
from ..annotations.voc import VOC_CLASSES, list_file, open_voc, trees
from ..datasets.user_data import is_path
from ..errors import DataError
from ..sources.request import Report, cache_directory, known_name
from ..synthetic.fashion_scenes import MANIFEST, default_folder, open_scenes
from ..synthetic.fashion_scenes import NAME as FASHION_SCENES

Split = Literal["train", "val", "test"]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class AnnotatedInfo:
    """What is known about a data set without reading it."""

    name: str
    title: str
    num_train: int
    num_val: int
    num_classes: int
    licence: str


ANNOTATED = {
    info.name: info
    for info in (
        AnnotatedInfo(
            FASHION_SCENES, "Garments of Fashion-MNIST in invented scenes, made by resnets data make: boxes and masks", 6_000, 500, 10,
            "MIT",
        ),
        AnnotatedInfo("voc07", "PASCAL VOC 2007: photographs with boxes, in a folder of yours", 5_011, 4_952, 20, "Flickr's terms"),
        AnnotatedInfo("voc12", "PASCAL VOC 2012: photographs with boxes and masks, in a folder of yours", 5_717, 5_823, 20, "Flickr's terms"),
        AnnotatedInfo("voc0712", "PASCAL VOC 2007 and 2012 together, judged on the test of 2007", 16_551, 4_952, 20, "Flickr's terms"),
        AnnotatedInfo("coco", "COCO 2017: photographs with boxes and masks, in a folder of yours", 118_287, 5_000, 80, "CC BY 4.0"),
    )
}  # fmt: skip
"""The annotated data sets with a name."""


def open_annotated(data: str, split: str, folder: Path | None, report: Report, *, masks: bool = False) -> AnnotatedImages:
    """One split of an annotated data set.

    Args:
        data: a key of `ANNOTATED`, or a folder in the layout of VOC or COCO.
        split: "train", "val" or "test"; see the head of this module.
        folder: where the files of a data set with a name are; None for the folder of data sets. VOC: it holds VOCdevkit, or is VOCdevkit
            or VOC2007; COCO: it holds annotations/ and train2017/.
        report: told what takes time and what was chosen.
        masks: the images that have masks, and not all (VOC annotates some).

    Raises:
        ValueError: there is no such data set or split.
        DataError: its files are missing or wrong; the message names the file.
        OSError: they cannot be read.
    """
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}; it is one of {', '.join(SPLITS)}")
    if data not in ANNOTATED and is_path(data):
        return _open_folder(Path(data).expanduser(), split, masks, report)
    known_name(data, ANNOTATED)
    if data == FASHION_SCENES:
        return open_scenes(split, None if folder is None else folder.expanduser(), report)
    place = folder_of(data, folder)
    if data == "coco":
        if split == "test":
            raise UserError("COCO's annotations of test are not public; evaluate on val")
        return open_coco(place, split, name="coco", pattern=r"instances_(train|val)2017\.json", report=report)
    return _open_voc_by_name(data, split, place, masks, report)


def layout(folder: Path) -> Literal["coco", "voc"] | None:
    """In which layout a folder is, by the names in it; COCO's where it is in both; None where in neither."""
    if not folder.is_dir():
        return None
    return "coco" if is_coco(folder) else "voc" if trees(folder) else None


def recognized(data: str, what: Literal["boxes", "masks"]) -> str | None:
    """Why a name or folder is annotated with boxes or masks, by the names in it; None where it is not. No list is read."""
    if data in ANNOTATED:
        return f"{data} has {what}"
    if not is_path(data):
        return None
    folder = Path(data).expanduser()
    kind = layout(folder)
    if kind == "coco":
        return f"{what} in COCO's layout"
    if kind == "voc":
        places = {"boxes": "Annotations", "masks": "SegmentationClass"}
        if any(next((tree / places[what]).iterdir(), None) for tree in trees(folder) if (tree / places[what]).is_dir()):
            return f"{what} in VOC's layout"
    return None


def _open_folder(folder: Path, split: str, masks: bool, report: Report) -> AnnotatedImages:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    kind = layout(folder)
    if kind == "coco":
        return open_coco(folder, split, report=report)
    found = trees(folder)
    if len(found) > 1:
        raise DataError(
            f"{folder} holds {', '.join(tree.name for tree in found)}; name one of them, or use voc0712 for VOC 2007 and 2012"
        )
    if not found:
        raise DataError(
            f"{folder} is in neither layout of annotated images: VOC has Annotations/ and JPEGImages/, COCO has "
            "annotations/instances_train2017.json and train2017/"
        )
    return open_voc(found[0], split, masks=masks)


def folder_of(data: str, folder: Path | None) -> Path:
    """Where the files of a data set with a name are.

    Raises:
        DataError: nowhere; the message says where they are had from.
    """
    if data == FASHION_SCENES and folder is None and (default_folder() / MANIFEST).exists():
        return default_folder()
    if folder is not None:
        if not folder.expanduser().is_dir():
            raise DataError(f"there is no folder {folder} with the files of {data}")
        return folder.expanduser()
    for name in (data, "coco2017" if data == "coco" else "voc"):
        if layout(cache_directory() / name):
            return cache_directory() / name
    if data == FASHION_SCENES:
        raise DataError(f"{cache_directory() / data} does not hold the scenes; make them: resnets data make {data}")
    home = "https://cocodataset.org/#download" if data == "coco" else "http://host.robots.ox.ac.uk/pascal/VOC/"
    raise DataError(
        f"{data} is in a folder of yours: name it with --data-folder, or put it into {cache_directory() / data}; it is had from {home}"
    )


def _open_voc_by_name(data: str, split: str, place: Path, masks: bool, report: Report) -> AnnotatedImages:
    found = {tree.name: tree for tree in trees(place)}
    years = {"voc07": ("VOC2007",), "voc12": ("VOC2012",), "voc0712": ("VOC2007", "VOC2012") if split == "train" else ("VOC2007",)}[
        data
    ]
    missing = [year for year in years if year not in found]
    if missing:
        raise DataError(
            f"{place} lacks {', '.join(missing)}: {data} needs VOCdevkit/{missing[0]} with Annotations/ and JPEGImages/ there"
        )
    if data == "voc12":
        if split == "test":
            raise UserError("the annotations of VOC 2012's test are not public; evaluate on val")
        lists = [split]
    else:
        lists = ["trainval"] if split == "train" else ["test"]
        if data == "voc07" and not _has_list(found["VOC2007"], "test", masks):
            lists = [split]
            if split == "test":
                raise DataError(f"{found['VOC2007']} holds no test; fetch VOCtest_06-Nov-2007.tar and unpack it there")
            report(
                f"{found['VOC2007']} holds no test: {split} is VOC's own {split} list and not trainval or test as results are published"
            )
    parts = tuple(open_voc(found[year], split, lists=lists, classes=VOC_CLASSES, name=data, masks=masks) for year in years)
    return parts[0] if len(parts) == 1 else Several(data, split, parts)


def _has_list(tree: Path, name: str, masks: bool) -> bool:
    try:
        list_file(tree, "test", [name], masks=masks)
    except DataError:
        return False
    return True
