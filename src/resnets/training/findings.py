"""What a network said about the pictures it was evaluated on, beyond how many were right: how sure it was, where it erred most
confidently, and what it looked at.

One pass over the pictures suffices: `FindingsCollector.add` sees each batch with its logits and keeps two numbers a picture and a
handful of pictures. Thumbnails are the network's own input with the normalisation undone, so that no file is read again.

Legend: B pictures of a batch, N of the whole pass, C channels, H W height and width in pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.preprocessing import Preprocessing
from ..inspection.grad_cam import grad_cam
from ..networks import Network
from .calibration import Calibration, calibration
from .evaluate import evaluate

SMALLEST_MAP = 4
"""Positions on each side that a map needs so that a heat map says where something is."""


@dataclass(frozen=True)
class JudgedPicture:
    """A picture as the network saw it, and what it took it for."""

    pixels: Tensor
    """(C, H, W), uint8, C = 1 or 3, on the CPU."""
    index: int
    """Its place in the order of evaluation, from 0."""
    name: str | None
    """Of its file, where it has one."""
    label: int
    """Its class."""
    taken_for: int
    """The class with the largest logit."""
    probability: float
    """Of the class that it was taken for, in [0, 1]."""
    label_probability: float
    """Of its own class, in [0, 1]."""

    @property
    def right(self) -> bool:
        """Whether it was taken for what it is."""
        return self.label == self.taken_for


@dataclass(frozen=True)
class Explanation:
    """Grad-CAM on one picture."""

    picture: JudgedPicture
    taken_for: Tensor
    """What speaks for the class that it was taken for: (H, W), float32 in [0, 1], on the CPU."""
    label: Tensor | None
    """The same for its own class; None where it was taken for that."""


@dataclass(frozen=True)
class Findings:
    """What the network said about the evaluated pictures."""

    confidences: Tensor
    """(N,), float32: the probability of the class that each picture was taken for."""
    correct: Tensor
    """(N,), bool."""
    mistakes: tuple[JudgedPicture, ...]
    """The most confident ones, from the most confident on."""
    explanations: tuple[Explanation, ...]
    """Right pictures of different classes, then the most confident mistakes."""
    stage: str
    """The stage whose map is explained."""
    map_size: tuple[int, int]
    """Positions of that map, rows and columns."""

    def calibration(self, num_bins: int = 15) -> Calibration:
        """Confidences against what came true; raises as `calibration.calibration` does."""
        return calibration(self.confidences, self.correct, num_bins)


@dataclass(frozen=True)
class _Kept:
    """A candidate: where it stands in the pass, and the network's input (C, H, W) on the CPU."""

    image: Tensor
    index: int
    label: int
    taken_for: int
    probability: float
    label_probability: float


class FindingsCollector:
    """Sees batches with their logits, in the order of evaluation, and keeps what `Findings` needs.

    Args:
        preprocessing: that made the batches.
        names: of the pictures' files in the order of evaluation, or None.
        num_mistakes: most confident mistakes to keep.
        num_right: right pictures to explain, each the first of its class.
        num_wrong: most confident mistakes to explain.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        names: Sequence[str] | None = None,
        num_mistakes: int = 24,
        num_right: int = 6,
        num_wrong: int = 4,
    ) -> None:
        self.preprocessing, self.names = preprocessing, names
        self.num_mistakes, self.num_right, self.num_wrong = num_mistakes, num_right, num_wrong
        self._confidences: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._mistakes: list[_Kept] = []
        self._right: dict[int, _Kept] = {}
        self._seen = 0

    def add(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """The next batch: images (B, C, H, W) float32, labels (B,) int64 and logits (B, K) float32, all on one device."""
        probabilities = logits.softmax(1)
        confidences, taken = probabilities.max(1)
        correct = taken == labels
        own = probabilities.gather(1, labels[:, None]).squeeze(1)

        def keep(i: int) -> _Kept:
            return _Kept(
                images[i].float().cpu().clone(), self._seen + i, int(labels[i]), int(taken[i]), float(confidences[i]), float(own[i])
            )

        wrong = (~correct).nonzero().squeeze(1)
        most = wrong[confidences[wrong].topk(min(max(self.num_mistakes, self.num_wrong), len(wrong))).indices]
        self._mistakes += [keep(i) for i in most.tolist()]
        self._mistakes.sort(key=lambda kept: (-kept.probability, kept.index))
        del self._mistakes[max(self.num_mistakes, self.num_wrong) :]
        for i in correct.nonzero().squeeze(1).tolist():
            self._keep_right(int(labels[i]), i, keep)
        self._confidences.append(confidences.cpu())
        self._correct.append(correct.cpu())
        self._seen += len(labels)
