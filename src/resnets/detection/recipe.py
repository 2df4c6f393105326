"""`DetectionRecipe`: a detector's whole training run as data. Frozen, validated, stored as YAML; importing it loads no torch.

Every field is an option of `resnets detect train`, and its docstring is the option's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from ..training.base_recipe import RunRecipe, read_run_recipe
from ..training.settings import Evaluating, Optimizer, Positive, Schedule
from .spec import DetectorSpec
from .zoo import get_detector_spec


class DetectionRecipe(RunRecipe):
    """A detector's training: approximate joint training of proposals and box head (Ren 2015 §3.2)."""

    command: ClassVar[str] = "detect train"

    data: str = "fashion-scenes"
    """fashion-scenes, voc07, voc12, voc0712 or coco; or a folder in VOC's or COCO's layout."""
    detector: str = "resnet50-fpn"
    """Detector, by name; fields of its spec may follow: resnet101-c4:min_size=600. NETWORK-c4 and NETWORK-fpn name those on any network."""
    weights: str | None = None
    """Weights to start from: a detector's (a run, a model file, torchvision's or detectron2's file), or those of the network in it, as
    `resnets train --weights` takes them; unset: fresh ones."""
    flip: bool = True
    """Mirror each training image with probability 1/2."""
    loading: Literal["auto", "memory", "stream"] = "auto"
    """Keep decoded images in memory, or decode them each time they come; auto: memory where there is room."""
    batch_size: Positive = 2
    """Images per optimizer step."""
    epochs: Positive = 12
    """Passes over the training images."""
    optimizer: Optimizer = Optimizer(learning_rate=0.0025, nesterov=False)
    """How gradients change weights."""
    schedule: Schedule = Schedule(kind="step", milestones=(2 / 3, 8 / 9), warmup=0.01)
    """The learning rate over the run."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 10.0
    """Largest norm of the whole gradient."""
    evaluation: Evaluating = Evaluating(every=0, batch_size=2)
    """When the detector is evaluated."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """fp32, bf16 autocast (weights, norms' statistics and the losses stay fp32), or auto: bf16 where the device multiplies it itself."""
    examples: Positive = 12
    """Images with boxes on the report's page."""

    @field_validator("detector")
    @classmethod
    def _known_detector(cls, name: str) -> str:
        get_detector_spec(name)
        return name

    @property
    def spec(self) -> DetectorSpec:
        """The detector's spec, whose number of classes the data set says."""
        return get_detector_spec(self.detector)


def read_detection_recipe(path: Path) -> DetectionRecipe:
    """The detector's recipe in a YAML file; raises as `read_run_recipe` does."""
    return read_run_recipe(path, DetectionRecipe)
