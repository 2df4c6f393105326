"""Images compared with each other: the same ones, and those that look alike, within a split and across.

Legend: N images over all splits, M of them with a perceptual hash. Importing this module loads no torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .findings import Finding, Place
from .image import CELLS, DIGEST_BYTES, Examined

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR_BITS = 7
"""Of 128, by which the hashes of look-alikes differ at most: of eight parts of 16 bits at least one is then equal."""
CORRELATION = 0.98
"""Of the grey cells of look-alikes, at least: copies of photographs, resized, recompressed or 10% brighter, come out at 0.998 and more."""
_HELD_BACK = {"all": 0, "train": 0, "val": 1, "test": 2}
"""Of copies in several splits those in the highest stay; the others are left out."""
_AT_ONCE = 1 << 20
"""Pairs of hashes compared in one go."""


@dataclass(frozen=True)
class Split:
    """What a comparison knows of a split."""

    name: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    name_of: Callable[[int], str]


class Fingerprints:
    """Of N images, in columns: 52 bytes each, and 256 more where look-alikes are wanted."""

    def __init__(self, splits: Sequence[Split], *, likeness: bool) -> None:
        import numpy as np

        self.splits = splits
        self.offsets = np.cumsum([0, *(len(split.labels) for split in splits)])
        total = int(self.offsets[-1])
        words = DIGEST_BYTES // 8
        self.content, self.pixels = np.zeros((total, words), np.uint64), np.zeros((total, words), np.uint64)
        self.hashes = np.zeros((total, 2), np.uint64)
        self.cells = np.zeros((total if likeness else 0, CELLS), np.uint8)
        self.side = np.zeros(total, np.int32)
        """The shorter one in pixels; 0 where the image cannot be decoded."""

    def put(self, place: Place, examined: Examined) -> None:
        """Notes what was seen of an image."""
        import numpy as np

        row = self.offsets[place[0]] + place[1]
        self.side[row] = examined.side
        for column, digest in ((self.content, examined.content), (self.pixels, examined.pixels)):
            if digest:
                column[row] = np.frombuffer(digest, np.uint64)
        if examined.likeness:
            self.hashes[row] = np.frombuffer(examined.likeness, np.uint64, 2)
            self.cells[row] = np.frombuffer(examined.likeness, np.uint8, CELLS, DIGEST_BYTES)

    def places(self, rows: Sequence[int]) -> list[Place]:
        """Where the images of some rows are."""
        import numpy as np

        numbers = np.searchsorted(self.offsets, rows, side="right") - 1
        return [(int(number), int(row - self.offsets[number])) for number, row in zip(numbers, rows, strict=True)]

    def same(self) -> Iterator[Finding]:
        """Groups of images with the same pixels, each once, by the first of them."""
        import numpy as np

        rows = np.flatnonzero(self.side)
        for group in _groups(self.pixels[rows]):
            members = rows[group]
            files = len(np.unique(self.content[members], axis=0))
            how = "identical files" if files == 1 else "identical pixels in different files"
            yield self._same(self.places(members.tolist()), how)

    def _same(self, places: list[Place], how: str) -> Finding:
        splits = sorted({number for number, _ in places}, key=lambda number: _HELD_BACK[self.splits[number].name])
        names, classes = self._names(places), self._classes(places)
        if len(splits) > 1:
            excluded = tuple(name for name, place in zip(names, places, strict=True) if place[0] != splits[-1])
            across = " and ".join(self.splits[number].name for number in splits)
            return Finding("leak", names, f"{how} in {across}{classes}", excluded, tuple(places))
        return Finding("contradiction" if classes else "duplicate", names, how + classes, (), tuple(places))

    def near(self) -> list[Finding]:
        """Groups of images that look alike and are not the same, those across splits before the others."""
        import numpy as np

        rows = np.flatnonzero((self.hashes != 0).any(1))
        # One of each set of equal images is compared: the others are found as such already.
        rows = rows[np.sort(np.unique(self.pixels[rows], axis=0, return_index=True)[1])] if len(rows) else rows
        groups = [self.places(rows[group].tolist()) for group in _look_alike(self.hashes[rows], self.cells[rows])]
        groups.sort(key=lambda places: len({number for number, _ in places}) == 1)
        return [self._near(places) for places in groups]

    def _near(self, places: list[Place]) -> Finding:
        splits = sorted({self.splits[number].name for number, _ in places}, key=_HELD_BACK.__getitem__)
        where = f"across {' and '.join(splits)}" if len(splits) > 1 else f"within {splits[0]}"
        return Finding("near-duplicate", self._names(places), where + self._classes(places), (), tuple(places))

    def _names(self, places: list[Place]) -> tuple[str, ...]:
        return tuple(self.name_of(place) for place in places)

    def _classes(self, places: list[Place]) -> str:
        """Which classes, where they are several."""
        labels = sorted({self.label_of(place) for place in places})
        return f"; of classes {', '.join(labels)}" if len(labels) > 1 else ""

    def name_of(self, place: Place) -> str:
        """What an image is called."""
        return self.splits[place[0]].name_of(place[1])

    def label_of(self, place: Place) -> str:
        """An image's class, by name."""
        split = self.splits[place[0]]
        return split.classes[int(split.labels[place[1]])]


def _groups(digests: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Row numbers of digests (N, 2) that occur more than once, ascending in each group, the groups by their first."""
    import numpy as np

    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: rows of a group stay ascending
    changes = (np.diff(digests[order], axis=0) != 0).any(1)
    return sorted(_runs(order, changes), key=lambda group: int(group[0]))


def _runs(order: NDArray[np.int64], changes: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """The pieces of `order` (N,) of two or more, cut where `changes` (N - 1,) says that the next one differs."""
    import numpy as np

    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    ends = np.append(starts[1:], len(order))
    for i in np.flatnonzero(ends - starts > 1):
        yield order[starts[i] : ends[i]]


def _look_alike(hashes: NDArray[np.uint64], cells: NDArray[np.uint8]) -> Iterator[list[int]]:
    """Groups of rows of hashes (M, 2) and cells (M, 256) in which each row is like the first: at most `NEAR_BITS` apart, and the cells
    correlated by `CORRELATION`. A row is in one group at most.

    Pairs are looked for among those that agree in one of eight parts of 16 bits, which all such pairs do. Parts with hardly a bit set,
    or hardly one not, are those of plain surfaces and shared by too many; pairs that agree in such parts alone are passed over.
    """
    import numpy as np

    parts = hashes.view(np.uint16)
    ones = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)
    partners: defaultdict[int, set[int]] = defaultdict(set)
    for part in range(parts.shape[1]):
        keys = parts[:, part]
        telling = np.flatnonzero((ones[keys] >= 2) & (ones[keys] <= 14))
        order = telling[np.argsort(keys[telling], kind="stable")]
        for bucket in _runs(order, np.diff(keys[order]) != 0):
            step = max(1, _AT_ONCE // len(bucket))
            for start in range(0, len(bucket), step):
                block = bucket[start : start + step]
                distances = ones[parts[block, None] ^ parts[None, bucket]].sum(2, dtype=np.int16)
                # Each pair once: a row with those after it.
                first, second = np.nonzero(np.triu(distances <= NEAR_BITS, start + 1))
                pairs = np.stack((block[first], bucket[second]), 1)
                for row, other in pairs[_correlated(cells, pairs)].tolist():
                    partners[row].add(other)
    taken: set[int] = set()
    for row in sorted(partners):
        if row not in taken and (group := sorted(partners[row] - taken)):
            taken.update((row, *group))
            yield [row, *group]


def _correlated(cells: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the cells of each pair (P, 2) of rows are correlated by `CORRELATION`."""
    import numpy as np

    verdicts = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _AT_ONCE // CELLS):
        block = slice(start, start + _AT_ONCE // CELLS)
        first, second = (cells[rows].astype(np.float32) for rows in pairs[block].T)
        first, second = first - first.mean(1, keepdims=True), second - second.mean(1, keepdims=True)
        covariance = (first * second).sum(1)
        verdicts[block] = covariance >= CORRELATION * np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return verdicts
