"""The options of `resnets evaluate`, for every task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..deployment.graph.names import EngineName
from .words import Only, Otherwise

_CLASSIFICATION, _DETECTION, _SCENES = Only(("classification",)), Only(("detection",)), Only(("detection", "segmentation"))


@dataclass
class EvaluateOptions:
    """Options of `resnets evaluate`."""

    model: tyro.conf.Positional[Path]
    """A run directory, a model file, or an exported classifier (.onnx, .xml, .pt2)."""
    data: str | None = None
    """Data set by name, or your own data whose classes are called as the model's are; unset: what it was trained on."""
    data_folder: Path | None = None
    """Folder that holds the data set's files."""
    split: Literal["val", "test", "train"] | None = None
    """Which images; unset: those that a run evaluates on, or all of a folder without train/ that the model was not trained on."""
    exclude: Annotated[Path | None, _CLASSIFICATION] = None
    """Classifiers: list of images of a folder to leave out, such as `resnets data check` writes."""
    flips: Annotated[bool | None, Otherwise("True")] = None
    """Average over each image and its mirror image; unset: as in training, or not."""
    sizes: Annotated[tuple[int, ...], _SCENES] = ()
    """Detectors and segmenters: shorter sides at which to look at each image (multi-scale testing); unset: the model's own."""
    box_refinement: Annotated[bool, _DETECTION] = False
    """Detectors: regress each box once more from where it was regressed to (He 2015, Appendix A)."""
    voting_iou: Annotated[float | None, _DETECTION] = None
    """Detectors: replace each box by the mean of those of its class that overlap it as much, weighed by score, for instance 0.5."""
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """Precision of the network; auto: bf16 where the processor gains by it; unset: as in training's evaluation, or what the file was
    exported in."""
    engine: Annotated[Literal["auto"] | EngineName, _CLASSIFICATION] = "auto"
    """Classifiers: what runs the network; auto: the fastest that is installed, where it saves more time than the conversion takes. torch
    gives training's own figures to the bit."""
    batch_size: int | None = None
    """Images per batch; unset: 500 for classifiers, 4 for detectors. Segmenters take one at a time."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    plot: Annotated[Path | None, _CLASSIFICATION] = None
    """Classifiers: also draw the confusion matrix into this file (.png, .svg, .pdf)."""
    json: bool = False
    """One object on standard output instead of tables."""
