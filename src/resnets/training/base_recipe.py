"""`RunRecipe`: how a run goes, whatever it trains. Frozen, validated, stored as YAML; importing it loads no torch.

A recipe is what is trained on what (the fields of a subclass, such as `Recipe` for classifiers) and how (the fields here).
Every field is an option of the command, and its docstring is the option's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from ..core.errors import UserError
from ..core.reading import SETTINGS_LIMIT, read_file
from ..core.yaml_file import parse_yaml
from ..networks.zoo import explain
from .settings import Averaging, Count, Distributed, Evaluating, Optimizer, Positive, Schedule, Settings, Share


class RunRecipe(Settings):
    """How a run goes: the optimizer's steps, when to evaluate and keep, where, and where the result goes."""

    command: ClassVar[str] = ""
    """The command that carries such a recipe out, after `resnets`."""

    name: str = "custom"
    """Name of the recipe that this one began as."""
    data_folder: Path | None = None
    """Folder that holds a named data set's files; unset: cache, system, then download."""
    max_unreadable: Share = 0.05
    """Share of the images that may be unreadable; they are named, counted and left out, more of them are an error."""
    workers: Count | None = None
    """Processes or threads that decode; unset: one per core."""
    weights: str | None = None
    """Pretrained weights to start from; unset: fresh ones."""
    epochs: Positive = 10
    """Passes over the training set."""
    max_steps: Positive | None = None
    """Stop after so many optimizer steps; the schedule's progress counts to there."""
    batch_size: Positive = 128
    """Images per optimizer step."""
    drop_last: bool = True
    """Leave out the last, smaller batch of an epoch."""
    accumulation: Positive = 1
    """Parts into which a batch is cut, whose gradients are added up: the same step in less memory."""
    optimizer: Optimizer = Optimizer()
    """How gradients change weights."""
    schedule: Schedule = Schedule()
    """The learning rate over the run."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the whole gradient."""
    averaging: Averaging = Averaging()
    """Moving average of the weights."""
    evaluation: Evaluating = Evaluating()
    """When and how the network is evaluated."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto (bf16 where the device multiplies it itself, else fp32), fp32, or bf16 autocast (weights, norms' statistics and the loss stay
    fp32). A run stores what auto became."""
    channels_last: bool = True
    """NHWC memory layout."""
    device: str = "auto"
    """auto (the first GPU, else the CPU), cpu, cuda, cuda:1, mps, ..."""
    threads: Count = 0
    """CPU threads; 0 for one per core."""
    seed: Count = 0
    """Seeds everything random in the run."""
    deterministic: bool = False
    """Deterministic kernels on GPUs, somewhat slower; one CPU machine repeats itself anyway."""
    log_every: Positive = 20
    """Steps between logged lines."""
    checkpoint_every: Annotated[float, Field(gt=0)] = 300.0
    """Seconds between checkpoints."""
    checkpoint_steps: Positive | None = None
    """Optimizer steps between checkpoints, besides the seconds; unset: the seconds alone."""
    distributed: Distributed = Distributed()
    """Several processes, started by torchrun."""
    report: bool = True
    """Write report.html at the end."""
    output: Path | None = None
    """Run directory; unset: runs/NAME-1, runs/NAME-2, ..."""

    @model_validator(mode="after")
    def _parts_of_equal_size(self) -> Self:
        if self.batch_size % self.accumulation:
            raise UserError(f"a batch of {self.batch_size} cannot be cut into accumulation={self.accumulation} equal parts")
        if self.accumulation > 1 and not self.drop_last:
            raise UserError(
                "accumulation cuts every batch into equal parts, which the last one of an epoch may not have; set drop_last"
            )
        if self.averaging.decay == 0 and self.averaging.start > 0:
            raise UserError("averaging.start has no effect while averaging.decay is 0; set the decay, for instance 0.99")
        return self

    def updated(self, **overrides: Any) -> Self:
        """A validated copy; nested fields as `optimizer={"learning_rate": 0.2}` or `optimizer__learning_rate=0.2`.

        Raises:
            ValueError: an unknown field, or a value that does not fit.
        """
        values = self.model_dump()
        for key, value in overrides.items():
            *path, field = key.split("__")
            target = values
            for part in path:
                target = target[part]
            target[field] = {**target[field], **value} if isinstance(target.get(field), dict) and isinstance(value, dict) else value
        try:
            return type(self).model_validate(values)
        except ValidationError as error:
            raise UserError(f"recipe {self.name}: {explain(error)}") from None

    def begun_from(self, model: Path) -> Self:
        """The same run, whose first weights are those of a model file that it wrote before its first step."""
        return self.updated(weights=str(model))

    def to_yaml(self) -> str:
        """All fields as YAML; `read_run_recipe` gives an equal recipe back."""
        fields = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        return f"{HEADER}{self.command}\n{fields}"


HEADER = "# resnets "
"""Begins a recipe's file; the command follows."""

AnyRecipe = TypeVar("AnyRecipe", bound=RunRecipe)


def read_run_recipe(path: Path, kind: type[AnyRecipe]) -> AnyRecipe:
    """The recipe in a YAML file, such as a run's recipe.yaml.

    Raises:
        ValueError: not YAML, an unknown field or a value that does not fit, or a recipe of another command; the message names the file.
        OSError: no such file.
    """
    try:
        text = read_file(path, limit=SETTINGS_LIMIT).decode("utf-8")
        command = text.partition("\n")[0].removeprefix(HEADER) if text.startswith(HEADER) else kind.command
        if command != kind.command:
            raise UserError(f"it was written for `resnets {command}`; use that command")
        values = parse_yaml(text)
        if not isinstance(values, dict):
            raise UserError("it holds no mapping of fields to values")
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path} is not a recipe: {explain(error)}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} is not a recipe of `resnets {kind.command}`: {' '.join(str(error).split())}") from None
