"""A small data set with boxes and masks in COCO's layout: discs and squares on noise, which a small network learns in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

CLASSES = ("disc", "square")


def make_scenes(root: Path, train: int = 24, val: int = 8, side: int = 64) -> Path:
    """ROOT/annotations/instances_{train,val}2017.json and the images; the first image of each split shows nothing."""
    generator = np.random.default_rng(7)
    for split, count in (("train", train), ("val", val)):
        folder = root / f"{split}2017"
        folder.mkdir(parents=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            pixels = generator.integers(0, 70, (side, side, 3)).astype(np.uint8)
            for place in range(0 if number == 0 else 2):
                kind, size = int(generator.integers(2)), int(generator.integers(16, 28))
                left, top = (
                    int(generator.integers(0, side // 2 - size + 5)) + place * side // 2,
                    int(generator.integers(0, side - size)),
                )
                left = min(left, side - size)
                outline = _outline(kind, left, top, size)
                mask = _inside(kind, left, top, size, side)
                pixels[mask] = (230, 60, 60) if kind == 0 else (60, 90, 230)
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": number + 1, "category_id": kind + 1, "bbox": [left, top, size, size],
                        "area": int(mask.sum()), "iscrowd": 0, "segmentation": [outline],
                    }
                )  # fmt: skip
            PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
            images.append({"id": number + 1, "file_name": f"{number}.png", "height": side, "width": side})
        categories = [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
    return root


def _outline(kind: int, left: int, top: int, size: int) -> list[float]:
    if kind == 1:
        return [float(v) for v in (left, top, left + size, top, left + size, top + size, left, top + size)]
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = size / 2
    points = np.stack([left + radius + radius * np.cos(angles), top + radius + radius * np.sin(angles)], 1)
    return [float(v) for v in points.reshape(-1)]


def _inside(kind: int, left: int, top: int, size: int, side: int) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] + 0.5
    if kind == 1:
        inside: np.ndarray = (columns >= left) & (columns < left + size) & (rows >= top) & (rows < top + size)
        return inside
    disc: np.ndarray = (columns - left - size / 2) ** 2 + (rows - top - size / 2) ** 2 <= (size / 2) ** 2
    return disc
