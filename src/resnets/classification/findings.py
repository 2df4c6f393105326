"""`FindingsCollector`: what a report tells of an evaluation, collected in the one pass that is made anyway.

`FindingsCollector.add` sees each batch with its logits and keeps two numbers per image and a handful of images. Thumbnails are the network's
own input with the normalisation undone, so that no file is read again.

Legend: B images of a batch, N of the whole pass, C channels, H W height and width in pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..core.errors import UserError
from ..data.decoding.preprocessing import Preprocessing
from ..inspection.grad_cam import grad_cam
from ..networks import Network
from ..reports.findings import Explanation, Findings, JudgedImage
from ..training.distributed import ALONE, World
from .evaluate import evaluate

SMALLEST_MAP = 4
"""Positions on each side that a map needs so that a heat map says where something is."""


class FindingsCollector:
    """Sees batches with their logits, in the order of evaluation, and keeps what `Findings` needs.

    Args:
        preprocessing: that made the batches.
        names: of the images' files in the order of evaluation, or None.
        num_mistakes: most confident mistakes to keep.
        num_right: right images to explain, each the first of its class, of classes spread over all.
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
        self._mistakes: list[tuple[JudgedImage, Tensor]] = []
        """From the most confident on, each with the network's input (C, H, W) on the CPU, as are the right ones."""
        self._right: dict[int, tuple[JudgedImage, Tensor]] = {}
        self._seen = 0

    def add(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """The next batch: images (B, C, H, W) float32, labels (B,) int64 and logits (B, K) float32, all on one device."""
        probabilities = logits.softmax(1)
        confidences, taken = probabilities.max(1)
        own = probabilities.gather(1, labels[:, None]).squeeze(1)
        correct = taken == labels

        def keep(i: int) -> tuple[JudgedImage, Tensor]:
            index = self._seen + i
            name = None if self.names is None else self.names[index]
            image = JudgedImage(
                pixels(images[i], self.preprocessing),
                index,
                name,
                int(labels[i]),
                int(taken[i]),
                float(confidences[i]),
                float(own[i]),
            )
            return image, images[i].float().cpu().clone()

        room = max(self.num_mistakes, self.num_wrong)
        wrong = (~correct).nonzero().squeeze(1)
        most = confidences[wrong].topk(min(room, len(wrong)))
        least = self._mistakes[-1][0].probability if len(self._mistakes) == room > 0 else -1.0
        self._mistakes += [
            keep(i) for i, sure in zip(wrong[most.indices].tolist(), most.values.tolist(), strict=True) if sure > least
        ]
        self._mistakes = sorted(self._mistakes, key=lambda kept: (-kept[0].probability, kept[0].index))[:room]
        for i, (label, right) in enumerate(zip(labels.tolist(), correct.tolist(), strict=True)):
            if right and label not in self._right:
                classes = sorted([*self._right, label], key=_spread)[: self.num_right]
                if label in classes:
                    self._right[label] = keep(i)
                    self._right = {kept: self._right[kept] for kept in classes}
        self._confidences.append(confidences.cpu())
        self._correct.append(correct.cpu())
        self._seen += len(labels)

    def findings(self, network: Network, stage: str | None = None, world: World = ALONE) -> Findings:
        """What was found, with Grad-CAM by `network`, whose logits were seen.

        Several processes must all ask: confidences are those of all their images, while the images shown are this one's own.

        `stage` is the one whose map is explained; None takes the last whose map is not too coarse to say where something is.

        Raises:
            ValueError: no batch was seen, there is no such stage, or the network's head gives no classes.
        """
        if not self._seen:
            raise UserError("there are no images whose findings could be told")
        chosen = [self._right[label] for label in sorted(self._right)] + self._mistakes[: self.num_wrong]
        explanations: list[Explanation] = []
        name, size = "", (0, 0)
        if chosen:
            device = next(network.parameters()).device
            images = torch.stack([image for _, image in chosen]).to(device)
            name, size = explained_stage(network, images[:1], stage)
            taken = grad_cam(network, images, torch.tensor([judged.predicted_as for judged, _ in chosen]), name).cpu()
            wrong = [i for i, (judged, _) in enumerate(chosen) if not judged.right]
            own: dict[int, Tensor] = {}
            if wrong:
                labels = torch.tensor([chosen[i][0].label for i in wrong])
                own = dict(zip(wrong, grad_cam(network, images[wrong], labels, name).cpu(), strict=True))
            explanations = [Explanation(judged, taken[i], own.get(i)) for i, (judged, _) in enumerate(chosen)]
        return Findings(
            world.gathered(torch.cat(self._confidences).float()),
            world.gathered(torch.cat(self._correct).byte()).bool(),
            tuple(judged for judged, _ in self._mistakes[: self.num_mistakes]),
            tuple(explanations),
            name,
            size,
        )


def collect_findings(
    network: Network,
    batches: Iterable[tuple[Tensor, Tensor]],
    preprocessing: Preprocessing,
    *,
    names: Sequence[str] | None = None,
    precision: str = "fp32",
    flips: bool = False,
    stage: str | None = None,
) -> Findings:
    """Passes over batches of (images (B, C, H, W) float32, labels (B,) int64), as `evaluate` does and with its settings.

    Where an evaluation is made anyway, `evaluate(..., observe=collector.add)` saves this second pass.

    Raises:
        ValueError: no images, a label outside the network's classes, or no such stage.
    """
    collector = FindingsCollector(preprocessing, names=names)
    evaluate(network, batches, precision=precision, flips=flips, observe=collector.add)
    return collector.findings(network, stage)


def pixels(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The image that a network's input (C, H, W) was made of, at the network's size: uint8, on the CPU."""
    shift, scale = preprocessing.shift_and_scale()
    return (image.float().cpu() * scale + shift).round().clamp(0, 255).to(torch.uint8)


def explained_stage(network: Network, image: Tensor, stage: str | None = None) -> tuple[str, tuple[int, int]]:
    """The stage to explain and its map's rows and columns, for one image (1, C, H, W).

    Without a wish it is the last stage, as in the paper, unless its map is smaller than `SMALLEST_MAP` on a side, as of small
    images: then the last whose map is not, or the stem's where all are.

    Raises:
        ValueError: there is no such stage.
    """
    training = network.training
    with torch.inference_mode():
        sizes = {name: (x.shape[2], x.shape[3]) for name, x in network.eval().features(image).items()}
    network.train(training)
    if stage is None:
        stage = next((name for name in reversed(sizes) if min(sizes[name]) >= SMALLEST_MAP), "conv1")
    if stage not in sizes:
        raise UserError(f"there is no stage {stage!r}; this network has {', '.join(sizes)}")
    return stage, sizes[stage]


def _spread(label: int) -> float:
    """An order in which the first few classes are far apart: multiples of the golden ratio, modulo 1."""
    return label * 0.6180339887498949 % 1
