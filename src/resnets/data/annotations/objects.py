"""What is known about the objects in an image, and images of which it is known.

Legend: N images, n objects of one image, M objects of all, K classes, H W height and width of an image in pixels. A box is
x1 y1 x2 y2 in pixels of the whole image, x to the right and y down, and its numbers are edges and not centres of pixels: the image is
the box 0 0 W H, and a box is x2 - x1 wide. Labels count from 0 and the background is none of them. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.reading import read_file

IGNORED = 255
"""What a mask holds where no class is right or wrong (VOC's "void")."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one image.

    Raises:
        ValueError: the arrays are of other shapes, or a box has a number that is none or not finite.
    """

    boxes: NDArray[np.float32]
    """(n, 4)."""
    labels: NDArray[np.int64]
    """(n,), each a place in the classes."""
    crowd: NDArray[np.bool_]
    """(n,): a box around many objects that are not told apart (COCO's iscrowd)."""
    difficult: NDArray[np.bool_]
    """(n,): neither to be found nor counted as an error when found (VOC's difficult)."""
    areas: NDArray[np.float32]
    """(n,): square pixels of the object where its mask is known (COCO's area), else of its box."""

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.boxes.shape != (count, 4) or any(len(array) != count for array in (self.crowd, self.difficult, self.areas)):
            raise UserError(
                f"{count} labels need boxes ({count}, 4) and as many entries of the other kinds, not {self.boxes.shape}"
            )
        if not np.isfinite(self.boxes).all():
            row = int(np.flatnonzero(~np.isfinite(self.boxes).all(1))[0])
            raise UserError(f"the box {numbers(self.boxes[row])} of object {row} has a number that is not finite; correct it")

    def __len__(self) -> int:
        """n."""
        return len(self.labels)

    @classmethod
    def of(
        cls,
        boxes: Sequence[Sequence[float]] | NDArray[np.float32],
        labels: Sequence[int] | NDArray[np.int64],
        *,
        crowd: Sequence[bool] | None = None,
        difficult: Sequence[bool] | None = None,
        areas: Sequence[float] | None = None,
    ) -> Objects:
        """From sequences; what is not given is False, and areas are those of the boxes."""
        made = np.asarray(boxes, np.float32).reshape(-1, 4)
        nothing = np.zeros(len(made), bool)
        return cls(
            made,
            np.asarray(labels, np.int64),
            nothing if crowd is None else np.asarray(crowd, bool),
            nothing if difficult is None else np.asarray(difficult, bool),
            box_areas(made) if areas is None else np.asarray(areas, np.float32),
        )

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Objects:
        """Some of them."""
        return Objects(self.boxes[rows], self.labels[rows], self.crowd[rows], self.difficult[rows], self.areas[rows])


@runtime_checkable
class AnnotatedImages(Protocol):
    """Images with objects that can be read by number."""

    @property
    def name(self) -> str:
        """Of the data set, for messages."""

    @property
    def split(self) -> str:
        """ "train", "val" or "test"."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, by label."""

    def __len__(self) -> int:
        """N."""

    def read(self, index: int) -> bytes:
        """The encoded image (JPEG, PNG, ...).

        Raises:
            OSError: it cannot be read.
        """

    def name_of(self, index: int) -> str:
        """What a person calls the image: its path below the data set's folder."""

    def size_of(self, index: int) -> tuple[int, int]:
        """H and W, as the annotation states them."""

    def objects(self, index: int) -> Objects:
        """The image's objects, as annotated: crowds, difficult ones and boxes of no area included."""

    def mask(self, index: int) -> NDArray[np.uint8]:
        """(H, W): 0 for background, 1 to K for the classes, 255 where nothing is right or wrong.

        Raises:
            ValueError: the data set has no masks, or this one cannot be read.
        """


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """The objects of N images, one after the other."""

    objects: Objects
    """All M."""
    offsets: NDArray[np.int64]
    """(N + 1,): those of image i are rows offsets[i] to offsets[i + 1]."""

    @classmethod
    def joined(cls, images: Iterable[Objects]) -> ObjectTable:
        """From the objects of every image."""
        parts = list(images)
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        if not parts:
            return cls(Objects.of([], []), offsets)
        names = ("boxes", "labels", "crowd", "difficult", "areas")
        return cls(Objects(*(np.concatenate([getattr(part, name) for part in parts]) for name in names)), offsets)

    def of(self, index: int) -> Objects:
        """Those of one image."""
        return self.objects[slice(int(self.offsets[index]), int(self.offsets[index + 1]))]


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnotatedFiles:
    """Annotated images of one file each; what kind of masks they have is for those who derive from it."""

    name: str
    split: str
    classes: tuple[str, ...]
    root: Path
    paths: tuple[str, ...]
    """Below `root`, with "/" between parts."""
    sizes: NDArray[np.int32]
    """(N, 2): H and W."""
    table: ObjectTable

    def __len__(self) -> int:
        """N."""
        return len(self.paths)

    def read(self, index: int) -> bytes:
        """The file's bytes.

        Raises:
            OSError: it cannot be read.
        """
        return read_file(self.root / self.paths[index], inside=self.root)

    def name_of(self, index: int) -> str:
        """Its path below the root."""
        return self.paths[index]

    def size_of(self, index: int) -> tuple[int, int]:
        """H and W, as annotated."""
        height, width = self.sizes[index].tolist()
        return height, width

    def objects(self, index: int) -> Objects:
        """As annotated."""
        return self.table.of(index)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Raises ValueError: there are no masks."""
        raise UserError(f"{self.name} {self.split} has boxes and no masks, so that there is none for {self.name_of(index)}")


@dataclass(frozen=True, eq=False)
class Several:
    """Data sets of the same classes, one after the other."""

    name: str
    split: str
    parts: tuple[AnnotatedImages, ...]

    def __post_init__(self) -> None:
        if not self.parts or any(part.classes != self.parts[0].classes for part in self.parts):
            raise UserError(f"{self.name} joins data sets of different classes; they must have the same")

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of each."""
        return self.parts[0].classes

    def __len__(self) -> int:
        """N of all."""
        return sum(map(len, self.parts))

    def place(self, index: int) -> tuple[AnnotatedImages, int]:
        """The part in which an image is, and its place there."""
        if index < 0:
            raise IndexError(index)
        rest = index
        for part in self.parts:
            if rest < len(part):
                return part, rest
            rest -= len(part)
        raise IndexError(index)

    def read(self, index: int) -> bytes:
        """The file's bytes."""
        part, place = self.place(index)
        return part.read(place)

    def name_of(self, index: int) -> str:
        """As its part calls it."""
        part, place = self.place(index)
        return part.name_of(place)

    def size_of(self, index: int) -> tuple[int, int]:
        """H and W, as annotated."""
        part, place = self.place(index)
        return part.size_of(place)

    def objects(self, index: int) -> Objects:
        """As annotated."""
        part, place = self.place(index)
        return part.objects(place)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """As its part has it."""
        part, place = self.place(index)
        return part.mask(place)


def box_areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,): square pixels of boxes (n, 4), 0 for those that are turned inside out."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return areas


def numbers(box: Iterable[float]) -> str:
    """A box for a message: its numbers, the whole ones without a point."""
    return " ".join(f"{float(number):.7g}" for number in box)
