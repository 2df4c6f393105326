"""Folders of images for the doctor: a sound one, and one in which each thing is wrong once."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from broken_images import READABLE, UNREADABLE
from PIL import Image


def make_image(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """An RGB image of smooth random colours, (width, height) pixels."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """An image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def clean_folder(root: Path, *, train: int = 12, val: int = 4, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """train/CLASS/N.jpg and val/CLASS/N.jpg, with so many good images in each class, no two alike."""
    seed = 0
    for split, count in (("train", train), ("val", val)):
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.jpg").write_bytes(encoded(make_image(seed), quality=92))
                seed += 1
    return root


def sick_folder(root: Path) -> Path:
    """A clean folder with every broken and odd file and a tiny one in train/cat, a copy of a training image in val/dog, the same pixels
    as PNG beside one in train/dog, and one image under both classes."""
    clean_folder(root)
    cat, dog = root / "train" / "cat", root / "train" / "dog"
    for name, make in (UNREADABLE | READABLE).items():
        (cat / name).write_bytes(make())
    (cat / "tiny.jpg").write_bytes(encoded(make_image(906, (9, 7))))
    (root / "val" / "dog" / "copy.jpg").write_bytes((dog / "0.jpg").read_bytes())
    with Image.open(dog / "1.jpg") as image:
        image.save(dog / "same.png")
    (cat / "both.jpg").write_bytes((dog / "2.jpg").read_bytes())
    return root
