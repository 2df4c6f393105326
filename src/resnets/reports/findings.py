"""What a network said about the images it was evaluated on, beyond how many were right: how sure it was, where it erred most
confidently, and what it looked at. Data only; `classification.findings` collects it.

Legend: N images of the evaluation, C channels, H W height and width in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .calibration import Calibration, calibration


@dataclass(frozen=True)
class JudgedImage:
    """An image as the network saw it, and what it took it for."""

    pixels: Tensor
    """(C, H, W), uint8, C = 1 or 3, on the CPU."""
    index: int
    """Its place in the order of evaluation, from 0."""
    name: str | None
    """Of its file, where it has one."""
    label: int
    """Its class."""
    predicted_as: int
    """The class with the largest logit."""
    probability: float
    """Of the class that it was predicted as, in [0, 1]."""
    label_probability: float
    """Of its own class, in [0, 1]."""

    @property
    def right(self) -> bool:
        """Whether the prediction is right."""
        return self.label == self.predicted_as


@dataclass(frozen=True)
class Explanation:
    """Grad-CAM on one image."""

    image: JudgedImage
    predicted_as: Tensor
    """What supports the class that it was predicted as: (H, W), float32 in [0, 1], on the CPU."""
    label: Tensor | None
    """The same for its own class; None where it was predicted as that."""


@dataclass(frozen=True)
class Findings:
    """What the network said about the evaluated images."""

    confidences: Tensor
    """(N,), float32: the probability of the class that each image was predicted as."""
    correct: Tensor
    """(N,), bool."""
    mistakes: tuple[JudgedImage, ...]
    """The most confident ones, from the most confident on."""
    explanations: tuple[Explanation, ...]
    """Right images of different classes, then the most confident mistakes."""
    stage: str
    """The stage whose map is explained."""
    map_size: tuple[int, int]
    """Positions of that map, rows and columns."""

    def calibration(self, num_bins: int = 15) -> Calibration:
        """Confidences against what came true; raises as `calibration.calibration` does."""
        return calibration(self.confidences, self.correct, num_bins)
