"""A task: what a recipe is carried out for, as a value. The engine knows `Task`, and no instance of it.

A task says which recipe it takes, which data it recognises, what is chosen for that data, and how a recipe becomes a session. What it
minimises, evaluates, reports and saves is its session's. Importing this module loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from .base_recipe import AnyRecipe

if TYPE_CHECKING:
    from pathlib import Path

    from torch import device as Device
    from torch import nn

    from .choices import Reason
    from .distributed import World

AnySession = TypeVar("AnySession", covariant=True)
"""A `training.session.Session`; named there, so that a task loads no torch."""


class Task(ABC, Generic[AnyRecipe, AnySession]):
    """What connects a recipe with data, a network, a loss and an evaluation. Tasks have no state: one instance each."""

    name: ClassVar[str]
    """As --task takes it: classification, detection, segmentation."""
    model: ClassVar[str]
    """What its model files hold, as their headers say it: classifier, detector, segmenter."""
    does: ClassVar[str]
    """What its networks do, after "resnets predict": "find objects"."""
    trained: ClassVar[str]
    """The field of its recipes that names what is trained: network, detector, segmenter."""

    def __repr__(self) -> str:
        return f"the task of {self.name}"

    @property
    @abstractmethod
    def recipe(self) -> type[AnyRecipe]:
        """The class of its recipes."""

    @property
    @abstractmethod
    def recipes(self) -> Mapping[str, AnyRecipe]:
        """The named ones."""

    @abstractmethod
    def recognizes(self, data: str) -> str | None:
        """Why a user's data, a path or a name, is this task's; None where it is not. Only names and lists are looked at, no image."""

    @abstractmethod
    def recipe_for_data(self, data: str, given: Mapping[str, object]) -> tuple[AnyRecipe, tuple[Reason, ...]]:
        """The recipe for a user's own data after the user's own options, and the reason of each choice.

        Args:
            given: the user's values by dotted name of the recipe's field.

        Raises:
            ValueError: there is no such data, or the values do not fit.
            OSError: the data cannot be read.
        """

    @abstractmethod
    def open_session(self, recipe: AnyRecipe, device: Device, report: Callable[[str], None], world: World) -> AnySession:
        """Everything that training works on; `recipe` says its precisions by name.

        Raises:
            ValueError: the recipe asks for what cannot be had.
            OSError: the data or the weights cannot be read.
        """

    @abstractmethod
    def load(self, path: Path, device: str | Device) -> nn.Module:
        """The network in a model file of this task, in evaluation mode, with its classes.

        Raises:
            ValueError: the file is not of this task, or damaged.
            OSError: it cannot be read.
        """
