"""What a study is, as data: networks x recipe x seeds, what is compared, and the published numbers that it answers to.

Legend: an *arm* is one network (or one way to train it) of a study; a *series* is a family of arms that differ in one number, such as
the depth; a *rung* is a size at which the whole study can be run, the last one being the paper's. Importing this loads no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Measurement = Literal["training", "trained-signal", "initial-signal", "count"]
Figure = Literal["curves", "series", "dots", "signal", "products", "counts"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Answer(_Frozen):
    """The published number that an arm answers to: rows of a table in published.yaml."""

    table: str
    """PAPER/TABLE, such as he2015/table_6."""
    model: str
    """The row's model, as printed."""
    where: dict[str, str] = {}
    """Values of other columns, where several rows have that model."""


class Arm(_Frozen):
    """One network of a study."""

    name: str
    """Short, for tables and plots."""
    paper_network: str | None
    """The paper's network by its name in the zoo; None where the paper has no such arm."""
    measurement: Measurement = "training"
    """How it is measured."""
    series: str = ""
    """The family that it belongs to; arms of one series share a colour, and a line where something is plotted against `order`."""
    order: float = 0.0
    """Its place in the series, such as the depth."""
    answers: Answer | None = None
    """The published number to compare it with."""
    time_of: str | None = None
    """Train for as many seconds as the arm of this name takes, not for as many steps."""


class Rung(_Frozen):
    """A size at which a study can be run."""

    name: str
    networks: dict[str, str]
    """The network of each arm by the arm's name; an arm that is missing is left out at this size."""
    minimum_steps: Annotated[int, Field(ge=0)] = 0
    """Fewer optimizer steps than these are not worth a run of this size."""
    recipe: dict[str, Any] = {}
    """Fields of the recipe (nested as optimizer__learning_rate) that differ from the study's at this size."""


class Comparison(_Frozen):
    """One thing that the paper claims, in numbers: which arm's metric is above or below which other's.

    `arm` and `other` are names, or SERIES:first and SERIES:last, the ends of a series as far as it was run.
    """

    statement: str
    """What holds if it is true; {arm} and {other} are replaced by the arms' names."""
    metric: str
    arm: str
    other: str | None = None
    """The arm to compare with; None compares with `bound` itself."""
    form: Literal["difference", "ratio"] = "difference"
    """What is formed of the two arms' values, seed by seed."""
    relation: Literal["above", "below", "equal"] = "above"
    bound: float = 0.0
    """What the difference, ratio or value is above, below or equal to."""
    tolerance: float = 0.0
    """equal: how far from the bound still counts as equal."""
    key: bool = True
    """Whether the claim depends on it; the others are told beside it."""


class Setting(_Frozen):
    """How networks were trained, in the paper or here; None is what the paper does not state. Compared field by field."""

    data: str | None = None
    """data set"""
    training_pictures: int | None = None
    """training images"""
    resolution: int | None = None
    """image size in pixels"""
    crops: int | None = None
    """padding of random crops in pixels"""
    mirroring: str | None = None
    """mirroring of training images"""
    optimizer: str | None = None
    """optimizer"""
    learning_rate: float | None = None
    """peak learning rate"""
    schedule: str | None = None
    """learning rate schedule"""
    warmup: str | None = None
    """warm-up"""
    weight_decay: float | None = None
    """weight decay"""
    batch: int | None = None
    """batch size"""
    steps: int | None = None
    """optimizer steps"""
    seeds: int | None = None
    """runs a network"""


class Study(_Frozen):
    """An experiment of a paper."""

    name: str
    title: str
    question: str
    claim: str
    """What the paper claims, one sentence."""
    answers_to: str
    """Tables and figures of the papers."""
    paper: Setting
    """How the paper trained."""
    recipe: dict[str, Any] = {}
    """Fields of the recipe, nested as optimizer__learning_rate."""
    arms: tuple[Arm, ...]
    rungs: tuple[Rung, ...]
    """From the smallest to the paper's."""
    comparisons: tuple[Comparison, ...]
    metrics: tuple[str, ...]
    """Columns of the table, the one that is beside the published number first."""
    figures: tuple[Figure, ...]
    paper_seeds: int = 5
    """More seeds than these are never planned."""

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        names = [arm.name for arm in self.arms]
        assert len(set(names)) == len(names), f"{self.name}: two arms of one name"
        series = {arm.series for arm in self.arms}
        for rung in self.rungs:
            assert set(rung.networks) <= set(names), f"{self.name}/{rung.name}: {set(rung.networks) - set(names)} are no arms"
        for comparison in self.comparisons:
            for selector in filter(None, (comparison.arm, comparison.other)):
                start, _, end = selector.rpartition(":")
                assert selector in names or (start in series and end in ("first", "last")), f"{self.name}: {selector} is no arm"
        return self

    @property
    def trains(self) -> bool:
        """Whether any arm is trained."""
        return any(arm.measurement in ("training", "trained-signal") for arm in self.arms)

    @property
    def exact(self) -> bool:
        """Whether nothing in it is random, so that one measurement is all there is."""
        return all(arm.measurement == "count" for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def select(self, selector: str, present: tuple[str, ...]) -> str | None:
        """The arm that a comparison's selector means among those `present`, or None."""
        if selector in present:
            return selector
        series, _, end = selector.rpartition(":")
        members = sorted((arm.order, arm.name) for arm in self.arms if arm.series == series and arm.name in present)
        return members[0 if end == "first" else -1][1] if members and end in ("first", "last") else None
