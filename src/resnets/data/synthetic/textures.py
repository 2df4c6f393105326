"""Backgrounds for scenes, made of nothing but random numbers.

Legend: H W height and width in pixels; a texture is (H, W, 3) float32, levels 0 to 255. Only sums, products and square roots of numbers
are taken, whose results are the same on every machine; sines are not. Importing this module loads no torch.
"""

from __future__ import annotations

import numpy as np
import PIL.Image
from numpy.typing import NDArray

Texture = NDArray[np.float32]


class Numbers:
    """Random numbers that are the same in every version of NumPy: the raw ones of PCG64 (NEP 19), a sequence for each place.

    Args:
        place: whole numbers that name the sequence, such as seed, split and scene.
    """

    def __init__(self, *place: int) -> None:
        self._raw = np.random.PCG64(np.random.SeedSequence(place))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * (int(self._raw.random_raw()) >> 11) / 2**53

    def whole(self, high: int) -> int:
        """A whole number in [0, high)."""
        return int(self.uniform() * high)

    def array(self, *shape: int) -> NDArray[np.float32]:
        """Numbers in [0, 1)."""
        made: NDArray[np.float32] = (
            (self._raw.random_raw(int(np.prod(shape))) >> 40).astype(np.float32) / np.float32(2**24)
        ).reshape(shape)
        return made

    def colour(self, low: float = 0.0, high: float = 255.0) -> NDArray[np.float32]:
        """(3,), each level in [low, high)."""
        return self.array(3) * np.float32(high - low) + np.float32(low)


def background(random: Numbers, height: int, width: int) -> Texture:
    """A background: a pattern between two colours, some shapes that are no garments, fine grain, and light that falls from one side."""
    first, second = random.colour(20, 235), random.colour(20, 235)
    pattern = PATTERNS[random.whole(len(PATTERNS))](random, height, width)[..., None]
    image: Texture = first + (second - first) * pattern
    for _ in range(random.whole(4)):
        _shape(random, image)
    light = np.float32(0.75) + np.float32(0.5) * _gradient(random, height, width)[..., None]
    grain = (random.array(height, width, 1) - np.float32(0.5)) * np.float32(random.uniform(4, 30))
    return np.asarray(np.clip(image * light + grain, 0, 255), np.float32)


def _along(random: Numbers, height: int, width: int) -> NDArray[np.float32]:
    """How far each pixel is in a random direction, in pixels."""
    across, down = random.uniform(-1, 1), random.uniform(-1, 1)
    length = max((across * across + down * down) ** 0.5, 1e-3)
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    return rows[:, None] * np.float32(down / length) + columns[None] * np.float32(across / length)


def _gradient(random: Numbers, height: int, width: int) -> NDArray[np.float32]:
    """From 0 at one side to 1 at the other."""
    along = _along(random, height, width)
    along -= along.min()
    return np.asarray(along / max(float(along.max()), 1.0), np.float32)


def _wave(along: NDArray[np.float32], period: float, phase: float) -> NDArray[np.float32]:
    """Up from 0 to 1 and down again, in straight lines."""
    turned = along / np.float32(period) + np.float32(phase)
    return np.asarray(np.abs(2 * (turned - np.floor(turned)) - 1), np.float32)


def _stripes(random: Numbers, height: int, width: int) -> NDArray[np.float32]:
    wave = _wave(_along(random, height, width), random.uniform(8, 48), random.uniform())
    steep = np.float32(random.uniform(1, 6))
    return np.asarray(np.clip((wave - np.float32(0.5)) * steep + np.float32(0.5), 0, 1), np.float32)


def _checks(random: Numbers, height: int, width: int) -> NDArray[np.float32]:
    return np.asarray((_stripes(random, height, width) + _stripes(random, height, width)) / 2, np.float32)


def _cloud(random: Numbers, height: int, width: int) -> NDArray[np.float32]:
    """Noise of several sizes, the larger ones stronger."""
    total = np.zeros((height, width), np.float32)
    cells, weight, weights = 2 + random.whole(3), 1.0, 0.0
    for _ in range(4):
        grid = PIL.Image.fromarray((random.array(cells, cells) * 255).astype(np.uint8))
        total += np.asarray(grid.resize((width, height), PIL.Image.Resampling.BICUBIC), np.float32) * np.float32(weight / 255)
        weights += weight
        cells, weight = cells * 2, weight * 0.6
    spread = (total / np.float32(weights) - np.float32(0.5)) * 2 + np.float32(0.5)
    return np.asarray(np.clip(spread, 0, 1), np.float32)


PATTERNS = (_gradient, _stripes, _checks, _cloud, _cloud)
"""Each makes (H, W) from 0 to 1."""


def _shape(random: Numbers, image: Texture) -> None:
    """Paints an ellipse or a rectangle, half transparent at least, into the image."""
    height, width = image.shape[:2]
    high, wide = random.uniform(0.1, 0.5) * height, random.uniform(0.1, 0.5) * width
    down, across = random.uniform() * height, random.uniform() * width
    rows = np.abs(np.arange(height, dtype=np.float32) - np.float32(down)) / np.float32(high / 2)
    columns = np.abs(np.arange(width, dtype=np.float32) - np.float32(across)) / np.float32(wide / 2)
    round_ = random.uniform() < 0.5
    inside = (rows[:, None] ** 2 + columns[None] ** 2 <= 1) if round_ else (rows[:, None] <= 1) & (columns[None] <= 1)
    cover = np.float32(random.uniform(0.2, 0.8))
    image[inside] += (random.colour() - image[inside]) * cover
