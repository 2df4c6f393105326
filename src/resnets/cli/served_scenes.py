"""Detectors and segmenters served on a page: what `deployment.served` asks for, with what `resnets detect` and `resnets segment` draw."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
import torch

from ..core.files import write_atomically
from ..data.decoding.decode import Pixels
from ..deployment.serving.samples import MOST, Sample, spread
from ..deployment.serving.served import SHOWN, Answer, BadImage, Bar, Served
from ..detection.model_kind import DETECTOR
from ..detection.predict import predict_boxes
from ..reports.drawn_objects import class_colour, draw_boxes, draw_mask
from ..reports.images import data_address
from ..segmentation.model_kind import SEGMENTER
from ..segmentation.predict import segment
from ..segmentation.spec import BACKGROUND
from ..training.published import recipe_behind

if TYPE_CHECKING:
    from ..detection.detector import Detector
    from ..segmentation.segmenter import Segmenter

GREY = (128, 128, 128)
"""The background in the list of areas; it is not drawn."""


class _ServedScenes(Served):
    """What both have in common."""

    def __init__(self, network: Any, path: Path, description: Any, measured: tuple[str, str]) -> None:
        super().__init__()
        self.classes: tuple[str, ...] = network.classes or ()
        self.trained_with: Mapping[str, Any] = {
            **recipe_behind(path, description.provenance.get("recipe", {})),
            "kind": "scenes",
        }
        self.title = str(description.provenance.get("network") or path.stem)
        key, name = measured
        value = description.metrics.get(key)
        self.facts = (
            (f"{sum(p.numel() for p in network.parameters()):,}", "parameters"),
            (f"{len(self.classes):,}", "classes"),
            *(((f"{100 * value:.1f} %", name),) if isinstance(value, float) else ()),
        )


class ServedDetector(_ServedScenes):
    """A detector, with its boxes drawn in."""

    fields = ("objects",)

    def __init__(self, detector: Detector, path: Path, score: float) -> None:
        super().__init__(detector, path, DETECTOR.describe(path), ("ap50", "COCO AP at IoU 0.5"))
        self.detector, self.score = detector, score
        self.nothing = f"Nothing with a probability of {100 * score:g} % or more."

    def _answer(self, path: Path, view: str | None, top: int, draw: bool) -> Answer:
        started = time.perf_counter()
        found = next(predict_boxes(self.detector, [path], min_score=self.score))
        milliseconds = 1000 * (time.perf_counter() - started)
        if found.error is not None or found.pixels is None:
            raise BadImage(f"it {found.error}")
        places = [self.classes.index(each.label) for each in found.objects]
        scores = [each.score for each in found.objects]
        bars = tuple(Bar(each.label, each.score, class_colour(place)) for each, place in zip(found.objects, places, strict=True))
        said = {"objects": found.as_json()["objects"]}
        if not draw:
            return Answer(said, bars, milliseconds)
        factor, image = _enlarged(found.pixels)
        drawn = draw_boxes(image, [[factor * edge for edge in each.box] for each in found.objects], places, scores, self.classes)
        caption = f"{len(bars)} {'object' if len(bars) == 1 else 'objects'}, each with its probability."
        return Answer(said, bars, milliseconds, _shown(drawn), caption if bars else "The image as the detector got it.")


class ServedSegmenter(_ServedScenes):
    """A segmenter, with its areas coloured."""

    fields = ("shares",)

    def __init__(self, segmenter: Segmenter, path: Path) -> None:
        super().__init__(segmenter, path, SEGMENTER.describe(path), ("mean_iou", "mean IoU"))
        self.segmenter = segmenter

    def _answer(self, path: Path, view: str | None, top: int, draw: bool) -> Answer:
        started = time.perf_counter()
        found = next(segment(self.segmenter, [path]))
        milliseconds = 1000 * (time.perf_counter() - started)
        if found.error is not None or found.pixels is None or found.mask is None:
            raise BadImage(f"it {found.error}")
        bars = tuple(
            Bar(label, share, GREY if label == BACKGROUND else class_colour(self.classes.index(label)))
            for label, share in found.shares
        )
        said = {"shares": found.as_json()["shares"]}
        if not draw:
            return Answer(said, bars, milliseconds)
        factor, image = _enlarged(found.pixels)
        drawn = draw_mask(image, found.mask.repeat(factor, 0).repeat(factor, 1), self.classes)
        return Answer(said, bars, milliseconds, _shown(drawn), "Each class in its colour, with its share of the image's pixels.")


def open_detector(path: Path, device: torch.device, score: float) -> ServedDetector:
    """The detector in a model file.

    Raises:
        ValueError: the file is damaged or not a resnets model file.
    """
    return ServedDetector(DETECTOR.load(path, device=device), path, score)


def open_segmenter(path: Path, device: torch.device) -> ServedSegmenter:
    """The segmenter in a model file.

    Raises:
        ValueError: the file is damaged or not a resnets model file.
    """
    return ServedSegmenter(SEGMENTER.load(path, device=device), path)


def scene_samples(data: str, folder: Path, data_folder: Path | None) -> list[Sample]:
    """Images of what a detector or segmenter was measured on, written into `folder`; nothing is fetched.

    Raises:
        ValueError: the images are not at hand.
        OSError: they cannot be read or written.
    """
    from ..data.annotated.opening import open_annotated

    images = open_annotated(data, "val", data_folder, lambda line: None)
    samples = []
    for number, index in enumerate(spread(len(images), MOST)):
        path = folder / f"sample-{number}{Path(images.name_of(index)).suffix}"
        write_atomically(path, images.read(index))
        samples.append(Sample(path, Path(images.name_of(index)).stem))
    return samples


def _enlarged(pixels: Pixels) -> tuple[int, PIL.Image.Image]:
    """The image, its pixels as squares where there are few, so that names are legible on it; and by what it grew."""
    factor = max(1, SHOWN // max(pixels.shape[:2]))
    image = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return factor, image.resize((image.width * factor, image.height * factor), PIL.Image.Resampling.NEAREST)


def _shown(drawn: PIL.Image.Image) -> str:
    if max(drawn.size) > 2 * SHOWN:
        drawn.thumbnail((2 * SHOWN, 2 * SHOWN), PIL.Image.Resampling.LANCZOS)
    return data_address(drawn, "JPEG")
