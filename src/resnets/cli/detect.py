"""resnets detect: what is where on pictures; detectors trained, measured and used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from ..core.errors import UserError
from ..detection.recipe import DetectionRecipe
from ..detection.recipes import RECIPES
from ..reports.tables import duration, percent, print_table, table
from ..training.choices import Reason
from .options import messages, parse, print_json, results
from .run_command import RunCommand
from .subcommands import dispatch

_TRAIN = """\
Train a detector (Faster R-CNN). RECIPE is one of {names}; every field of it is an option below.

  resnets detect train RECIPE [OPTIONS]
  resnets detect train FOLDER [OPTIONS]           your own pictures, in VOC's or COCO's layout
  resnets detect train --recipe FILE [OPTIONS]    repeat a saved run, such as runs/NAME-1/recipe.yaml
  resnets detect train --resume RUN               go on with a stopped run, exactly (--changed-data, --prove, --replay as in resnets train)
  --processes N                                   so many processes on this machine, each with its part of every batch
  --json                                          one object a logged line on standard output
"""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    subcommands = {
        "train": ("train a detector, by recipe or on a folder of your own", TRAIN.run),
        "evaluate": ("measure a trained detector: COCO's and VOC's average precision", _evaluate),
        "predict": ("find objects on pictures", _predict),
    }
    return dispatch("detect", "resnets detect: what is where on pictures", subcommands, arguments)


@dataclass
class EvaluateOptions:
    """Options of `resnets detect evaluate`."""

    model: tyro.conf.Positional[Path]
    """A run directory or a model file."""
    data: str | None = None
    """Data set by name, or a folder in VOC's or COCO's layout; unset: what it was trained on."""
    data_folder: Path | None = None
    """Folder that holds the data set's files."""
    split: Literal["val", "test", "train"] = "val"
    """Which pictures; val is what training evaluates on."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the detector."""
    batch_size: int = 4
    """Pictures a batch."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    box_refinement: bool = False
    """Regress each box once more from where it was regressed to (He 2015, Appendix A)."""
    voting_iou: float | None = None
    """Replace each box by the mean of those of its class that overlap it as much, weighed by score, for instance 0.5."""
    flip: bool = False
    """Average over the picture and its mirror image."""
    sizes: tuple[int, ...] = ()
    """Shorter sides at which to look at each picture (multi-scale testing)."""
    json: bool = False
    """One object on standard output instead of tables."""


def _evaluate(arguments: list[str]) -> int:
    about = "Measure a trained detector on pictures whose objects are known."
    options = parse(EvaluateOptions, arguments, "detect evaluate", about)
    if options.batch_size < 1:
        raise UserError("--batch-size is at least 1")
    import torch

    from ..data.annotated.opening import open_annotated
    from ..data.annotated.scene_loader import SceneLoader
    from ..data.sampling.order import EpochOrder
    from ..detection.evaluate import evaluate_detector
    from ..detection.model_kind import DETECTOR
    from ..detection.spec import TestTime
    from ..training.session import choose_device
    from .models_on_disk import model_path

    path, device = model_path(options.model), choose_device(options.device)
    detector = DETECTOR.load(path, device=device).to(memory_format=torch.channels_last)
    classes = detector.classes or ()
    trained_with = DETECTOR.describe(path).provenance.get("recipe", {})
    name = options.data or trained_with.get("data")
    if name is None:
        raise UserError(f"{path} does not say what it was trained on; name the data set with --data")
    asked = TestTime(box_refinement=options.box_refinement, voting_iou=options.voting_iou, flip=options.flip, sizes=options.sizes)
    detector.testing = detector.testing.with_more(asked)
    report = messages().print
    pictures = open_annotated(name, options.split, options.data_folder, report)
    if pictures.classes != classes:
        raise UserError(f"{name} has the classes {', '.join(pictures.classes)}, and {path} knows {', '.join(classes)}")
    order = EpochOrder(len(pictures), options.batch_size, seed=0, drop_last=False)
    loader = SceneLoader(pictures, order, device=device, report=report)
    result = evaluate_detector(detector, loader.in_order(), pictures.objects, num_classes=len(classes), precision=options.precision)
    summary = result.summary(classes)
    if options.json:
        print_json({"model": str(path), "data": name, "split": options.split, "precision": options.precision, **summary})
    else:
        _print_measures(summary)
    return 0


@dataclass
class PredictOptions:
    """Options of `resnets detect predict`."""

    model: tyro.conf.Positional[Path]
    """A run directory or a model file."""
    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Picture files, and folders of them."""
    score: float = 0.5
    """Smallest probability of what is shown, in [0, 1]."""
    output: Path | None = None
    """Folder for the pictures with the boxes drawn in."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the detector."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    json: bool = False
    """One object a picture on standard output."""


def _predict(arguments: list[str]) -> int:
    options = parse(PredictOptions, arguments, "detect predict", "Find objects on pictures, with a trained detector.")
    if not options.pictures:
        raise UserError("name at least one picture or folder behind the model")
    if not 0 <= options.score <= 1:
        raise UserError(f"--score {options.score:g} is no probability; it lies between 0 and 1")
    from ..deployment.prediction.predict import find_pictures
    from ..detection.model_kind import DETECTOR
    from ..detection.predict import DetectedPicture, predict_boxes
    from ..reports.drawn_objects import draw_boxes
    from ..training.session import choose_device
    from .drawings import Drawings
    from .models_on_disk import model_path

    path = model_path(options.model)
    pictures = find_pictures(options.pictures)
    detector = DETECTOR.load(path, device=choose_device(options.device))
    classes = detector.classes or ()

    def drawn(picture: DetectedPicture, image: Any) -> Any:
        found = picture.objects
        labels = [classes.index(each.label) for each in found]
        return draw_boxes(image, [each.box for each in found], labels, [each.score for each in found], classes)

    def said(picture: DetectedPicture) -> str:
        if not picture.objects:
            return f"nothing with a probability of {options.score:g} or more"
        return "  ".join(
            f"{each.label} {100 * each.score:.0f}% at {' '.join(f'{edge:.0f}' for edge in each.box)}" for each in picture.objects
        )

    show = Drawings(options.output, pictures, as_json=options.json)
    return show.all(predict_boxes(detector, pictures, min_score=options.score, precision=options.precision), said, drawn)


def _own(data: str, given: Mapping[str, Any]) -> tuple[DetectionRecipe, tuple[Reason, ...]]:
    from ..detection.recipe_for_data import recipe_for_data

    return recipe_for_data(data, given)


def _print_measures(summary: dict[str, Any]) -> None:
    console = results()
    rows = [
        (row["label"], f"{row['num_objects']:,}", *(percent(row[key]) for key in ("ap", "ap50", "voc_ap")))
        for row in summary["per_class"]
    ]
    print_table(console, table("Classes", ("class", "objects", "COCO AP", "COCO AP at 0.5", "VOC AP"), rows))
    console.print(
        f"COCO AP {percent(summary['ap'])} (IoU 0.5 to 0.95), {percent(summary['ap50'])} at IoU 0.5; "
        f"VOC AP {percent(summary['voc12'])} (area), {percent(summary['voc07'])} (11 points); {summary['num_images']:,} pictures, "
        f"{1000 * summary['seconds_per_image']['median']:,.0f} ms each"
    )


def _print_results(done: Any) -> None:
    console, metrics = results(), done.metrics
    _print_measures(metrics)
    console.print(f"training time   {duration(metrics['training_seconds'])}, {metrics['images_per_second']:,.1f} images/s")
    console.print(f"model           {done.model_path}", soft_wrap=True)
    console.print(f"report          {done.directory / 'report.html'}", soft_wrap=True)
    console.print(f"use it          resnets detect predict {done.model_path} PICTURE... --output FOLDER", soft_wrap=True)


TRAIN = RunCommand(DetectionRecipe, RECIPES, _TRAIN, _print_results, _own)
