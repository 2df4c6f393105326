"""Encoded images with labels, wherever they are: what decoding, checking and training read from.

Legend: N images, K classes. Importing this module loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..core.reading import read_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ImageSource(Protocol):
    """Images that can be read by number, from any process: an instance can be pickled and sent to a worker."""

    @property
    def name(self) -> str:
        """Of the data set, for messages."""

    @property
    def split(self) -> str:
        """ "train", "val" or "test"."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, by label."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,), each in [0, K)."""

    def __len__(self) -> int:
        """N."""

    def read(self, index: int) -> bytes:
        """The encoded image (JPEG, PNG, ...).

        Raises:
            OSError: it cannot be read.
        """

    def name_of(self, index: int) -> str:
        """What a person calls the image: its path below the data set's folder, or its key."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """A source of one file per image."""

    name: str
    split: str
    root: Path
    paths: tuple[str, ...]
    """Below `root`, with "/" between parts."""
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

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
