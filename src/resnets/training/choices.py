"""What a recipe becomes where the user says nothing: values chosen one after another, each with its reason, after the user's own options.

A choice may depend on values that are in force already, whether they were chosen or given. So everything that follows from an option
follows from the user's option too. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base_recipe import AnyRecipe


@dataclass(frozen=True)
class Reason:
    """Why an option has its value."""

    option: str
    value: str
    because: str


class Choices:
    """Values for the fields of a recipe.

    Args:
        given: the user's own, by dotted name ("optimizer.learning_rate"). They are kept to the letter.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = dict(given)
        self.values: dict[str, Any] = {}
        self.reasons: list[Reason] = []

    def choose(self, option: str, value: Any, because: str) -> Any:
        """The value in force: the user's, or else `value`."""
        typed = option.replace("_", "-")
        if option in self.given:
            mine = self.given[option]
            same = shown(mine) == shown(value)
            self.reasons.append(Reason(typed, shown(mine), because if same else f"you chose it, in place of {shown(value)}"))
            return mine
        self.values[option] = value
        self.reasons.append(Reason(typed, shown(value), because))
        return value

    def get(self, option: str, otherwise: Any = None) -> Any:
        """The value in force so far."""
        return self.given.get(option, self.values.get(option, otherwise))

    def recipe(self, start: AnyRecipe) -> AnyRecipe:
        """`start` with the user's values and the chosen ones.

        Raises:
            ValueError: the user's values do not fit, or not together.
        """
        return start.updated(**{name.replace(".", "__"): value for name, value in {**self.values, **self.given}.items()})


def shown(value: Any) -> str:
    """A value as it is typed after its option."""
    if isinstance(value, tuple | list):
        return " ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
