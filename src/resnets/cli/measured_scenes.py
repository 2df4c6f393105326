"""Detectors and segmenters, measured on annotated images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import BaseModel
from torch import nn

from ..core.errors import UserError
from ..core.precision import resolved_precision
from ..data.annotated.mask_loader import MaskLoader
from ..data.annotated.opening import open_annotated
from ..data.annotated.scene_loader import SceneLoader
from ..data.annotations.objects import AnnotatedImages
from ..data.sampling.order import EpochOrder
from ..detection.evaluate import evaluate_detector
from ..detection.model_kind import DETECTOR
from ..detection.spec import TestTime
from ..segmentation.evaluate import evaluate_segmenter
from ..segmentation.model_kind import SEGMENTER
from ..training.published import recipe_behind
from ..training.session import choose_device
from ..weights.model_file import ModelKind
from .measured import Measured, data_of
from .options import messages

if TYPE_CHECKING:
    from .evaluate_options import EvaluateOptions

AnySpec = TypeVar("AnySpec", bound=BaseModel)
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def measured_detector(options: EvaluateOptions, path: Path) -> Measured:
    """COCO's and VOC's average precision, as the options ask for it.

    Raises:
        ValueError: the data cannot be had, or has other classes.
        OSError: the data cannot be read.
    """
    detector, classes, images, about = _opened(DETECTOR, options, path, masks=False)
    asked = TestTime(
        box_refinement=options.box_refinement, voting_iou=options.voting_iou, flip=bool(options.flips), sizes=options.sizes
    )
    detector.testing = detector.testing.with_more(asked)
    order = EpochOrder(len(images), options.batch_size or 4, seed=0, drop_last=False)
    device = next(detector.parameters()).device
    loader = SceneLoader(images, order, device=device, report=messages().print)
    result = evaluate_detector(detector, loader.in_order(), images.objects, num_classes=len(classes), precision=about["precision"])
    return Measured(result, classes, about.pop("data"), about)


def measured_segmenter(options: EvaluateOptions, path: Path) -> Measured:
    """Mean IoU, as the options ask for it.

    Raises:
        ValueError: the data cannot be had, or has other classes.
        OSError: the data cannot be read.
    """
    segmenter, classes, images, about = _opened(SEGMENTER, options, path, masks=True)
    spec = segmenter.spec
    loaders = [
        MaskLoader(
            images,
            spec.preprocessing,
            lambda count: EpochOrder(count, 1, seed=0, drop_last=False),
            size=size,
            device=next(segmenter.parameters()).device,
            report=messages().print,
        )
        for size in options.sizes or (spec.size,)
    ]
    views = zip(*(each.in_order() for each in loaders), strict=True)  # of an image, one for each size
    batches = (([view[0] for view in same], same[0][1], same[0][2]) for same in views)
    flips = bool(options.flips)
    result = evaluate_segmenter(segmenter, batches, precision=about["precision"], flips=flips)
    return Measured(result, classes, about.pop("data"), {**about, "flips": flips, "sizes": list(options.sizes)})


def _opened(
    kind: ModelKind[AnySpec, AnyNetwork], options: EvaluateOptions, path: Path, *, masks: bool
) -> tuple[AnyNetwork, tuple[str, ...], AnnotatedImages, dict[str, Any]]:
    """The network, its classes, the images, and how it is measured, for --json."""
    device = choose_device(options.device)
    network = kind.load(path, device=device).to(memory_format=torch.channels_last)
    description = kind.describe(path)
    name = data_of(options.data, path, recipe_behind(path, description.provenance.get("recipe", {})))
    split = options.split or "val"
    images = open_annotated(name, split, options.data_folder, messages().print, masks=masks)
    if images.classes != description.classes:
        theirs, ours = ", ".join(images.classes), ", ".join(description.classes)
        raise UserError(f"{name} has the classes {theirs}, and {path} knows {ours}")
    precision = resolved_precision(options.precision or "fp32", device.type)[0]
    return network, description.classes, images, {"data": name, "split": split, "precision": precision}
