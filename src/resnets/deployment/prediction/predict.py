"""Prediction on images with a model that knows its classes and its preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...networks import Network
from ..engines.engine import Engine, TorchEngine
from .image_sets import Files, Images, find_images
from .reading import read_batches, read_image
from .scores import Scorer

__all__ = ["Prediction", "find_images", "predict", "read_image"]


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image, or why it could not be read."""

    path: Path
    """Of its file, or SHARD:NAME."""
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest classes and their probabilities in [0, 1], from the likeliest on."""
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The contract of `resnets predict --json`."""
        if self.error is not None:
            return {"path": str(self.path), "error": self.error}
        label, probability = self.top[0]
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {"path": str(self.path), "label": label, "probability": probability, "top": top}


def predict(
    network: Network | Engine,
    images: Iterable[Path] | Images,
    *,
    top: int = 1,
    batch_size: int = 64,
    precision: str = "fp32",
    workers: int = 0,
    report: Callable[[str], None] = lambda message: None,
) -> Iterator[Prediction]:
    """Predictions for images, in their order, read and computed `batch_size` at a time; unreadable ones carry an error.

    Args:
        precision: of a network ("fp32" or "bf16"); an engine has its own.
        workers: processes that decode ahead; 0 for none but this one.
        report: told of such a process that died.

    Raises:
        ValueError: the network knows no classes or preprocessing (it did not come from a model file).
    """
    engine = network if isinstance(network, Engine) else TorchEngine(network, precision=precision, exact=True)
    scorer = Scorer(engine, top=top)
    if not isinstance(images, Images):
        images = Images((Files(tuple(str(path) for path in images)),))
    for batch in read_batches(images, scorer.preprocessing, batch_size=batch_size, workers=workers, report=report):
        answer = scorer(batch.pixels)
        rows = zip(answer.classes.tolist(), answer.shares.tolist(), strict=True)
        for row, name in enumerate(batch.names):
            if row in batch.errors:
                yield Prediction(Path(name), error=batch.errors[row])
            else:
                best = zip(*next(rows), strict=True)
                yield Prediction(Path(name), tuple((scorer.classes[place], share) for place, share in best))
