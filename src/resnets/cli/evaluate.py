"""resnets evaluate: a trained model, measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..reports.tables import confusion_rows, percent, print_table, table
from .options import messages, parse, print_json, results


@dataclass
class EvaluateOptions:
    """Options of `resnets evaluate`."""

    model: tyro.conf.Positional[Path]
    """A run directory or a model file."""
    data: str | None = None
    """Data set by name, or a folder or CSV of pictures whose classes are called as the model's are; unset: what it was trained on."""
    data_folder: Path | None = None
    """Folder that holds the data set's files."""
    split: Literal["test", "train"] = "test"
    """Which pictures; test is what a run evaluates on, or all of a folder without train/ that the model was not trained on."""
    exclude: Path | None = None
    """List of pictures of a folder to leave out, such as `resnets data check` writes."""
    flips: Annotated[bool | None, tyro.conf.arg(metavar="{True,False}")] = None
    """Average the logits of each picture and its mirror image; unset: as in training."""
    precision: Literal["fp32", "bf16"] | None = None
    """Precision of the network; unset: as in training's evaluation."""
    batch_size: int = 500
    """Pictures a batch."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    plot: Path | None = None
    """Also draw the confusion matrix into this file (.png, .svg, .pdf)."""
    json: bool = False
    """One object on standard output instead of tables."""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    options = parse(EvaluateOptions, arguments, "evaluate", "Measure a trained model on pictures with known classes.")
    from ..training.environment import keep_large_buffers

    keep_large_buffers()
    import torch

    from ..data.picture_loader import PictureLoader
    from ..training.evaluate import evaluate
    from ..training.evaluation_data import EvaluationData, open_evaluation
    from ..training.session import choose_device
    from ..weights.model_file import load_model, read_description
    from .models_on_disk import model_path

    path, device = model_path(options.model), choose_device(options.device)
    trained_with = read_description(path).provenance.get("recipe", {})
    settings = trained_with.get("evaluation", {})
    network = load_model(path, device=device)
    name = options.data or trained_with.get("data")
    if name is None:
        raise ValueError(f"{path} does not say what it was trained on; name the data set with --data")
    asked = EvaluationData(name, options.data_folder, options.split, options.batch_size, options.exclude)
    classes, preprocessing = network.classes or (), network.preprocessing
    assert preprocessing is not None  # a model file has one
    run = options.model if options.model.is_dir() else None
    loader, words = open_evaluation(asked, classes, preprocessing, device, trained_with, run, messages().print)
    network = network.to(memory_format=torch.channels_last)
    flips = settings.get("flips", False) if options.flips is None else options.flips
    precision = options.precision or settings.get("precision", "fp32")
    result = evaluate(network, loader.in_order(), precision=precision, flips=flips)
    summary = result.summary(classes)
    if options.plot is not None:
        from ..reports import plots

        plots.save(plots.confusion_matrix(summary["confusion"], classes), options.plot)
    if options.json:
        left_out = {"unreadable": len(loader.excluded)} if isinstance(loader, PictureLoader) else {}
        about = {"model": str(path), "data": name, "split": options.split, "flips": flips, "precision": precision}
        print_json({**about, **left_out, **summary})
        return 0
    console = results()
    rows = [
        (row["label"], f"{row['num_images']:,}", percent(row["accuracy"]), percent(row["precision"]))
        for row in summary["per_class"]
    ]
    print_table(console, table("Classes", ("class", "pictures", "accuracy", "precision"), rows))
    if len(rows) <= 40:
        columns = ("is \\ taken for", *classes)
        print_table(console, table("What was taken for what", columns, confusion_rows(summary["confusion"], classes)))
    top5 = "" if result.top5 is None else f", top-5 {percent(result.top5)}"
    console.print(
        f"{words}: accuracy {percent(result.top1)}{top5} of {result.num_images:,} pictures, loss {result.loss:.4f}"
        + (" (mirror images averaged)" if flips else "")
    )
    if options.plot is not None:
        console.print(f"confusion matrix drawn into {options.plot}", soft_wrap=True)
    return 0
