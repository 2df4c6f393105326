"""Encoded images to pixels: every format and mode that Pillow reads, JPEGs by libjpeg-turbo and only as finely as needed.

Legend: H W height and width in pixels as a viewer shows the image, after its EXIF rotation; C channels, 1 for grey and 3 for RGB.
Importing this module loads no torch.

A JPEG can be decoded to 1/2, 1/4 or 1/8 of its size for less work: of each block of 8 x 8 cosine coefficients only the lowest
4 x 4, 2 x 2 or 1 x 1 are transformed back. (The factors between have no fast code in libjpeg-turbo: 5/8 takes longer than the whole.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import Unreadable
from .formats import open_image
from .sides import MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

DECODER = 1
"""Counts the changes of this module that change pixels, so that stored ones are made anew."""
REDUCTIONS = (8, 4, 2)
"""Factors by which a JPEG can be reduced."""

Pixels = NDArray[np.uint8]
"""(H, W, C)."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""By EXIF orientation: how (H, W, C) is turned."""


def flattened(image: Image, channels: Literal[1, 3]) -> Pixels:
    """A Pillow image of any mode as pixels: EXIF rotation applied, 16 bits scaled to 8, transparent parts on white."""
    import PIL.Image
    from PIL import ImageOps

    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip instead of scale
        image = PIL.Image.fromarray((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:  # as a viewer shows them
        layered = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layered.size, "white"), layered)
    pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _orientation(image: Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be understood, which says nothing about the pixels."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises whatever its parser stumbles over
        return 1
    return found if found in _UPRIGHT else 1


class EncodedImage:
    """An image whose size is known and whose pixels can be had.

    Args:
        data: the whole file.
        channels: C.

    Raises:
        Unreadable: it is no image, or too large.
    """

    def __init__(self, data: bytes, channels: Literal[1, 3]) -> None:
        if not data:
            raise Unreadable("is empty")
        self.data, self.channels = data, channels
        self._image: Image | None = None
        self._turn, self._grey = 1, False
        size = self._jpeg_size()
        if size is None:
            self._image = _opened(data)
            # Pillow gives the size of a TIFF as it will be when turned.
            self._turn = 1 if self._image.format == "TIFF" else _orientation(self._image)
            size = self._image.height, self._image.width
        if size[0] * size[1] > MAX_PIXELS:
            raise Unreadable(f"has {size[0] * size[1]:,} pixels, more than {MAX_PIXELS:,}")
        self.height, self.width = size if self._turn < 5 else size[::-1]

    def _jpeg_size(self) -> tuple[int, int] | None:
        """Height and width as stored, or None for what is left to Pillow: other formats, CMYK, and JPEGs that seem damaged."""
        if self.data[:3] != b"\xff\xd8\xff":
            return None
        import simplejpeg

        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(self.data)
        except ValueError:
            return None
        if colours not in ("YCbCr", "RGB", "Gray"):
            return None
        self._grey = colours == "Gray"
        if _may_be_turned(self.data):
            self._turn = _orientation(_opened(self.data))
        return height, width

    def pixels(self, least: tuple[int, int] | None = None) -> Pixels:
        """The pixels, (H, W, C) uint8.

        Args:
            least: height and width that suffice; a JPEG is then decoded to the smallest size that has both. None for the pixels
                that Pillow gives, at full size.

        Raises:
            Unreadable: the data is damaged or cut short.
        """
        if self._image is None:
            try:
                pixels = self._decoded_jpeg(least)
                return _UPRIGHT[self._turn](pixels) if self._turn != 1 else pixels
            except ValueError:
                # libjpeg-turbo complains of harmless oddities too, such as stray bytes between markers; Pillow has the last word.
                self._image = _opened(self.data)
        try:
            return flattened(self._image, self.channels)
        except MemoryError:
            raise Unreadable(f"has {self.height:,} x {self.width:,} pixels, more than the free memory takes") from None
        except Exception as error:  # damaged files make Pillow raise anything, from SyntaxError to struct.error
            raise Unreadable(f"is damaged: {_first_line(error)}") from error

    @property
    def is_turned(self) -> bool:
        """Whether EXIF data turns the image by a right angle."""
        return self._turn >= 5

    def as_stored(self, pixels: Pixels) -> Pixels:
        """Pixels that `pixels` gave, turned back to how the file has them, its EXIF rotation undone."""
        return _UPRIGHT[{6: 8, 8: 6}.get(self._turn, self._turn)](pixels) if self._turn != 1 else pixels

    def _decoded_jpeg(self, least: tuple[int, int] | None) -> Pixels:
        import simplejpeg

        # The grey of a JPEG is its brightness channel; Pillow computes it anew from RGB, which may differ by a level.
        space = "GRAY" if self.channels == 1 and (least is not None or self._grey) else "RGB"
        enough = (0, 0) if least is None else self._reduced(least)
        pixels: Pixels = simplejpeg.decode_jpeg(self.data, space, min_height=enough[0], min_width=enough[1])
        if self.channels == 3 or space == "GRAY":
            return pixels
        import PIL.Image

        return np.array(PIL.Image.fromarray(pixels).convert("L"))[..., None]

    def _reduced(self, least: tuple[int, int]) -> tuple[int, int]:
        """Height and width as stored, divided by the largest factor that leaves `least`; (0, 0) for the full size."""
        height, width, least = (
            (self.height, self.width, least) if self._turn < 5 else (self.width, self.height, (least[1], least[0]))
        )
        for factor in REDUCTIONS:
            smaller = -(-height // factor), -(-width // factor)
            if smaller[0] >= least[0] and smaller[1] >= least[1]:
                return smaller
        return 0, 0


def _opened(data: bytes) -> Image:
    import PIL.Image

    try:
        return open_image(data)
    except PIL.UnidentifiedImageError as error:
        raise Unreadable("is no image in a known format") from error
    except Exception as error:
        raise Unreadable(f"is damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _may_be_turned(data: bytes) -> bool:
    """Whether a JPEG has a segment that may hold an orientation: EXIF, or XMP."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if kind == 0xDA:  # the pixels begin
            return False
        if kind == 0xE1 and (data.startswith(b"Exif", place + 4) or data.startswith(b"http://ns.adobe.com/", place + 4)):
            return True
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return True  # segments that cannot be followed are left to Pillow
