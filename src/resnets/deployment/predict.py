"""Prediction on ordinary picture files with a model that knows its classes and its preprocessing.

Legend: N pictures of a batch, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from ..data.folders import PICTURE_ENDINGS
from ..data.preprocessing import Preprocessing
from ..networks import Network
from .engine import Engine


@dataclass(frozen=True)
class Prediction:
    """What the network says of one picture, or why it could not be read."""

    path: Path
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


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files named, and every picture file in the folders named and below, in the order of their names.

    Raises:
        ValueError: a path that does not exist, or a folder without pictures.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURE_ENDINGS and p.is_file())
            if not inside:
                raise ValueError(f"the folder {path} holds no pictures ({', '.join(PICTURE_ENDINGS)})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ValueError(f"there is no file or folder {path}")
    return found


def read_picture(path: Path, preprocessing: Preprocessing) -> Tensor:
    """The picture in a file as the network's input (1, C, size, size), float32; of an animation the first frame.

    Raises:
        ValueError: not a picture, damaged, or too large to be decoded safely; one clear sentence without the path.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(path) as image:
                return preprocessing.picture(image)
    except PIL.UnidentifiedImageError:
        raise ValueError("not a picture, whatever its name says" if path.stat().st_size else "the file is empty") from None
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
        raise ValueError(f"more than {PIL.Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"damaged or unreadable: {' '.join(str(error).split()) or type(error).__name__}") from None


def predict(
    network: Network | Engine, paths: Iterable[Path], *, top: int = 1, batch_size: int = 64, precision: str = "fp32"
) -> Iterator[Prediction]:
    """Predictions for picture files, in their order, read and computed `batch_size` at a time; unreadable ones carry an error.

    `precision` is that of a network ("fp32" or "bf16"); an engine has its own.

    Raises:
        ValueError: the network knows no classes or preprocessing (it did not come from a model file).
    """
    if network.classes is None or network.preprocessing is None:
        raise ValueError("this network knows neither its classes nor its preprocessing; load it from a model file with load_model")
    preprocessing: Preprocessing = network.preprocessing
    pending: list[tuple[Path, Tensor | str]] = []

    def shares(images: Tensor) -> Tensor:
        if isinstance(network, Engine):
            return network.logits(images).softmax(1)
        return probabilities(network, images.to(next(network.parameters()).device), precision)

    def flush() -> Iterator[Prediction]:
        pictures = [value for _, value in pending if isinstance(value, Tensor)]
        answers = iter(shares(torch.cat(pictures)) if pictures else ())
        for path, value in pending:
            if isinstance(value, str):
                yield Prediction(path, error=value)
            else:
                best = next(answers).topk(min(top, len(network.classes or ())))
                labels = [(network.classes or ())[i] for i in best.indices.tolist()]
                yield Prediction(path, tuple(zip(labels, best.values.tolist(), strict=True)))
        pending.clear()

    for path in paths:
        try:
            pending.append((path, read_picture(path, preprocessing)))
        except ValueError as error:
            pending.append((path, str(error)))
        if len(pending) == batch_size:
            yield from flush()
    yield from flush()


@torch.inference_mode()
def probabilities(network: Network, images: Tensor, precision: str = "fp32") -> Tensor:
    """Class probabilities (N, K), float32 on the CPU, for inputs (N, C, size, size), with the network in evaluation mode."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = network.eval()(images)
    shares: Tensor = logits.float().softmax(1).cpu()
    return shares
