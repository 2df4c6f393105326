"""resnets evaluate: a trained model, measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..core.errors import UserError
from ..deployment.graph.names import EngineName
from ..reports.tables import confusion_rows, percent, print_table, table
from .options import messages, parse, print_json, results


@dataclass
class EvaluateOptions:
    """Options of `resnets evaluate`."""

    model: tyro.conf.Positional[Path]
    """A run directory, a model file, or an exported file (.onnx, .xml, .pt2)."""
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
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """Precision of the network; auto: bf16 where the processor gains by it; unset: as in training's evaluation, or what the file was
    exported in."""
    engine: Literal["auto"] | EngineName = "auto"
    """What runs the network; auto: the fastest that is installed, where it saves more time than the conversion takes. torch gives
    training's own figures to the bit."""
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
    from ..core.environment import keep_large_buffers

    keep_large_buffers()
    from ..classification.evaluate import evaluate
    from ..classification.evaluation_data import EvaluationData, open_evaluation
    from ..data.loaders.image_loader import PictureLoader
    from ..training.session import choose_device
    from .evaluated_model import EvaluatedModel

    def report(words: str) -> None:
        messages().print(words, soft_wrap=True, markup=False)

    model = EvaluatedModel(options.model, options.engine, options.precision, choose_device(options.device), report)
    path, trained_with = model.path, model.trained_with
    settings = trained_with.get("evaluation", {})
    name = options.data or trained_with.get("data")
    if name is None:
        raise UserError(f"{path} does not say what it was trained on; name the data set with --data")
    asked = EvaluationData(name, options.data_folder, options.split, options.batch_size, options.exclude)
    run = options.model if options.model.is_dir() else None
    classes = model.classes
    loader, words = open_evaluation(asked, classes, model.preprocessing, model.device, trained_with, run, messages().print)
    flips = settings.get("flips", False) if options.flips is None else options.flips
    network, engine, precision = model.ready(settings.get("precision", "fp32"), len(loader) * (1 + flips))
    result = evaluate(network, loader.in_order(), precision=precision if engine == "torch" else "fp32", flips=flips)
    summary = result.summary(classes)
    if options.plot is not None:
        from ..reports import plots

        plots.save(plots.confusion_matrix(summary["confusion"], classes), options.plot)
    if options.json:
        left_out = {"unreadable": len(loader.excluded)} if isinstance(loader, PictureLoader) else {}
        about = {"model": str(path), "data": name, "split": options.split, "flips": flips, "precision": precision, "engine": engine}
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
