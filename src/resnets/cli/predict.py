"""resnets predict: what is on these pictures?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from ..deployment.names import EngineName, is_exported
from .options import messages, parse, print_json


@dataclass
class PredictOptions:
    """Options of `resnets predict`."""

    model: tyro.conf.Positional[Path]
    """A run directory, a model file, or an exported file (.onnx, .xml, .pt2)."""
    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Picture files, and folders of them."""
    top: int = 1
    """How many classes to name for each picture."""
    batch_size: int = 64
    """Pictures a batch."""
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """Precision of the network; auto: bf16 where the processor gains by it; unset: fp32, or what the file was exported in."""
    engine: Literal["auto"] | EngineName = "auto"
    """What runs the network; auto: the fastest that is installed, once there are pictures enough to pay for the conversion."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    json: bool = False
    """One object a picture on standard output."""


def run(arguments: list[str]) -> int:
    """Carries out the command; the status is 1 where a picture could not be read."""
    options = parse(PredictOptions, arguments, "predict", "Name what is on pictures, with a trained model.")
    if options.top < 1 or options.batch_size < 1:
        raise ValueError("--top and --batch-size are at least 1")
    if not options.pictures:
        raise ValueError("name at least one picture or folder behind the model")
    from .models_on_disk import model_path

    path = options.model if is_exported(options.model) else model_path(options.model)
    from ..deployment.choice import FEW
    from ..deployment.engines import open_engine
    from ..deployment.predict import find_pictures, predict
    from ..training.session import choose_device

    pictures = find_pictures(options.pictures)
    engine = open_engine(
        path,
        engine=options.engine,
        precision=options.precision,
        device=choose_device(options.device) if options.engine in ("auto", "torch", "torch-compile") else "cpu",
        count=len(pictures),
        exact=len(pictures) < FEW,
        report=lambda words: messages().print(words, soft_wrap=True, markup=False),
    )
    bad = 0
    for prediction in predict(engine, pictures, top=options.top, batch_size=options.batch_size):
        if options.json:
            print_json(prediction.as_json())
        elif prediction.error is None:
            print(f"{prediction.path}  " + "  ".join(f"{label} {100 * share:.1f}%" for label, share in prediction.top), flush=True)
        if prediction.error is not None:
            bad += 1
            messages().print(f"skipped {prediction.path}: {prediction.error}", soft_wrap=True, markup=False)
    if bad:
        messages().print(f"{bad} of {len(pictures)} pictures could not be read")
    return 1 if bad else 0
