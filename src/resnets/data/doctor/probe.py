"""What a look at some of the pictures and at the names of classes says about a user's data. Importing this module loads no torch."""

from __future__ import annotations

import re
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from ..decoding.formats import open_image
from ..errors import DataError
from ..image_source import PictureSource

_SAMPLE = 256
"""Pictures whose headers are read."""
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "F")
_SIDES = re.compile(r"\b(left|right|east|west|clockwise|counterclockwise|anticlockwise)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Survey:
    """Of the pictures looked at."""

    short_side: int
    """Median of the shorter side, in pixels."""
    grey: bool
    """Whether none of them has colours."""


def survey(pictures: PictureSource) -> Survey:
    """Reads the headers of some pictures, spread evenly.

    Raises:
        DataError: none of them is a picture.
    """
    import PIL.Image

    count = min(len(pictures), _SAMPLE)
    sides, modes, reason = [], set(), ""
    for place in range(count):
        index = place * len(pictures) // count
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the pictures that are too large, which decoding refuses
                with open_image(pictures.read(index)) as image:
                    sides.append(min(image.size))
                    modes.add(image.mode)
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            reason = reason or f"{pictures.name_of(index)}: {' '.join(str(error).split()) or type(error).__name__}"
    if not sides:
        raise DataError(f"none of the {count:,} pictures of {pictures.name} that were tried can be read; the first: {reason}")
    return Survey(int(statistics.median(sides)), modes <= set(_GREY))


def mirrored_keeps_class(classes: Sequence[str]) -> tuple[bool, str]:
    """Whether a mirrored picture is of the same class, as far as the classes' names tell, and why."""
    signs = [name for name in classes if len(name) == 1]
    if 2 * len(signs) > len(classes):
        return False, f"the classes look like digits or letters ({', '.join(signs[:4])}), which mirroring changes"
    sided = [name for name in classes if _SIDES.search(re.sub(r"[_\W]+", " ", name))]
    if sided:
        return False, f"the class {sided[0]} has a side, which mirroring changes"
    return True, "no class's name speaks against it"
