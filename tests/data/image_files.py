"""Folders of small images for tests of decoding and loading."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image

from resnets.data.image_source import ImageFiles


def encoded(height: int, width: int, seed: int, kind: str = "JPEG") -> bytes:
    """An image of soft colours with some noise."""
    rows, columns = np.mgrid[:height, :width] / 25
    waves = [np.sin(rows * (1 + k) + seed) * np.cos(columns * (2 - 0.5 * k)) for k in range(3)]
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 1))
    buffer = io.BytesIO()
    PIL.Image.fromarray((np.stack(waves, -1) * 90 + 128 + noise).clip(0, 255).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


SIZES = ((60, 80), (90, 48), (40, 40), (30, 150), (44, 36), (20, 28))
"""Heights and widths that come in turn: wide, high, square, very long, about as small as needed, smaller."""


def image_files(folder: Path, count: int, broken: tuple[int, ...] = (), missing: tuple[int, ...] = ()) -> ImageFiles:
    """`count` images in three classes; those at `broken` are cut short, and those at `missing` are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        data = encoded(*SIZES[number % len(SIZES)], number, "PNG" if number % 4 == 3 else "JPEG")
        paths.append(f"{number:03}.{'png' if number % 4 == 3 else 'jpg'}")
        if number not in missing:
            (folder / paths[-1]).write_bytes(data[: len(data) // 2] if number in broken else data)
    return ImageFiles("shapes", "train", folder, tuple(paths), np.arange(count) % 3, ("a", "b", "c"))
