"""Confusion matrix, as rows for tables.

Legend: K classes; `confusion[i][j]` counts images of class i that were predicted as class j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class ClassRow:
    """How one class fared; None where there is nothing to divide by."""

    name: str
    num_images: int
    accuracy: float | None
    """Share of its images that were predicted as this class (recall)."""
    precision: float | None
    """Share of the images predicted as this class that belong to it."""
    f1: float | None
    """Harmonic mean of the two; 0 where none was right, None where it has neither images nor was it named."""
    rival: str | None
    """The other class that its images were predicted as most often; None where all are right."""
    rival_count: int


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were predicted as another."""

    label: str
    predicted_as: str
    count: int
    share: float
    """Of the first class's images."""


def class_rows(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[ClassRow]:
    """A row for each class, in their order."""
    counts = numpy.asarray(confusion)
    off = counts.copy()
    numpy.fill_diagonal(off, 0)
    rivals, rows = off.argmax(1), []
    for i, name in enumerate(classes):
        right, total, taken, wrong = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum()), int(off[i, rivals[i]])
        rows.append(
            ClassRow(
                name,
                total,
                right / total if total else None,
                right / taken if taken else None,
                2 * right / (total + taken) if total + taken else None,
                classes[rivals[i]] if wrong else None,
                wrong,
            )
        )
    return rows


def confused_pairs(confusion: Sequence[Sequence[int]], classes: Sequence[str], most: int) -> list[ConfusedPair]:
    """The `most` most frequent confusions, the most frequent first; fewer where there are fewer."""
    counts = numpy.asarray(confusion)
    off = counts.copy()
    numpy.fill_diagonal(off, 0)
    order = numpy.argsort(-off, axis=None, kind="stable")[:most]
    pairs = []
    for i, j in zip(*(place.tolist() for place in numpy.unravel_index(order, off.shape)), strict=True):
        if off[i, j]:
            pairs.append(ConfusedPair(classes[i], classes[j], int(off[i, j]), float(off[i, j] / counts[i].sum())))
    return pairs


def coarse_shares(confusion: Sequence[Sequence[int]], side: int) -> numpy.ndarray:
    """The matrix as shares of each row, (K, K), or where K is larger than `side` its largest shares in (side, side) blocks, so that a
    single confusion is not averaged away; float64 in [0, 1]."""
    counts = numpy.asarray(confusion, dtype=numpy.float64)
    shares: numpy.ndarray = counts / numpy.maximum(1, counts.sum(1, keepdims=True))
    if len(shares) <= side:
        return shares
    edges = numpy.linspace(0, len(shares), side, endpoint=False).astype(int)
    return numpy.maximum.reduceat(numpy.maximum.reduceat(shares, edges, axis=0), edges, axis=1)
