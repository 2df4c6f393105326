"""The studies, each a value; importing them loads no torch."""

from __future__ import annotations

import difflib

from ...core.errors import UserError
from ..experiment import Study
from .activation import ACTIVATION_ORDER, VERY_DEEP
from .bottleneck import BOTTLENECK
from .degradation import DEGRADATION
from .inception import INCEPTION
from .shortcuts import SHORTCUT_ABLATION, SHORTCUT_OPTIONS
from .signal import SIGNAL
from .width import CARDINALITY, WIDTH

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        DEGRADATION,
        SHORTCUT_OPTIONS,
        SHORTCUT_ABLATION,
        ACTIVATION_ORDER,
        VERY_DEEP,
        WIDTH,
        CARDINALITY,
        INCEPTION,
        SIGNAL,
        BOTTLENECK,
    )
}
"""By name, in the order in which the papers asked."""


def get_study(name: str) -> Study:
    """The study of that name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(STUDIES)}."
        raise UserError(f"there is no study named {name!r}; {hint}")
    return STUDIES[name]
