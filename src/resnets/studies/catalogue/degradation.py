"""He 2015: plain networks get worse with depth on the training set, residual ones do not."""

from __future__ import annotations

from ..experiment import Answer, Arm, Comparison, Rung, Study
from .settings import CROPS, HE2015_CIFAR, HE_RECIPE, NARROW, SHORT_RUN

_DEPTHS = (8, 20, 32, 44, 56, 110)
_FAMILIES = {"plain": "cifar-plain", "residual": "cifar-resnet"}


def _answer(family: str, depth: int) -> Answer | None:
    if depth == 8:
        return None
    if family == "plain":
        return Answer(table="he2015/figure_1_6_plain_nets", model=f"plain-{depth}")
    return Answer(table="he2015/table_6", model=f"ResNet-{depth}")


def _networks(depths: tuple[int, ...], *fields: str) -> dict[str, str]:
    return {
        f"{family}-{depth}": ":".join((f"{prefix}{depth}", *fields)) for depth in depths for family, prefix in _FAMILIES.items()
    }


DEGRADATION = Study(
    name="degradation",
    title="Degradation",
    question="Do plain networks get worse with depth on the training set, and residual ones not?",
    claim="With more layers a plain network's training error rises, and a residual network's falls.",
    answers_to="He 2015 Fig. 1, 4, 6; Tables 2, 6",
    paper=HE2015_CIFAR,
    recipe=HE_RECIPE,
    arms=tuple(
        Arm(
            name=f"{family}-{depth}",
            paper_network=None if depth == 8 else f"{prefix}{depth}",
            series=family,
            order=depth,
            answers=_answer(family, depth),
        )
        for family, prefix in _FAMILIES.items()
        for depth in _DEPTHS
    ),
    rungs=(
        Rung(name="32 layers", networks=_networks((8, 20, 32), NARROW), minimum_steps=600, recipe=SHORT_RUN),
        Rung(name="56 layers", networks=_networks((8, 20, 56), NARROW), minimum_steps=1_500, recipe=SHORT_RUN),
        Rung(name="paper", networks=_networks((20, 32, 44, 56, 110)), minimum_steps=16_000, recipe=CROPS),
    ),
    comparisons=(
        Comparison(
            statement="{arm} has a higher training error than {other}", metric="train_error", arm="plain:last", other="plain:first"
        ),
        Comparison(
            statement="{arm} has a higher training error than {other}",
            metric="train_error",
            arm="residual:first",
            other="residual:last",
        ),
        Comparison(
            statement="{arm} has a higher training error than {other}",
            metric="train_error",
            arm="plain:last",
            other="residual:last",
        ),
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="plain:last",
            other="plain:first",
            key=False,
        ),
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="residual:first",
            other="residual:last",
            key=False,
        ),
    ),
    metrics=("test_error", "train_error"),
    figures=("curves", "series"),
)
