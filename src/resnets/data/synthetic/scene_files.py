"""Scenes as files in both common layouts: COCO's JSON beside the tree of PASCAL VOC, over the same JPEGs.

    annotations/instances_train.json, instances_val.json       boxes, run-length encoded masks, areas
    VOCdevkit/VOC2007/JPEGImages/train_000000.jpg              the images, which both name
    VOCdevkit/VOC2007/Annotations/train_000000.xml             boxes
    VOCdevkit/VOC2007/SegmentationClass/train_000000.png       masks of classes
    VOCdevkit/VOC2007/ImageSets/{Main,Segmentation}/train.txt  which images belong to a split
    VOCdevkit/VOC2007/classes.txt                              names by label, for the tree does not say them

The tree is called VOC2007 because readers of VOC know the folder by that name. Importing this module loads no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import simplejpeg

from ..annotations.masks import write_mask
from ..annotations.rle import compressed, run_lengths
from .scenes import Scene

TREE = "VOCdevkit/VOC2007"
_QUALITY = 92


def make_folders(root: Path) -> None:
    """The empty tree."""
    for part in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / TREE / part).mkdir(parents=True)
    (root / "annotations").mkdir()


@dataclass
class SplitFiles:
    """Writes the scenes of one split.

    Args:
        root: the data set's folder, with the tree in it.
        split: "train" or "val".
        classes: names by label.
    """

    root: Path
    split: str
    classes: tuple[str, ...]
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, scene: Scene) -> None:
        """Writes a scene's files.

        Raises:
            OSError: they cannot be written.
        """
        stem = f"{self.split}_{len(self.images):06}"
        height, width = scene.pixels.shape[:2]
        tree = self.root / TREE
        (tree / f"JPEGImages/{stem}.jpg").write_bytes(simplejpeg.encode_jpeg(scene.pixels, _QUALITY, "RGB", "420"))
        write_mask(tree / f"SegmentationClass/{stem}.png", scene.classes)
        boxes, labels = scene.boxes.tolist(), scene.labels.tolist()
        objects = "".join(_voc_object(self.classes[label], box) for box, label in zip(boxes, labels, strict=True))
        (tree / f"Annotations/{stem}.xml").write_text(
            f"<annotation>\n\t<folder>VOC2007</folder>\n\t<filename>{stem}.jpg</filename>\n\t<size>\n\t\t<width>{width}</width>\n"
            f"\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>\n\t<segmented>1</segmented>\n{objects}</annotation>\n",
            encoding="utf-8",
            newline="\n",
        )
        self.images.append(
            {"id": len(self.images) + 1, "file_name": f"{TREE}/JPEGImages/{stem}.jpg", "height": height, "width": width}
        )
        for (left, top, right, bottom), label, mask in zip(boxes, labels, scene.masks, strict=True):
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1, "image_id": len(self.images), "category_id": label + 1,
                    "bbox": [left, top, right - left, bottom - top], "area": int(mask.sum()), "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": compressed(run_lengths(mask))},
                }
            )  # fmt: skip

    def finish(self) -> None:
        """Writes what is known only at the end.

        Raises:
            OSError: it cannot be written.
        """
        stems = "".join(f"{Path(image['file_name']).stem}\n" for image in self.images)
        for task in ("Main", "Segmentation"):
            (self.root / TREE / f"ImageSets/{task}/{self.split}.txt").write_text(stems, encoding="utf-8", newline="\n")
        names = "".join(f"{name}\n" for name in self.classes)
        (self.root / TREE / "classes.txt").write_text(names, encoding="utf-8", newline="\n")
        content = {
            "info": {"description": "fashion-scenes: Fashion-MNIST's garments pasted on invented backgrounds", "version": "1"},
            "licenses": [{"id": 1, "name": "MIT", "url": "https://github.com/zalandoresearch/fashion-mnist"}],
            "images": self.images,
            "annotations": self.annotations,
            "categories": [
                {"id": label + 1, "name": name, "supercategory": "clothing"} for label, name in enumerate(self.classes)
            ],
        }  # fmt: skip
        path = self.root / f"annotations/instances_{self.split}.json"
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8", newline="\n")


def _voc_object(name: str, box: list[int]) -> str:
    """VOC's corners count from 1 and belong to the box."""
    left, top, right, bottom = box
    return (
        f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
        f"\t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>{left + 1}</xmin>\n\t\t\t<ymin>{top + 1}</ymin>\n"
        f"\t\t\t<xmax>{right}</xmax>\n\t\t\t<ymax>{bottom}</ymax>\n\t\t</bndbox>\n\t</object>\n"
    )
