"""A scene: garments on a textured background, with the mask and the box of what can be seen of each.

Legend: n objects of a scene, H W its height and width in pixels; boxes as in `objects`. Importing this module loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...core.errors import UserError
from .garments import Garment, Garments
from .textures import Numbers, Texture, background

_TRIES = 12
"""Places tried for a garment before it is left out of its scene."""
_EDGE = 128
"""Coverage from which a pixel is the garment's."""


class SceneSettings(BaseModel):
    """What scenes look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(192, ge=32, le=2048)
    """Pixels of the longest side that a scene can have; each side is 5/6 of it at least."""
    smallest: int = Field(48, ge=8)
    """Pixels of the longer side of the smallest garments."""
    largest: int = Field(96, ge=8)
    """Pixels of the longer side of the largest garments; sizes between are alike in number on a logarithmic scale."""
    objects: int = Field(8, ge=1, le=50)
    """Garments of a scene at most; each number from 1 is as frequent."""
    empty: float = Field(0.02, ge=0, lt=1)
    """Share of the scenes that have none."""
    visible: float = Field(0.85, gt=0, le=1)
    """Share of every garment that others leave to be seen, at least."""

    @model_validator(mode="after")
    def _fits(self) -> SceneSettings:
        if not self.smallest <= self.largest <= self.size * 5 // 6:
            raise UserError(
                f"garments of {self.smallest} to {self.largest} pixels do not go into scenes whose sides may be {self.size * 5 // 6}: "
                "smallest <= largest <= 5/6 of size"
            )
        return self


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and its objects, the farthest first."""

    pixels: NDArray[np.uint8]
    """(H, W, 3), RGB."""
    masks: NDArray[np.bool_]
    """(n, H, W): what can be seen of each."""
    labels: NDArray[np.int64]
    """(n,)."""

    @property
    def boxes(self) -> NDArray[np.int64]:
        """(n, 4) of what can be seen."""
        return np.array([mask_box(mask) for mask in self.masks], np.int64).reshape(-1, 4)

    @property
    def classes(self) -> NDArray[np.uint8]:
        """(H, W): 0 for background, 1 to K for the classes."""
        made = np.zeros(self.pixels.shape[:2], np.uint8)
        for mask, label in zip(self.masks, self.labels.tolist(), strict=True):
            made[mask] = label + 1
        return made


def mask_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The smallest box around a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def draw(garments: Garments, settings: SceneSettings, random: Numbers) -> Scene:
    """A scene; it follows from its random numbers alone."""
    height, width = (_between(random, settings.size * 5 // 6, settings.size) for _ in range(2))
    image = background(random, height, width)
    wanted = 0 if random.uniform() < settings.empty else 1 + random.whole(settings.objects)
    masks = np.zeros((0, height, width), bool)
    whole = np.zeros(0, np.int64)
    labels: list[int] = []
    for _ in range(wanted):
        index = int(garments.usable[random.whole(len(garments.usable))])
        grey, cover = _sized(garments.cut_out(index), settings, random)
        place = _placed(cover >= _EDGE, masks, whole, settings.visible, random)
        if place is None:
            continue
        top, left = place
        solid = np.zeros((height, width), bool)
        solid[top : top + cover.shape[0], left : left + cover.shape[1]] = cover >= _EDGE
        masks = np.concatenate([masks & ~solid, solid[None]])
        whole = np.append(whole, solid.sum())
        labels.append(int(garments.labels[index]))
        _paint(image[top : top + cover.shape[0], left : left + cover.shape[1]], grey, cover, random)
    return Scene(image.astype(np.uint8), masks, np.array(labels, np.int64))


def _between(random: Numbers, low: int, high: int) -> int:
    return low + random.whole(high - low + 1)


def _sized(garment: Garment, settings: SceneSettings, random: Numbers) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A garment's grey levels and coverage at a random size, perhaps mirrored; its proportions, which tell boots from shoes, stay."""
    height, width = garment.grey.shape
    ratio = height / width
    # Steps of a power, so that sizes are alike in number on a logarithmic scale.
    longer = settings.smallest * (settings.largest / settings.smallest) ** random.uniform()
    high, wide = (longer, longer / ratio) if ratio > 1 else (longer * ratio, longer)
    return garment.resized(max(round(high), 4), max(round(wide), 4), random.uniform() < 0.5)


def _placed(
    solid: NDArray[np.bool_], masks: NDArray[np.bool_], whole: NDArray[np.int64], visible: float, random: Numbers
) -> tuple[int, int] | None:
    """Where a silhouette may be on top of those there, so that enough of each can be seen: top and left; None if nowhere was found."""
    high, wide = solid.shape
    for _ in range(_TRIES):
        top, left = random.whole(masks.shape[1] - high + 1), random.whole(masks.shape[2] - wide + 1)
        hidden = (masks[:, top : top + high, left : left + wide] & solid).sum((1, 2))
        if (masks.sum((1, 2)) - hidden >= visible * whole).all():
            return top, left
    return None


def _paint(part: Texture, grey: NDArray[np.uint8], cover: NDArray[np.uint8], random: Numbers) -> None:
    """Lays a slightly tinted garment on a part of the image, with a soft edge; its own levels are what tells a coat from a shirt."""
    tint = random.colour(0.75, 1.0)
    tint = tint / tint.max()
    dark, bright = random.uniform(0, 20), random.uniform(225, 255)
    cloth = np.float32(dark) + grey[..., None].astype(np.float32) * (tint * np.float32((bright - dark) / 255))
    part += (cloth - part) * (cover[..., None].astype(np.float32) / np.float32(255))
