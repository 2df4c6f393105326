"""The task of classification, see `training.task`. Importing this module loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..training.task import Task
from .recipe import Recipe
from .recipes import RECIPES

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ..networks import Network
    from ..training.choices import Reason
    from ..training.distributed import World
    from .session import ClassificationSession


class Classification(Task[Recipe, "ClassificationSession"]):
    """Names what is on an image."""

    name = "classification"
    model = "classifier"
    does = "name what is on images"
    trained = "network"

    @property
    def recipe(self) -> type[Recipe]:
        """`Recipe`."""
        return Recipe

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """One short file a paper."""
        return RECIPES

    def recognizes(self, data: str) -> str | None:
        """Whatever has no boxes and no masks is a set of images with classes."""
        return "images with classes"

    def recipe_for_data(self, data: str, given: Mapping[str, object]) -> tuple[Recipe, tuple[Reason, ...]]:
        """See `recipe_for_data.recipe_for_data`."""
        from .recipe_for_data import recipe_for_data

        return recipe_for_data(data, given)

    def open_session(
        self, recipe: Recipe, device: torch.device, report: Callable[[str], None], world: World
    ) -> ClassificationSession:
        """See `session.open_session`."""
        from .session import open_session

        return open_session(recipe, device, report, world)

    def load(self, path: Path, device: str | torch.device) -> Network:
        """See `weights.model_file.ModelKind.load`."""
        from ..weights.model_file import CLASSIFIER

        return CLASSIFIER.load(path, device=device)


CLASSIFICATION = Classification()
