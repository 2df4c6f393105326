"""Calibration: whether a network that says 90 % is right nine times in ten (Guo et al. 2017, 1706.04599).

Legend: N images, M bins of equal width over confidences in [0, 1]; bin m holds confidences in ((m - 1) / M, m / M].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import UserError


@dataclass(frozen=True)
class CalibrationBin:
    """The images whose confidence is between two edges."""

    low: float
    """Lower edge, not part of the bin (but 0 is of the first)."""
    high: float
    num_images: int
    num_right: int
    sum_of_confidences: float

    @property
    def accuracy(self) -> float | None:
        """Share of them that were right; None where there are none."""
        return self.num_right / self.num_images if self.num_images else None

    @property
    def confidence(self) -> float | None:
        """Their mean confidence; None where there are none."""
        return self.sum_of_confidences / self.num_images if self.num_images else None


@dataclass(frozen=True)
class Calibration:
    """Confidences against what came true, in bins; of at least one image."""

    bins: tuple[CalibrationBin, ...]

    @property
    def num_images(self) -> int:
        """N."""
        return sum(part.num_images for part in self.bins)

    @property
    def error(self) -> float:
        """Expected calibration error: |accuracy - confidence| of each bin, weighed by its share of the images (eq. 3)."""
        return sum(abs(part.num_right - part.sum_of_confidences) for part in self.bins) / self.num_images

    @property
    def accuracy(self) -> float:
        """Share of all images that were right."""
        return sum(part.num_right for part in self.bins) / self.num_images

    @property
    def confidence(self) -> float:
        """Mean confidence of all images."""
        return sum(part.sum_of_confidences for part in self.bins) / self.num_images


def calibration(confidences: Tensor, correct: Tensor, num_bins: int = 15) -> Calibration:
    """Puts images into bins by the probability of the class that each was predicted as.

    Args:
        confidences: (N,), floating point in [0, 1].
        correct: (N,), bool: whether that class was right.
        num_bins: M.

    Raises:
        ValueError: no images, not one `correct` for each confidence, or a confidence that is no probability.
    """
    if not len(confidences) or confidences.shape != correct.shape:
        raise UserError(f"{len(confidences)} confidences and {len(correct)} answers: calibration needs as many of both, and some")
    values = confidences.double().cpu()
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise UserError("a confidence must be a probability from 0 to 1, but one is not, or is not a number")
    places = torch.bucketize(values, torch.linspace(0, 1, num_bins + 1, dtype=torch.float64)[1:-1])
    counts = torch.bincount(places, minlength=num_bins)
    right = torch.bincount(places[correct.cpu()], minlength=num_bins)
    said = torch.bincount(places, values, num_bins)
    edges = [m / num_bins for m in range(num_bins + 1)]
    return Calibration(tuple(map(CalibrationBin, edges[:-1], edges[1:], counts.tolist(), right.tolist(), said.tolist())))
