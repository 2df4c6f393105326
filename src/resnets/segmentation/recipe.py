"""`SegmentationRecipe`: a segmenter's whole training run as data. Frozen, validated, stored as YAML; importing it loads no torch.

Every field is an option of `resnets segment train`, and its docstring is the option's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from ..data.annotated.mask_crop import MaskCrop
from ..training.base_recipe import RunRecipe, read_run_recipe
from ..training.settings import Evaluating, Optimizer, Positive, Schedule
from .zoo import get_segmenter_spec


class SegmentationRecipe(RunRecipe):
    """A segmenter's training."""

    command: ClassVar[str] = "segment train"

    data: str = "fashion-scenes"
    """fashion-scenes, voc07, voc12, voc0712 or coco; or a folder in VOC's or COCO's layout whose images have masks."""
    segmenter: str = "fcn-resnet50"
    """Segmenter, by name; fields of its spec may follow: deeplabv3-resnet101:output_stride=16. HEAD-NETWORK names those on any network."""
    weights: str | None = None
    """Weights of a whole segmenter to start from: a run, a model file, or torchvision's file; unset: fresh ones."""
    network_weights: str | None = None
    """Weights of the network in it alone, as `resnets train --weights` takes them, such as imagenet1k-v2."""
    crop: MaskCrop = MaskCrop()
    """What training sees of each image."""
    auxiliary_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the auxiliary head's loss."""
    loss_stride: Positive = 1
    """The loss is that of the first of so many rows and columns of pixels; 2 looks at a quarter of them."""
    loading: Literal["auto", "memory", "stream"] = "auto"
    """Keep decoded images in memory, or decode them each time they come; auto: memory where there is room."""
    batch_size: Positive = 8
    """Images per optimizer step."""
    epochs: Positive = 30
    """Passes over the training images."""
    optimizer: Optimizer = Optimizer(learning_rate=0.01, nesterov=False)
    """How gradients change weights."""
    schedule: Schedule = Schedule(kind="linear")
    """The learning rate over the run."""
    evaluation: Evaluating = Evaluating(every=0, batch_size=1)
    """When the segmenter is evaluated; images come one by one, each at its own size."""
    examples: Positive = 12
    """Images with masks on the report's page."""

    @field_validator("segmenter")
    @classmethod
    def _known_segmenter(cls, name: str) -> str:
        get_segmenter_spec(name)
        return name


def read_segmentation_recipe(path: Path) -> SegmentationRecipe:
    """The segmenter's recipe in a YAML file; raises as `read_run_recipe` does."""
    return read_run_recipe(path, SegmentationRecipe)
