"""What goes wrong with the files of a dataset."""

from __future__ import annotations

from ..core.errors import UserError


class DataError(UserError):
    """A dataset's file is missing, damaged, not the one it should be, or cannot be kept; the message names it and the fix."""


class NotThere(Exception):
    """One source has no answer, for the reason given; another may have one. It never leaves `resnets.data`."""


class Unreadable(UserError):
    """An image that cannot be decoded; the message says why, as a clause that follows the image's name."""
