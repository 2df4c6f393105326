"""The task of segmentation, see `training.task`. Importing this module loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..data.annotated.opening import recognized
from ..training.task import Task
from .recipe import SegmentationRecipe
from .recipes import RECIPES

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ..training.choices import Reason
    from ..training.distributed import World
    from .segmenter import Segmenter
    from .session import SegmentationSession


class Segmentation(Task[SegmentationRecipe, "SegmentationSession"]):
    """Names a class for every pixel of an image."""

    name = "segmentation"
    model = "segmenter"
    does = "name a class for every pixel of images"
    trained = "segmenter"

    @property
    def recipe(self) -> type[SegmentationRecipe]:
        """`SegmentationRecipe`."""
        return SegmentationRecipe

    @property
    def recipes(self) -> Mapping[str, SegmentationRecipe]:
        """Of papers, and for invented scenes that every machine can make."""
        return RECIPES

    def recognizes(self, data: str) -> str | None:
        """Data in VOC's or COCO's layout, by name or by what a folder holds."""
        return recognized(data, "masks")

    def recipe_for_data(self, data: str, given: Mapping[str, object]) -> tuple[SegmentationRecipe, tuple[Reason, ...]]:
        """See `recipe_for_data.recipe_for_data`."""
        from .recipe_for_data import recipe_for_data

        return recipe_for_data(data, given)

    def open_session(
        self, recipe: SegmentationRecipe, device: torch.device, report: Callable[[str], None], world: World
    ) -> SegmentationSession:
        """See `session.open_session`."""
        from .session import open_session

        return open_session(recipe, device, report, world)

    def load(self, path: Path, device: str | torch.device) -> Segmenter:
        """See `weights.model_file.ModelKind.load`."""
        from .model_kind import SEGMENTER

        return SEGMENTER.load(path, device=device)


SEGMENTATION = Segmentation()
