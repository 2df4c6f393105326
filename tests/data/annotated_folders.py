"""Small data sets in the official layouts of VOC and COCO, written by hand. Shared by several test modules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from image_files import encoded

Box = tuple[str, str, str, str]


def voc_object(name: str, box: Sequence[object], extra: str = "<difficult>0</difficult>") -> str:
    """One object of an XML file; the box is xmin ymin xmax ymax."""
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><pose>Left</pose><truncated>1</truncated>{extra}<bndbox>{sides}</bndbox></object>"


def voc_xml(stem: str, size: tuple[int, int] | None, objects: str) -> str:
    """An XML file of VOC; the size is (height, width)."""
    stated = "" if size is None else f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    return f"<annotation><folder>VOC2007</folder><filename>{stem}.jpg</filename>{stated}{objects}</annotation>"


def voc_tree(
    root: Path,
    images: dict[str, str],
    lists: dict[str, list[str]],
    year: str = "VOC2007",
    size: tuple[int, int] = (40, 60),
) -> Path:
    """VOCdevkit/YEAR with the objects' XML by stem, and lists by name; the tree's path."""
    tree = root / "VOCdevkit" / year
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tree / part).mkdir(parents=True)
    for number, (stem, objects) in enumerate(images.items()):
        (tree / f"JPEGImages/{stem}.jpg").write_bytes(encoded(*size, number + 100 * len(year + stem)))
        (tree / f"Annotations/{stem}.xml").write_text(voc_xml(stem, size, objects))
    for name, stems in lists.items():
        (tree / f"ImageSets/Main/{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return tree


CATEGORIES = ({"id": 1, "name": "person"}, {"id": 44, "name": "bottle"}, {"id": 18, "name": "dog"})
"""With gaps, and not in order."""


def annotation(number: int, image: int, box: Sequence[float], category: int = 1, **more: Any) -> dict[str, Any]:
    """One object of a COCO file; the box is x y width height."""
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "area": 5.0, "iscrowd": 0, **more}


def coco_content(names: Sequence[str], annotations: Sequence[dict[str, Any]], size: tuple[int, int] = (40, 60)) -> dict[str, Any]:
    """A COCO file's content; images are numbered 10, 20, ..."""
    images = [{"id": 10 * k + 10, "file_name": name, "height": size[0], "width": size[1]} for k, name in enumerate(names)]
    return {"info": {}, "images": images, "annotations": list(annotations), "categories": [dict(entry) for entry in CATEGORIES]}


def coco_folder(root: Path, splits: dict[str, dict[str, Any]], size: tuple[int, int] = (40, 60)) -> Path:
    """annotations/instances_SPLIT2017.json with the given contents and SPLIT2017/ with their images; the folder."""
    (root / "annotations").mkdir(parents=True)
    for place, (split, content) in enumerate(splits.items()):
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
        (root / f"{split}2017").mkdir()
        for number, image in enumerate(content["images"]):
            (root / f"{split}2017" / image["file_name"]).write_bytes(encoded(*size, 50 * place + number))
    return root
