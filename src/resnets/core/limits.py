"""Limits on what a file may ask for before anything is built or allocated for it. They stop mistakes and attacks, not work: one environment
variable raises all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .errors import UserError

VARIABLE = "RESNETS_LIMITS"
UNITS, CHANNELS, PARAMETERS, PIXELS_A_SIDE, ACTIVATIONS = 4_000, 1_000_000, 20_000_000_000, 8_192, 20_000_000_000
"""Residual units of a network, channels of a layer, parameters, pixels along a side of what a network sees, and values of all its feature
maps together for one image."""


def check_limit(what: str, value: float, limit: float) -> None:
    """Refuses a number that is larger than its limit.

    Raises:
        UserError: it is; the message says how to raise the limit.
    """
    allowed = limit * limits_factor()
    if not value <= allowed:  # a NaN is not, either
        number = f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
        raise UserError(f"{what} {number}, more than {allowed:,.0f}; if that is meant, set {VARIABLE}=10 for ten times as many")


def check_limits(fields: object, limits: Mapping[str, float]) -> None:
    """`check_limit` for the fields of a spec by name; of tuples the largest number counts, and None is none.

    Raises:
        UserError: one is larger than its limit.
    """
    for name, limit in limits.items():
        value = getattr(fields, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None:
                check_limit(f"{name} is", number, limit)


def limits_factor() -> float:
    """What the user multiplies every limit by, at least 1."""
    stated = os.environ.get(VARIABLE, "1")
    try:
        return max(1.0, float(stated))
    except ValueError:
        raise UserError(f"{VARIABLE}={stated!r} is not a number; 10 raises every limit to ten times its size") from None
