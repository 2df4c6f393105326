"""A classifier, measured: a network of ours as training evaluates it, or in another engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..classification.evaluate import evaluate
from ..classification.evaluation_data import EvaluationData, open_evaluation
from ..data.loaders.image_loader import ImageLoader
from ..training.session import choose_device
from .evaluated_model import EvaluatedModel
from .measured import Measured, data_of
from .options import messages

if TYPE_CHECKING:
    from .evaluate_options import EvaluateOptions


def measured(options: EvaluateOptions, path: Path) -> Measured:
    """The result, as the options ask for it.

    Raises:
        ValueError: the data or the engine cannot be had, or does not fit the model.
        OSError: the data cannot be read.
    """

    def report(words: str) -> None:
        messages().print(words, soft_wrap=True, markup=False)

    model = EvaluatedModel(options.model, options.engine, options.precision, choose_device(options.device), report)
    trained_with = model.trained_with
    settings = trained_with.get("evaluation", {})
    name = data_of(options.data, path, trained_with)
    split: Literal["train", "test"] = "train" if options.split == "train" else "test"
    asked = EvaluationData(name, options.data_folder, split, options.batch_size or 500, options.exclude)
    run = options.model if options.model.is_dir() else None
    loader, words = open_evaluation(asked, model.classes, model.preprocessing, model.device, trained_with, run, messages().print)
    flips = settings.get("flips", False) if options.flips is None else options.flips
    network, engine, precision = model.ready(settings.get("precision", "fp32"), len(loader) * (1 + flips))
    result = evaluate(network, loader.in_order(), precision=precision if engine == "torch" else "fp32", flips=flips)
    left_out = {"unreadable": len(loader.excluded)} if isinstance(loader, ImageLoader) else {}
    about = {"split": split, "flips": flips, "precision": precision, "engine": engine, **left_out}
    return Measured(result, model.classes, name, about, words, " (mirror images averaged)" if flips else "")
