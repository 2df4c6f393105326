"""The options of `resnets predict`, for every task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..deployment.graph.names import EngineName
from .words import Only

_CLASSIFICATION = Only(("classification",))


@dataclass
class PredictOptions:
    """Options of `resnets predict`."""

    model: tyro.conf.Positional[Path]
    """A run directory, a model file, or an exported classifier (.onnx, .xml, .pt2)."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files and folders of them; for classifiers also shards (.tar, .parquet)."""
    top: Annotated[int, _CLASSIFICATION] = 1
    """Classifiers: how many classes to name for each image."""
    score: Annotated[float, Only(("detection",))] = 0.5
    """Detectors: smallest probability of what is shown, in [0, 1]."""
    masks: Annotated[Path | None, Only(("segmentation",))] = None
    """Segmenters: folder for the masks themselves, PNG files whose pixels are the classes."""
    output: Path | None = None
    """Classifiers: a Parquet file for the predictions, of sets of any size; a call that was stopped goes on when it is repeated.
    Detectors and segmenters: a folder for the images with boxes or areas drawn in."""
    probabilities: Annotated[bool, _CLASSIFICATION] = False
    """With --output FILE.parquet: the probabilities of all classes, too."""
    features: Annotated[str | None, _CLASSIFICATION] = None
    """With --output FILE.parquet: the feature map of this stage (conv1, conv2_x ...), averaged over each image, too; conv5_x of resnet50
    has 2048 numbers."""
    restart: Annotated[bool, _CLASSIFICATION] = False
    """With --output FILE.parquet: throw away what is there of it, and begin anew."""
    batch_size: Annotated[int, _CLASSIFICATION] = 64
    """Classifiers: images per batch."""
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """Precision of the network; auto: bf16 where the processor gains by it; unset: fp32, or what the file was exported in."""
    engine: Annotated[Literal["auto", "ray"] | EngineName, _CLASSIFICATION] = "auto"
    """Classifiers: what runs the network; auto: the fastest that is installed, once there are images enough to pay for the conversion;
    ray: with --output, that on all machines of a Ray cluster (RAY_ADDRESS)."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    workers: Annotated[int | None, _CLASSIFICATION] = None
    """Classifiers: processes that decode images; unset: one per core, and none for a few images."""
    json: bool = False
    """One object per image on standard output; with --output FILE.parquet, one of what was done."""
