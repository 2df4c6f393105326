"""The task of detection, see `training.task`. Importing this module loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..data.annotated.opening import recognized
from ..training.task import Task
from .recipe import DetectionRecipe
from .recipes import RECIPES

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ..training.choices import Reason
    from ..training.distributed import World
    from .detector import Detector
    from .session import DetectionSession


class Detection(Task[DetectionRecipe, "DetectionSession"]):
    """Finds what is where on an image."""

    name = "detection"
    model = "detector"
    does = "find objects on images"
    trained = "detector"

    @property
    def recipe(self) -> type[DetectionRecipe]:
        """`DetectionRecipe`."""
        return DetectionRecipe

    @property
    def recipes(self) -> Mapping[str, DetectionRecipe]:
        """Of papers, and for invented scenes that every machine can make."""
        return RECIPES

    def recognizes(self, data: str) -> str | None:
        """Data in VOC's or COCO's layout, by name or by what a folder holds."""
        return recognized(data, "boxes")

    def recipe_for_data(self, data: str, given: Mapping[str, object]) -> tuple[DetectionRecipe, tuple[Reason, ...]]:
        """See `recipe_for_data.recipe_for_data`."""
        from .recipe_for_data import recipe_for_data

        return recipe_for_data(data, given)

    def open_session(
        self, recipe: DetectionRecipe, device: torch.device, report: Callable[[str], None], world: World
    ) -> DetectionSession:
        """See `session.open_session`."""
        from .session import open_session

        return open_session(recipe, device, report, world)

    def load(self, path: Path, device: str | torch.device) -> Detector:
        """See `weights.model_file.ModelKind.load`."""
        from .model_kind import DETECTOR

        return DETECTOR.load(path, device=device)


DETECTION = Detection()
