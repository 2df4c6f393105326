"""Objects drawn into an image: boxes with their names and scores, and classes as coloured areas.

Legend: H W height and width in pixels, n boxes, K classes. Lines and letters grow with the image. A line is dark and light side by
side, and a name is on a plate of its class's colour, so that both are seen on any ground; classes are told apart by their names where
colours do not suffice, and neighbouring colours differ in brightness for readers who do not see the hue (Okabe and Ito 2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from ..core.errors import UserError
from ..data.annotations.objects import IGNORED

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PALETTE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Okabe and Ito's colours without black, which would not be seen."""
_GOLDEN = 0.618034

Colour = tuple[int, int, int]


def class_colour(k: int) -> Colour:
    """The colour of class k, counted from 0: the palette's, then shades of it that can still be told apart."""
    red, green, blue = PALETTE[k % len(PALETTE)]
    turn = k // len(PALETTE)
    if not turn:
        return red, green, blue
    # Multiples of the golden ratio fill the range evenly, however many are asked for.
    share = 0.2 + 0.3 * (turn * _GOLDEN % 1)
    ground = 255 if turn % 2 else 0
    return tuple(round(value + share * (ground - value)) for value in (red, green, blue))  # type: ignore[return-value]


def draw_boxes(
    image: PIL.Image.Image,
    boxes: ArrayLike,
    labels: Sequence[int],
    scores: Sequence[float] | None = None,
    classes: Sequence[str] = (),
) -> PIL.Image.Image:
    """A copy of the image, RGB, with the boxes drawn in, the least sure ones first so that the surest are above.

    Args:
        image: any image; it is left as it is.
        boxes: (n, 4), x1 y1 x2 y2 in its pixels.
        labels: (n,), places in `classes`, from 0.
        scores: (n,), in [0, 1], which are shown after the names; None for objects that are known.
        classes: the K names.

    Raises:
        ValueError: not a label, or not a score, for each box; a label outside the classes.
    """
    rows, places = numpy.asarray(boxes, numpy.float64).reshape(-1, 4), [int(label) for label in labels]
    if len(rows) != len(places) or (scores is not None and len(scores) != len(places)):
        raise UserError(
            f"{len(rows)} boxes, {len(places)} labels and {len(places if scores is None else scores)} scores: as many of each"
        )
    _check(places, classes)
    drawn = image.convert("RGB")
    pen, font = PIL.ImageDraw.Draw(drawn), _font(_letter_height(drawn.size))
    order = range(len(places)) if scores is None else sorted(range(len(places)), key=lambda i: scores[i])
    for i in order:
        _frame(pen, rows[i].tolist(), class_colour(places[i]), _line_width(drawn.size))
    # Names are above all frames, and the surest name above the others.
    for i in order:
        name = classes[places[i]] if scores is None else f"{classes[places[i]]} {round(100 * float(scores[i]))} %"
        _plate(pen, drawn.size, rows[i, :2].tolist(), name, class_colour(places[i]), font)
    return drawn


def draw_mask(image: PIL.Image.Image, mask: ArrayLike, classes: Sequence[str], opacity: float = 0.55) -> PIL.Image.Image:
    """A copy of the image, RGB, under its mask: each class's area in its colour with a name on its largest part, ignored places grey.

    Args:
        image: any image; it is left as it is.
        mask: (H, W) whole numbers: 0 background, 1 to K classes, 255 ignored.
        classes: the K names, without the background.
        opacity: of the colours, in [0, 1].

    Raises:
        ValueError: a mask of another size than the image, or with a class that there is not.
    """
    values = numpy.asarray(mask)
    if values.shape != (image.height, image.width):
        shape = " x ".join(map(str, values.shape))
        raise UserError(f"a mask of {shape} for an image of {image.height} x {image.width}: give one of the image's size")
    present = [int(value) for value in numpy.unique(values) if value not in (0, IGNORED)]
    _check([value - 1 for value in present], classes)
    pixels = numpy.asarray(image.convert("RGB"), numpy.float32).copy()
    for value in (*present, IGNORED):
        colour = (128, 128, 128) if value == IGNORED else class_colour(value - 1)
        area = values == value
        pixels[area] = (1 - opacity) * pixels[area] + opacity * numpy.asarray(colour, numpy.float32)
    edge = _edges(values, _line_width(image.size))
    pixels[edge] = 255
    drawn = PIL.Image.fromarray(pixels.round().astype(numpy.uint8))
    pen, font = PIL.ImageDraw.Draw(drawn), _font(_letter_height(drawn.size))
    for value in present:
        row, column = _inner_place(values == value)
        _plate(pen, drawn.size, (column, row), classes[value - 1], class_colour(value - 1), font, centred=True)
    return drawn


def _check(places: list[int], classes: Sequence[str]) -> None:
    for place in places:
        if not 0 <= place < len(classes):
            raise UserError(f"the label {place} is none of the {len(classes)} classes, which count from 0")


def _line_width(size: tuple[int, int]) -> int:
    return max(1, round(math.sqrt(size[0] * size[1]) / 220))


def _letter_height(size: tuple[int, int]) -> int:
    return max(9, round(math.sqrt(size[0] * size[1]) / 34))


@lru_cache(maxsize=8)
def _font(height: int) -> PIL.ImageFont.FreeTypeFont:
    """matplotlib's own font, DejaVu Sans, which has Greek, Cyrillic and Arabic letters too; Pillow's has Latin ones alone."""
    import matplotlib

    return PIL.ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", height)


def _luminance(colour: Colour) -> float:
    """Relative luminance in [0, 1] (WCAG 2)."""
    linear = [value / 3294.6 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _on(colour: Colour) -> Colour:
    """Black or white, whichever stands out more from the colour."""
    light = _luminance(colour)
    return (0, 0, 0) if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else (255, 255, 255)


def _frame(pen: PIL.ImageDraw.ImageDraw, box: list[float], colour: Colour, width: int) -> None:
    """The box in its colour, between a dark and a light line: one of the two stands out from any ground."""
    left, top, right, bottom = (round(value) for value in box)
    right, bottom = max(left, right - 1), max(top, bottom - 1)  # edges become the pixels inside them
    thin = max(1, width // 3)
    for inset, shade, thick in ((-thin, (0, 0, 0), thin), (0, colour, width), (width, (255, 255, 255), thin)):
        corners = (left + inset, top + inset, right - inset, bottom - inset)
        if corners[0] <= corners[2] and corners[1] <= corners[3]:
            pen.rectangle(corners, outline=shade, width=thick)


def _plate(
    pen: PIL.ImageDraw.ImageDraw,
    size: tuple[int, int],
    place: Sequence[float],
    text: str,
    colour: Colour,
    font: PIL.ImageFont.FreeTypeFont,
    *,
    centred: bool = False,
) -> None:
    """The text on a plate: above the place, below it where there is no room, or around it; always inside the image."""
    ascent, descent = font.getmetrics()
    padding = max(1, round(ascent / 6))
    width, height = round(pen.textlength(text, font=font)) + 2 * padding, ascent + descent + padding
    x, y = place
    if centred:
        x, y = x - width / 2, y - height / 2
    else:
        y = y - height if y >= height else y
    x, y = round(min(max(0, x), max(0, size[0] - width))), round(min(max(0, y), max(0, size[1] - height)))
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    pen.text((x + padding, y + padding // 2), text, fill=_on(colour), font=font)


def _edges(values: numpy.ndarray, width: int) -> numpy.ndarray:
    """(H, W) bool: where the value differs from that of a neighbour at most half of `width` away, above or to the left."""
    edge = numpy.zeros(values.shape, bool)
    for step in range(1, max(1, width // 2) + 1):
        edge[step:] |= values[step:] != values[:-step]
        edge[:, step:] |= values[:, step:] != values[:, :-step]
    return edge


def _inner_place(area: numpy.ndarray) -> tuple[int, int]:
    """Row and column deep inside the area (H, W): what is left of it when its border is taken off again and again."""
    share = max(1, max(area.shape) // 64)
    rows, columns = (-(-length // share) for length in area.shape)
    padded = numpy.zeros((rows * share, columns * share), numpy.float64)
    padded[: area.shape[0], : area.shape[1]] = area
    coarse = padded.reshape(rows, share, columns, share).mean((1, 3))
    best, inner = coarse, coarse
    while inner.max() > 0:
        best = inner
        around = numpy.pad(inner, 1)
        inner = numpy.minimum.reduce([around[1:-1, 1:-1], around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
    # Of places that are as deep, the one nearest to the middle of them all.
    deepest = numpy.argwhere(best == best.max())
    row, column = deepest[((deepest - deepest.mean(0)) ** 2).sum(1).argmin()]
    return int(row) * share + share // 2, int(column) * share + share // 2
