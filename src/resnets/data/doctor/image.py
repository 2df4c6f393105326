"""One encoded image under examination: what it is, what is wrong with it, and fingerprints to compare it by.

Legend: H W height and width in pixels. Importing this module loads no torch.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import PIL.Image
from PIL import ImageFile, ImageOps

from ..decoding.decode import EncodedImage
from ..decoding.formats import open_image
from ..decoding.sides import MAX_PIXELS
from ..errors import Unreadable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIGEST_BYTES = 16
"""Of the fingerprints: BLAKE2b of 128 bits, for which accidental equals are out of the question."""
CELLS = 256
"""Grey cells, 16×16, by which look-alikes are confirmed."""
HUGE_PIXELS = 24_000_000
"""From here on an image is called huge: what a phone's main camera gives, and twenty times what a network sees."""
THUMBNAIL_SIDE = 168
"""Of the page's images, in pixels."""
_MARGIN = 2
"""Grey levels of 255 by which neighbours must differ to count in the perceptual hash, so that flat parts say nothing."""
_FEATURES = 12
"""Bits set that a perceptual hash needs, below which the image is too plain to be compared."""

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
_ENDINGS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"), "MPO": ("jpg", "jpeg", "jpe", "jfif", "mpo"), "PNG": ("png", "apng"), "GIF": ("gif",),
    "BMP": ("bmp", "dib"), "DIB": ("dib", "bmp"), "WEBP": ("webp",), "TIFF": ("tif", "tiff"), "AVIF": ("avif", "avifs"),
    "TGA": ("tga",), "PPM": ("ppm", "pgm", "pbm", "pnm"), "JPEG2000": ("jp2", "j2k", "jpx", "j2c", "jpc"),
}  # fmt: skip
"""By format: the endings of names that fit."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What one image showed by itself."""

    remarks: tuple[tuple[str, str], ...]
    """Kinds of findings, each with its detail."""
    content: bytes = b""
    """Fingerprint of the file."""
    pixels: bytes = b""
    """Fingerprint of the decoded image, as RGB with its size; empty where it cannot be decoded."""
    likeness: bytes = b""
    """As `likeness_of` gives it, where it was asked for."""
    side: int = 0
    """The shorter one in pixels; 0 where it cannot be decoded."""


def examine(content: bytes, name: str, *, likeness: bool) -> Examined:
    """Decodes an image as training would, and says what there is to say about it."""
    import numpy as np

    if not content:
        return Examined((("empty", "0 bytes"),))
    digest = fingerprint(content)
    problem, remarks = _header(content, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = EncodedImage(content, 3).pixels()
    except Unreadable as error:
        # The decoder alone says whether an image can be read, here as in training; the header says what kind of problem it is.
        kind, detail = problem or ("damaged", str(error).removeprefix("is damaged: "))
        return Examined(((kind, detail),), digest)
    height, width = pixels.shape[:2]
    if height * width >= HUGE_PIXELS:
        remarks.append(("huge", f"{width}×{height}, {height * width / 1e6:.0f} million pixels"))
    if bool((pixels[0, 0] == pixels[-1, -1]).all()) and bool((pixels == pixels[0, 0]).all()):
        remarks.append(("blank", f"{width}×{height}, all of colour {tuple(np.atleast_1d(pixels[0, 0]).tolist())}"))
    return Examined(
        tuple(remarks), digest, pixel_fingerprint(pixels), likeness_of(pixels) if likeness else b"", min(height, width)
    )  # fmt: skip


def _header(content: bytes, name: str) -> tuple[tuple[str, str] | None, list[tuple[str, str]]]:
    """What is wrong with the header, as kind and detail, or None; and what it says beyond that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(content) as image:
                if image.width * image.height > MAX_PIXELS:
                    return _too_large(image.width * image.height, content), []
                return None, _remarks(image, content, name)
    except PIL.UnidentifiedImageError:
        if content.startswith(_SIGNATURES):
            return ("damaged", f"begins as an image, and ends or is damaged within its header ({len(content):,} bytes)"), []
        return ("no-image", f"begins with {_beginning(content)}"), []
    except PIL.Image.DecompressionBombError as error:
        declared = re.search(r"\d+", str(error))
        return _too_large(int(declared[0]) if declared else 0, content), []
    except Exception as error:  # Pillow's plugins raise of all kinds on a damaged header
        return ("damaged", _sentence(error)), []


def _too_large(pixels: int, content: bytes) -> tuple[str, str]:
    return "too-large", f"{pixels:,} pixels declared in {len(content):,} bytes; at most {MAX_PIXELS:,} are decoded"


def _remarks(image: PIL.Image.Image, content: bytes, name: str) -> list[tuple[str, str]]:
    remarks = []
    kind, size = image.format or "", f"{image.width}×{image.height}"
    ending = name.rpartition(".")[2].lower()
    fitting = _ENDINGS.get(kind, ())
    if fitting and ending not in fitting:
        remarks.append(("misnamed", f"{kind} by its content, .{ending} by its name"))
    if image.mode == "CMYK":
        remarks.append(("cmyk", f"{kind}, {size}"))
    depth = _depth(image, content)
    if depth > 8:
        remarks.append(("sixteen-bit", f"{kind}, {size}, {depth} bits per channel"))
    if image.mode in ("P", "PA") and kind != "GIF":
        remarks.append(("palette", f"{kind}, {size}"))
    # A GIF of one frame often declares a transparent colour that no pixel has: not worth a line.
    if image.has_transparency_data and kind != "GIF":
        remarks.append(("transparent", f"{kind}, {size}, mode {image.mode}"))
    orientation = image.getexif().get(0x0112, 1)
    if orientation in range(2, 9):
        remarks.append(("rotated", f"EXIF orientation {orientation}"))
    # A phone's MPO is a photo with a second one for depth or preview: one image to everybody.
    frames = 1 if kind == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        remarks.append(("animated", f"{kind}, {frames:,} frames"))
    return remarks


def _depth(image: PIL.Image.Image, content: bytes) -> int:
    """Bits a channel as the file has them; Pillow shows a 16-bit RGB PNG as an ordinary one."""
    if image.format == "PNG" and len(content) > 24:
        return content[24]
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, 8)
        return int(max(bits) if isinstance(bits, tuple) else bits)
    return 16 if image.mode.startswith("I") else 8


def fingerprint(content: bytes | memoryview) -> bytes:
    """Of bytes: equal for equal ones alone."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def pixel_fingerprint(pixels: NDArray[np.uint8]) -> bytes:
    """Of an image (H, W) or (H, W, C): equal for the same size and the same pixels alone."""
    import numpy as np

    shape = "×".join(map(str, pixels.shape)).encode()
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=DIGEST_BYTES, key=shape).digest()


def perceptual_hash(grey: PIL.Image.Image) -> bytes:
    """128 bits that survive resizing and compression: of a grey image as 9×9 cells, whether each of 8×8 is darker than the next to its
    right and than the next below. Empty for an image too plain to say.

    The cells overlap (a triangle filter): with sharp edges, or a quick reduction first, resized copies are up to 23 bits apart instead of 2.
    """
    import numpy as np

    cells = np.asarray(grey.resize((9, 9), PIL.Image.Resampling.BILINEAR), np.int16)
    right, below = np.diff(cells, axis=1)[:8] > _MARGIN, np.diff(cells, axis=0)[:, :8] > _MARGIN
    bits = np.concatenate((right.ravel(), below.ravel()))
    return np.packbits(bits).tobytes() if int(bits.sum()) >= _FEATURES else b""


def likeness_of(pixels: NDArray[np.uint8]) -> bytes:
    """What look-alikes are found by, of an image (H, W) or (H, W, 3): its perceptual hash, and itself as `CELLS` grey cells, which say
    of two images with nearly the same hash whether they are. Empty for an image too plain to say."""
    grey = PIL.Image.fromarray(pixels).convert("L")
    hashed = perceptual_hash(grey)
    side = math.isqrt(CELLS)
    return hashed + grey.resize((side, side), PIL.Image.Resampling.BILINEAR).tobytes() if hashed else b""


def thumbnail(content: bytes) -> bytes:
    """A small JPEG of the image, or of as much as a damaged file still shows; empty where that is nothing."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with open_image(content) as image:
                image.draft("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
                return _small(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception:  # an image of a broken image is a courtesy, and the page says where there is none
        return b""
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def array_thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG of pixels (H, W) or (H, W, 3); small ones magnified in whole steps, so that each pixel is seen."""
    image = PIL.Image.fromarray(pixels)
    factor = max(1, THUMBNAIL_SIDE // 2 // max(image.size))
    return _small(image.resize((image.width * factor, image.height * factor), PIL.Image.Resampling.NEAREST).convert("RGB"))


def _small(image: PIL.Image.Image) -> bytes:
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=78)
    return stream.getvalue()


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _beginning(content: bytes) -> str:
    """The first bytes as text where they are text."""
    start = content[:24]
    text = start.decode("ascii", "replace")
    printable = all(letter.isprintable() or letter in "\r\n\t" for letter in text) and "\ufffd" not in text
    return repr(" ".join(text.split())) if printable else start[:8].hex(" ")
