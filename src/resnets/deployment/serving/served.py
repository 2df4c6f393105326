"""What a page can show of a network: the contract `Served`, and classifiers as one.

Legend: N = 1 image, C channels, S height and width in pixels as the network sees it. Detectors and segmenters, which this room knows
nothing of, come with classes of their own that keep the contract.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import PIL.Image
import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.reading import read_file
from ...data.decoding.decode import EncodedImage
from ...data.decoding.preprocessing import Preprocessing
from ...data.errors import Unreadable
from ...inspection.grad_cam import grad_cam
from ...networks import Network
from ...reports.drawn_objects import Colour
from ...reports.images import as_image, data_address, overlay
from ..engines.engine import Engine
from ..prediction.predict import predict, read_image

SHOWN = 640
"""Pixels along the longer side of what is drawn, at most."""
MAX_PIXELS = 30_000_000
"""Of one image: a small file can hold very many, and all of them become floating point numbers."""
BARS = 5
"""Classes, or objects, that the page names at once; a script asks for as many as it likes."""


Result = TypeVar("Result")


class BadImage(UserError):
    """An image that cannot be answered; the message says why, in a sentence without its name."""


@dataclass(frozen=True)
class Bar:
    """One row of what the network says."""

    label: str
    share: float
    """Probability, score or share of the pixels, in [0, 1]."""
    colour: Colour | None = None
    """In which it is drawn into the image; None where it is not."""


@dataclass(frozen=True)
class Answer:
    """What the network says of one image."""

    said: Mapping[str, Any]
    """For scripts: the fields of the command's --json, without the path."""
    bars: tuple[Bar, ...]
    """From the likeliest on, all of them."""
    milliseconds: float
    """From the file to the numbers; what is drawn comes on top."""
    shown: str | None = None
    """The image with what the network saw in it, as a data address."""
    caption: str = ""
    """What is drawn, in a sentence."""

    def as_json(self) -> dict[str, Any]:
        """One object per image, as the commands print it without the path, with the time."""
        return {**self.said, "milliseconds": round(self.milliseconds, 3)}


class Served(ABC):
    """A network that answers images one at a time.

    Attributes:
        title: the network's name.
        facts: what else is known of it, value and name each.
        fields: what a script is told of each image, besides its path and the time.
        views: ways to look at an answer, of which the page offers a choice; the last is shown first. Empty for only one.
        note: a sentence on what is missing; empty for nothing.
        nothing: what the page says of an answer without bars.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    fields: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    note: str = ""
    nothing: str = ""

    def __init__(self) -> None:
        self._turn = Lock()
        self.max_pixels = MAX_PIXELS

    def answer(self, path: Path, *, view: str | None = None, top: int = BARS, draw: bool = True) -> Answer:
        """What the network says of an image file; images that come at once wait for each other.

        Args:
            view: one of `views`; None for the last.
            top: how many classes a classifier names.
            draw: without it nothing is drawn, which is all that a script needs.

        Raises:
            BadImage: it cannot be read; or no such view, or top below 1.
        """
        if top < 1:
            raise BadImage(f"top={top} names no class; ask for 1 or more")
        if view is not None and view not in self.views:
            raise BadImage(
                f"there is no view {view!r}; choose one of {', '.join(self.views)}" if self.views else "there are no views"
            )
        self._refuse_large(path)
        with self._turn:
            return self._answer(path, view, top, draw)

    def _refuse_large(self, path: Path) -> None:
        try:
            image = EncodedImage(read_file(path), 3)
        except Unreadable:  # the network's own reading says why
            return
        if (count := image.height * image.width) > self.max_pixels:
            raise BadImage(f"it has {count:,} pixels, more than {self.max_pixels:,}; make it smaller first")

    @abstractmethod
    def _answer(self, path: Path, view: str | None, top: int, draw: bool) -> Answer:
        """As `answer`, alone and with sound arguments."""


class ServedClassifier(Served):
    """A classifier in any engine, with Grad-CAM where it is a network of ours."""

    fields = ("label", "probability", "top")

    def __init__(self, engine: Engine, network: Network | None, title: str) -> None:
        """Args:
        engine: gives the probabilities.
        network: the same network in torch, whose gradients show where it looks; None where there is only an exported file.
        title: its name.

        Raises:
            ValueError: no classifier of images, or one that knows neither its classes nor its preprocessing.
        """
        super().__init__()
        spec, classes, preprocessing = engine.spec, engine.classes, engine.preprocessing
        if classes is None or preprocessing is None:
            raise UserError(f"{title} knows neither its classes nor its preprocessing; serve a model file, or export it from one")
        if spec.head != "classes" or spec.dims != 2:
            raise UserError(
                f"{title} does not name classes of images (head={spec.head}, dims={spec.dims}), so that there is no page for it"
            )
        self.engine, self.network, self.title = engine, network, title
        self.preprocessing: Preprocessing = preprocessing
        metrics = engine.description.metrics
        self.facts = tuple(
            fact
            for fact in (
                None if network is None else (f"{sum(p.numel() for p in network.parameters()):,}", "parameters"),
                (f"{len(classes):,}", "classes"),
                (f"{preprocessing.size} × {preprocessing.size} {'grey' if preprocessing.channels == 1 else 'RGB'}", "pixels seen"),
                (f"{100 * metrics['top1']:.1f} %", "top-1 accuracy") if isinstance(metrics.get("top1"), float) else None,
                (f"{engine.name}, {engine.precision}", "engine"),
            )
            if fact is not None
        )
        if network is None:
            self.note = "This exported file has no gradients to ask, so that there is no Grad-CAM; the run it came from has."
        else:
            self.views = tuple(network.feature_channels)
        # The first image would else be answered ten times as slowly as the others.
        with torch.inference_mode():
            engine.logits(torch.zeros(1, preprocessing.channels, preprocessing.size, preprocessing.size, device=self._device))

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.network is None else next(self.network.parameters()).device

    def _answer(self, path: Path, view: str | None, top: int, draw: bool) -> Answer:
        started = time.perf_counter()
        prediction = next(predict(self.engine, [path], top=top))
        milliseconds = 1000 * (time.perf_counter() - started)
        if prediction.error is not None:
            raise BadImage(prediction.error)
        said = {name: value for name, value in prediction.as_json().items() if name != "path"}
        bars = tuple(Bar(label, share) for label, share in prediction.top)
        if not draw:
            return Answer(said, bars, milliseconds)
        images = read_image(path, self.preprocessing)
        seen = self._seen(images)
        if self.network is None:
            return Answer(said, bars, milliseconds, shown=data_address(_enlarged(seen), "PNG"), caption="What the network sees.")
        stage = view or self.views[-1]
        heat = grad_cam(self.network, images.to(self._device), stage=stage)[0].cpu()
        if not float(heat.max()) > 0:
            caption = f"Nothing in {stage} supports {bars[0].label}."
        else:
            caption = f"Where {stage} finds what supports {bars[0].label}: the brighter, the more."
        return Answer(said, bars, milliseconds, shown=overlay(seen, heat, SHOWN), caption=caption)

    def _seen(self, images: Tensor) -> Tensor:
        """The image (C, S, S), uint8, that became the network's input (1, C, S, S)."""
        shift, scale = self.preprocessing.shift_and_scale()
        return (images * scale + shift).round().clamp(0, 255).to(torch.uint8)[0]


def answer_as_json(served: Served, path: Path, top: int = BARS) -> dict[str, Any]:
    """What a script is told of an image file: `Answer.as_json`, or an error."""
    try:
        return guarded(lambda: served.answer(path, top=top, draw=False)).as_json()
    except BadImage as error:
        return {"error": str(error)}


def guarded(job: Callable[[], Result]) -> Result:
    """The job's result; whatever goes wrong in it becomes a BadImage, because a page outlives what a file does to a decoder.

    Raises:
        BadImage: and nothing else.
    """
    try:
        return job()
    except BadImage:
        raise
    except Exception as error:
        traceback.print_exc()  # for whoever runs the page; who looks at it is told one sentence
        reason = " ".join(str(error).split())
        raise BadImage(f"it made the network fail ({type(error).__name__}{': ' if reason else ''}{reason})") from error


def _enlarged(pixels: Tensor) -> PIL.Image.Image:
    """An image for Pillow, the pixels of small ones as squares."""
    image = as_image(pixels)
    factor = max(1, SHOWN // max(image.size))
    return image.resize((image.width * factor, image.height * factor), PIL.Image.Resampling.NEAREST)
