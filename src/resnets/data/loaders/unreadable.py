"""Images that turn out to be of no use while they are loaded: each is reported once, and too many of them are an error."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import DataError

_NAMED = 5
"""How many images a message lists before it counts the others."""


class UnreadableImages:
    """The images of one data set that are left out, and why.

    Args:
        called: the data set, for messages.
        count: of its images.
        max_unreadable: share of them that may be left out.
        report: told of each.
    """

    def __init__(self, called: str, count: int, max_unreadable: float, report: Callable[[str], None]) -> None:
        self.called, self.count, self.max_unreadable, self.report = called, count, max_unreadable, report
        self.reasons: dict[str, str] = {}
        """By the image's name."""

    def add(self, name: str, reason: str) -> None:
        """Leaves an image out; one that is left out already is not reported again.

        Raises:
            DataError: they are too many now.
        """
        if name in self.reasons:
            return
        self.reasons[name] = reason
        self.report(f"{self.called}: {name} is left out, {reason}")
        if len(self.reasons) > self.max_unreadable * self.count:
            raise DataError(
                f"{self.called} has {self.count:,} images, and more of them than max_unreadable={self.max_unreadable:g} allows are "
                f"bad: {self.listed()}; repair or remove them, or raise --max-unreadable"
            )

    def listed(self) -> str:
        """How many they are, and the first by name with their reasons."""
        count = f"{len(self.reasons):,} {'image' if len(self.reasons) == 1 else 'images'} cannot be used"
        named = "; ".join(f"{name} {reason}" for name, reason in list(self.reasons.items())[:_NAMED])
        return f"{count}: {named}" + (f"; and {len(self.reasons) - _NAMED:,} more" if len(self.reasons) > _NAMED else "")
