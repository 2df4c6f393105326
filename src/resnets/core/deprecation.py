"""Names that were given up: they work for one more version, and say once what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from .errors import UserError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def renamed_argument(old: str, new: str, *, until: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """A decorator that takes a keyword argument under its former name, too.

    Args:
        old, new: the two names.
        until: the version that no longer takes the old one.
    """

    def decorated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @wraps(function)
        def called(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
            if old in named:
                if new in named:
                    raise UserError(f"{function.__name__} got {new} and its former name {old}; leave {old} out")
                warnings.warn(
                    f"{function.__name__}({old}=...) is called {new} now; {old} goes with version {until}",
                    DeprecationWarning,
                    stacklevel=2,
                )
                named[new] = named.pop(old)
            return function(*arguments, **named)

        return called

    return decorated
