"""Files of every kind that a folder of images may hold by mistake, and the odd ones that are sound. Shared by several test modules."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image

from resnets.data.datasets.catalogue import load


def make_image(seed: int = 0, size: tuple[int, int] = (48, 40)) -> PIL.Image.Image:
    """A coloured image with structure, (width, height) pixels."""
    random = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return PIL.Image.fromarray(random).resize(size, PIL.Image.Resampling.BICUBIC)


def encoded(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    """The image's file."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes whose header declares 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _turned() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return encoded(make_image(3), "JPEG", exif=exif)


UNREADABLE: dict[str, Callable[[], bytes]] = {
    "truncated.jpg": lambda: encoded(make_image(1, (200, 160)), "JPEG")[:1500],
    "empty.jpg": lambda: b"",
    "text.jpg": lambda: b"This is no image.\n",
    "bomb.png": _bomb,
}
"""By name: what makes the file. None of them can be used."""
READABLE: dict[str, Callable[[], bytes]] = {
    "cmyk.jpg": lambda: encoded(make_image(2).convert("CMYK"), "JPEG"),
    "sixteen.png": lambda: encoded(PIL.Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 34), "PNG"),
    "palette.png": lambda: encoded(make_image(4).quantize(16), "PNG"),
    "turned.jpg": _turned,
    "animated.gif": lambda: encoded(make_image(5), "GIF", save_all=True, append_images=[make_image(6), make_image(7)]),
}
"""By name: what makes the file. All of them are images, if odd ones."""


def break_folder(folder: Path) -> list[str]:
    """Puts a file of each kind of `UNREADABLE` into a folder, with a link that leads nowhere and, where the user can be kept from one, a
    file that may not be read; their names."""
    for name, make in UNREADABLE.items():
        (folder / name).write_bytes(make())
    (folder / "nowhere.jpg").symlink_to(folder / "absent.jpg")
    names = [*UNREADABLE, "nowhere.jpg"]
    locked = folder / "locked.jpg"
    locked.write_bytes(encoded(make_image(), "JPEG"))
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # the superuser may read everything
        locked.unlink()
    else:
        names.append(locked.name)
    return names


def digits_folder(folder: Path, *, per_class: int = 12, side: int = 32, classes: str = "0123456789", split: str = "train") -> Path:
    """A folder of the bundled handwritten digits as JPEG files, `per_class` of each class: FOLDER/DIGIT/NUMBER.jpg."""
    digits = load("digits", split)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in (digits.labels == int(name)).nonzero().flatten().tolist()[:per_class]:
            image = PIL.Image.fromarray(digits.images[index, 0].numpy()).resize((side, side), PIL.Image.Resampling.BICUBIC)
            image.save(folder / name / f"{index}.jpg", quality=92)
    return folder
