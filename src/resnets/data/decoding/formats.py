"""The one place where Pillow opens a file: only in the formats that are meant to be read. Importing this module loads no torch.

Left to itself Pillow tries every plugin that it has, whatever the file is called: PostScript named .png would be run by Ghostscript.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF")
"""Pillow's names of them. None runs another program or follows a reference to another file."""


def open_image(content: bytes | BinaryIO) -> Image:
    """The image that encoded bytes hold; its header is read, its pixels are not yet.

    Raises:
        PIL.UnidentifiedImageError: it is in none of `FORMATS`.
        PIL.Image.DecompressionBombError: it has more pixels than Pillow decodes safely.
        Exception: whatever Pillow's parser stumbles over in a damaged header.
    """
    import PIL.Image

    return PIL.Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=_known())


@cache
def _known() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow reads."""
    import PIL.Image

    PIL.Image.init()
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)
