"""resnets predict: what is on these pictures?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from .options import messages, parse, print_json


@dataclass
class PredictOptions:
    """Options of `resnets predict`."""

    model: tyro.conf.Positional[Path]
    """A run directory or a model file."""
    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Picture files, and folders of them."""
    top: int = 1
    """How many classes to name for each picture."""
    batch_size: int = 64
    """Pictures a batch."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the network."""
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

    path = model_path(options.model)
    from ..deployment.predict import find_pictures, predict
    from ..training.session import choose_device
    from ..weights.model_file import load_model

    pictures = find_pictures(options.pictures)
    network = load_model(path, device=choose_device(options.device))
    bad = 0
    for prediction in predict(network, pictures, top=options.top, batch_size=options.batch_size, precision=options.precision):
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
