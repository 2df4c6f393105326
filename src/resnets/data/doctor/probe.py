"""What a look at some of the images and at the names of classes says about a user's data. Importing this module loads no torch."""

from __future__ import annotations

import re
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from ..decoding.formats import open_image
from ..errors import DataError
from ..image_source import ImageSource

_SAMPLE = 256
"""Images whose headers are read."""
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "F")
_SIDES = re.compile(r"\b(left|right|east|west|clockwise|counterclockwise|anticlockwise)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Probe:
    """Of the images looked at."""

    short_side: int
    """Median of the shorter side, in pixels."""
    grey: bool
    """Whether none of them has colours."""


def probe(images: ImageSource) -> Probe:
    """Reads the headers of some images, spread evenly.

    Raises:
        DataError: none of them is an image.
    """
    import PIL.Image

    count = min(len(images), _SAMPLE)
    sides, modes, reason = [], set(), ""
    for place in range(count):
        index = place * len(images) // count
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the images that are too large, which decoding refuses
                with open_image(images.read(index)) as image:
                    sides.append(min(image.size))
                    modes.add(image.mode)
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            reason = reason or f"{images.name_of(index)}: {' '.join(str(error).split()) or type(error).__name__}"
    if not sides:
        raise DataError(f"none of the {count:,} images of {images.name} that were tried can be read; the first: {reason}")
    return Probe(int(statistics.median(sides)), modes <= set(_GREY))


def mirrored_keeps_class(classes: Sequence[str]) -> tuple[bool, str]:
    """Whether a mirrored image is of the same class, as far as the classes' names tell, and why."""
    signs = [name for name in classes if len(name) == 1]
    if 2 * len(signs) > len(classes):
        return False, f"the classes look like digits or letters ({', '.join(signs[:4])}), which mirroring changes"
    sided = [name for name in classes if _SIDES.search(re.sub(r"[_\W]+", " ", name))]
    if sided:
        return False, f"the class {sided[0]} has a side, which mirroring changes"
    return True, "no class's name is evidence against it"
