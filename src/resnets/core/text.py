"""Text of strangers on its way to a terminal, a log or a program."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# C0 and C1 controls but tab and newline, the marks that turn the direction of writing, line separators, and halves of surrogate pairs.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """Text whose control characters are shown as escapes: a file's name must not move a terminal's cursor or change its title."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def to_json(value: Any, **options: Any) -> str:
    """JSON as every reader takes it: numbers that are not finite become null, since NaN is no JSON; what would harm a terminal or cannot
    be encoded is escaped. `options` are those of `json.dumps`."""
    text = json.dumps(_finite(value), allow_nan=False, **options)
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def texts(value: Any, what: str) -> tuple[str, ...]:
    """A JSON list of texts.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{what} are no list of texts")
    return tuple(value)
