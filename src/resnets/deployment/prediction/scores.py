"""What a network says of images: probabilities, the likeliest classes, and the pooled maps of a stage.

Legend: b images of a batch, C channels, S height and width that the network takes, K classes, k of them named for each image,
D channels of the stage whose features are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import UserError
from ...data.decoding.preprocessing import Preprocessing
from ...data.loaders.image_loader import one_thread
from ...networks import Network
from ..engines.engine import Engine, TorchEngine


@dataclass(frozen=True)
class Answer:
    """Of one batch, all on the CPU."""

    probabilities: Tensor
    """(b, K), float32."""
    classes: Tensor
    """(b, k), int64: the likeliest, from the likeliest on."""
    shares: Tensor
    """(b, k), float32: their probabilities."""
    features: Tensor | None
    """(b, D), float32: the stage's map, averaged over height and width."""


class Scorer:
    """An engine that is asked about images.

    Args:
        engine: knows its classes and its preprocessing.
        top: k, at most K.
        stage: a name of `Network.features`, for its pooled maps too; with the engine torch only.

    Raises:
        ValueError: the engine knows no classes or no preprocessing, has no such stage, or gives logits alone.
    """

    def __init__(self, engine: Engine, *, top: int = 1, stage: str | None = None) -> None:
        if engine.classes is None or engine.preprocessing is None:
            raise UserError(
                "this network knows neither its classes nor its preprocessing; load it from a model file with load_model"
            )
        if not engine.classes:
            raise UserError(
                "this network has no head that names classes; train one on your images with resnets train DATA --weights FILE"
            )
        self.engine, self.classes, self.top, self.stage = engine, engine.classes, min(top, len(engine.classes)), stage
        self.preprocessing: Preprocessing = engine.preprocessing
        self.device = getattr(engine, "device", torch.device("cpu"))
        self.width: int | None = None
        """D, or None where no features are asked for."""
        if stage is not None:
            if not isinstance(engine, TorchEngine) or not isinstance(engine.network, Network):
                raise UserError(f"the engine {engine.name} gives logits alone; features need a model file and the engine torch")
            widths = engine.network.feature_channels
            if stage not in widths:
                raise UserError(f"the network has no stage {stage!r}; choose from {', '.join(widths)}")
            self.width = widths[stage]

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Answer:
        """The answer to images (b, C, S, S), uint8; b may be 0."""
        pixels = pixels.to(self.device)
        with one_thread(self.device):
            images = self.preprocessing.normalized(pixels)
        features = None
        if self.stage is None:
            logits = self.engine.logits(images)
        else:
            assert isinstance(self.engine, TorchEngine)  # so says the constructor
            logits, maps = self.engine.logits_and_maps(images)
            features = maps[self.stage].float().mean((2, 3)).cpu()
        probabilities = logits.float().softmax(1).cpu()
        shares, classes = probabilities.topk(self.top, 1)
        return Answer(probabilities, classes, shares, features)
