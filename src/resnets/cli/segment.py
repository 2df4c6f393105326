"""resnets segment: a class for every pixel; segmenters trained, measured and used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..core.errors import UserError
from ..reports.tables import duration, percent, print_table, table
from ..segmentation.recipe import SegmentationRecipe
from ..segmentation.recipes import RECIPES
from ..training.choices import Reason
from .options import messages, parse, print_json, results
from .run_command import RunCommand
from .subcommands import dispatch

_TRAIN = """\
Train a segmenter (FCN or DeepLabV3). RECIPE is one of {names}; every field of it is an option below.

  resnets segment train RECIPE [OPTIONS]
  resnets segment train FOLDER [OPTIONS]          your own pictures with masks, in VOC's or COCO's layout
  resnets segment train --recipe FILE [OPTIONS]   repeat a saved run, such as runs/NAME-1/recipe.yaml
  resnets segment train --resume RUN              go on with a stopped run, exactly (--changed-data, --prove, --replay as in resnets train)
  --processes N                                   so many processes on this machine, each with its part of every batch
  --json                                          one object a logged line on standard output
"""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    subcommands = {
        "train": ("train a segmenter, by recipe or on a folder of your own", TRAIN.run),
        "evaluate": ("measure a trained segmenter: mean IoU", _evaluate),
        "predict": ("name a class for every pixel of pictures", _predict),
    }
    return dispatch("segment", "resnets segment: a class for every pixel", subcommands, arguments)


@dataclass
class EvaluateOptions:
    """Options of `resnets segment evaluate`."""

    model: tyro.conf.Positional[Path]
    """A run directory or a model file."""
    data: str | None = None
    """Data set by name, or a folder in VOC's or COCO's layout; unset: what it was trained on."""
    data_folder: Path | None = None
    """Folder that holds the data set's files."""
    split: Literal["val", "test", "train"] = "val"
    """Which pictures; val is what training evaluates on."""
    flips: Annotated[bool, tyro.conf.arg(metavar="")] = False
    """Average the logits of each picture and its mirror image."""
    sizes: tuple[int, ...] = ()
    """Shorter sides at which to look at each picture; unset: the segmenter's own (multi-scale testing)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the segmenter."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    json: bool = False
    """One object on standard output instead of tables."""


def _evaluate(arguments: list[str]) -> int:
    about = "Measure a trained segmenter on pictures whose masks are known."
    options = parse(EvaluateOptions, arguments, "segment evaluate", about)
    if any(size < 1 for size in options.sizes):
        raise UserError("--sizes are lengths in pixels, 1 or more")
    import torch

    from ..data.annotated.mask_loader import MaskLoader
    from ..data.annotated.opening import open_annotated
    from ..data.sampling.order import EpochOrder
    from ..segmentation.evaluate import evaluate_segmenter
    from ..segmentation.model_kind import SEGMENTER
    from ..training.session import choose_device
    from .models_on_disk import model_path

    path, device = model_path(options.model), choose_device(options.device)
    segmenter = SEGMENTER.load(path, device=device).to(memory_format=torch.channels_last)
    classes, spec = segmenter.classes or (), segmenter.spec
    trained_with = SEGMENTER.describe(path).provenance.get("recipe", {})
    name = options.data or trained_with.get("data")
    if name is None:
        raise UserError(f"{path} does not say what it was trained on; name the data set with --data")
    report = messages().print
    pictures = open_annotated(name, options.split, options.data_folder, report, masks=True)
    if pictures.classes != classes:
        raise UserError(f"{name} has the classes {', '.join(pictures.classes)}, and {path} knows {', '.join(classes)}")
    loaders = [
        MaskLoader(
            pictures,
            spec.preprocessing,
            lambda count: EpochOrder(count, 1, seed=0, drop_last=False),
            size=size,
            device=device,
            report=report,
        )
        for size in options.sizes or (spec.size,)
    ]
    views = zip(*(each.in_order() for each in loaders), strict=True)  # of a picture, one a size
    batches = (([images for images, _, _ in same], same[0][1], same[0][2]) for same in views)
    result = evaluate_segmenter(segmenter, batches, precision=options.precision, flips=options.flips)
    summary = result.summary(classes)
    if options.json:
        about_it = {
            "model": str(path),
            "data": name,
            "split": options.split,
            "flips": options.flips,
            "sizes": list(options.sizes),
            "precision": options.precision,
        }
        print_json({**about_it, **summary})
    else:
        _print_measures(summary)
    return 0


@dataclass
class PredictOptions:
    """Options of `resnets segment predict`."""

    model: tyro.conf.Positional[Path]
    """A run directory or a model file."""
    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Picture files, and folders of them."""
    output: Path | None = None
    """Folder for the pictures under their masks."""
    masks: Path | None = None
    """Folder for the masks themselves, PNG files whose pixels are the classes."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the segmenter."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    json: bool = False
    """One object a picture on standard output."""


def _predict(arguments: list[str]) -> int:
    options = parse(PredictOptions, arguments, "segment predict", "Name a class for every pixel of pictures.")
    if not options.pictures:
        raise UserError("name at least one picture or folder behind the model")
    from ..deployment.prediction.predict import find_pictures
    from ..reports.drawn_objects import draw_mask
    from ..segmentation.model_kind import SEGMENTER
    from ..segmentation.predict import SegmentedPicture, segment, write_mask
    from ..training.session import choose_device
    from .drawings import Drawings
    from .models_on_disk import model_path

    path = model_path(options.model)
    pictures = find_pictures(options.pictures)
    segmenter = SEGMENTER.load(path, device=choose_device(options.device))
    classes = segmenter.classes or ()
    masks = Drawings(options.masks, pictures, as_json=options.json)

    def drawn(picture: SegmentedPicture, image: Any) -> Any:
        assert picture.mask is not None  # where there are pixels
        return draw_mask(image, picture.mask, classes)

    def said(picture: SegmentedPicture) -> str:
        return "  ".join(f"{label} {100 * share:.1f}%" for label, share in picture.shares)

    def predicted() -> Any:
        for picture in segment(segmenter, pictures, precision=options.precision):
            if options.masks is not None and picture.mask is not None:
                write_mask(picture.mask, masks.path_for(picture.path, ".png"))
            yield picture

    return Drawings(options.output, pictures, as_json=options.json).all(predicted(), said, drawn)


def _own(data: str, given: Mapping[str, Any]) -> tuple[SegmentationRecipe, tuple[Reason, ...]]:
    from ..segmentation.recipe_for_data import recipe_for_data

    return recipe_for_data(data, given)


def _print_measures(summary: dict[str, Any]) -> None:
    console = results()
    rows = [(row["label"], f"{row['num_pixels']:,}", percent(row["iou"])) for row in summary["per_class"]]
    print_table(console, table("Classes", ("class", "pixels", "IoU"), rows))
    console.print(
        f"mean IoU {percent(summary['mean_iou'])}, {percent(summary['pixel_accuracy'])} of the pixels right; {summary['num_images']:,} pictures"
    )


def _print_results(done: Any) -> None:
    console, metrics = results(), done.metrics
    _print_measures(metrics)
    console.print(f"training time   {duration(metrics['training_seconds'])}, {metrics['images_per_second']:,.1f} images/s")
    console.print(f"model           {done.model_path}", soft_wrap=True)
    console.print(f"report          {done.directory / 'report.html'}", soft_wrap=True)
    console.print(f"use it          resnets segment predict {done.model_path} PICTURE... --output FOLDER", soft_wrap=True)


TRAIN = RunCommand(SegmentationRecipe, RECIPES, _TRAIN, _print_results, _own)
