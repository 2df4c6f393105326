"""`Recipe`: a whole training run as data. Frozen, validated, stored as YAML; importing it loads no torch.

Every field is an option of `resnets train` (`--optimizer.learning-rate 0.2`), and its docstring is the option's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..networks.zoo import explain, get_spec

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Optimizer(_Frozen):
    """How gradients change weights."""

    name: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    """sgd (with momentum), adam, adamw, or muon (orthogonalised momentum for convolutions, sgd for all else)."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    """Peak learning rate, for the whole batch."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd and muon."""
    nesterov: bool = True
    """Nesterov's form of the momentum."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Averaging rates of adam and adamw."""
    epsilon: float = 1e-8
    """Added to adam's denominator."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay: in the gradient for sgd and adam, decoupled for adamw and muon."""
    decay_norms_and_biases: bool = True
    """Whether norms' parameters and biases decay too, as in He 2015."""
    sgd_learning_rate: Annotated[float, Field(gt=0)] = 0.3
    """muon only: peak learning rate of the sgd that moves norms, biases, the stem and the classifier."""


class Schedule(_Frozen):
    """The learning rate over the run: a factor on the peak, as a function of progress in [0, 1]."""

    kind: Literal["constant", "step", "linear", "cosine", "one-cycle"] = "cosine"
    """Shape behind the warm-up; one-cycle rises and falls as a cosine (Smith 2017, 1708.07120)."""
    warmup: Share = 0.0
    """Share of the run in which the factor rises (linearly, for one-cycle as a cosine)."""
    milestones: tuple[Share, ...] = (0.5, 0.75)
    """step: progress at which the factor is multiplied by gamma (He 2015: 32k and 48k of 64k iterations)."""
    gamma: float = 0.1
    """step: the factor at each milestone."""
    final: Share = 0.0
    """linear, cosine, one-cycle: factor at the end."""


class Augmentation(_Frozen):
    """Random changes of the training pictures, made on the batch."""

    crop_padding: Count = 0
    """Pixels of padding from which a crop of the original size is cut (He 2015 for CIFAR: 4)."""
    padding_mode: Literal["zeros", "reflect"] = "zeros"
    """What fills the padding."""
    horizontal_flip: Literal["off", "random", "alternate"] | None = None
    """Mirror pictures: each with probability 1/2, or each in every other epoch, so that no epoch shows one as the epoch before did
    (alternating flip, Jordan 2024, 2404.00498). Unset: random where the data set says that a mirrored picture keeps its class."""
    erasing: Count = 0
    """Side in pixels of a square that is set to the mean (Cutout, 1708.04552); 0 for none."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """alpha of mixup's Beta distribution (1710.09412); 0 for none."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """alpha of cutmix's Beta distribution (1905.04899); 0 for none. With mixup too, each batch takes one of the two."""


class Averaging(_Frozen):
    """An exponential moving average of the weights, which is what is evaluated and saved."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight of the old average at each update; 0 for no average."""
    every: Positive = 1
    """Steps between updates."""
    start: Share = 0.0
    """Progress at which averaging begins."""


class Evaluation(_Frozen):
    """When and how the network is evaluated."""

    every: Count = 1
    """Epochs between evaluations; 0 for only once, at the end."""
    flips: bool = False
    """Average the logits of the picture and its mirror image."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the evaluated network."""
    batch_size: Positive = 500
    """Pictures a batch."""


class Recipe(_Frozen):
    """A training run: what is trained on what, how, where, and where the result goes."""

    name: str = "custom"
    """Name of the recipe that this one began as."""
    data: str = "fashion-mnist"
    """Data set: a name that `resnets data list` shows."""
    data_folder: Path | None = None
    """Folder that holds the data set's files; unset: cache, system, then download."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training set that is kept out and evaluated on instead of the test set, for tuning."""
    network: str = "resnet18"
    """Network, by name; fields of its spec may follow: cifar-resnet20:width=32,shortcut=B."""
    image_size: Positive | None = None
    """Height and width in pixels that the network sees; unset: the data set's own."""
    normalize: bool = True
    """Shift and scale pixels by the training set's mean and standard deviation; if not, they are in [0, 1]."""
    epochs: Positive = 10
    """Passes over the training set."""
    max_steps: Positive | None = None
    """Stop after so many optimizer steps; the schedule's progress counts to there."""
    batch_size: Positive = 128
    """Pictures an optimizer step."""
    drop_last: bool = True
    """Leave out the last, smaller batch of an epoch."""
    accumulation: Positive = 1
    """Parts into which a batch is cut, whose gradients are added up: the same step in less memory."""
    optimizer: Optimizer = Optimizer()
    """How gradients change weights."""
    schedule: Schedule = Schedule()
    """The learning rate over the run."""
    augmentation: Augmentation = Augmentation()
    """Random changes of the training pictures."""
    pruning: Annotated[float, Field(ge=0, le=0.75)] = 0.0
    """Share of the pictures that each epoch but the first leaves out, drawn from those with small losses, whose other members then
    count more (InfoBatch, 2303.04947); 0 for none."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target spread over all classes (1512.00567 §7)."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the whole gradient."""
    averaging: Averaging = Averaging()
    """Moving average of the weights."""
    evaluation: Evaluation = Evaluation()
    """When and how the network is evaluated."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """fp32, or bf16 autocast (weights, norms' statistics and the loss stay fp32)."""
    channels_last: bool = True
    """NHWC memory layout."""
    compile: bool = False
    """Compile the network with torch.compile."""
    cuda_graphs: bool = False
    """Replay the network's kernels as CUDA graphs (NVIDIA GPUs only)."""
    device: str = "auto"
    """auto (the first GPU, else the CPU), cpu, cuda, cuda:1, mps, ..."""
    threads: Count = 0
    """CPU threads; 0 for one a core."""
    seed: Count = 0
    """Seeds everything random in the run."""
    deterministic: bool = False
    """Deterministic kernels on GPUs, somewhat slower; one CPU machine repeats itself anyway."""
    log_every: Positive = 20
    """Steps between logged lines."""
    checkpoint_every: Annotated[float, Field(gt=0)] = 300.0
    """Seconds between checkpoints."""
    report: bool = True
    """Write report.html at the end."""
    output: Path | None = None
    """Run directory; unset: runs/NAME-1, runs/NAME-2, ..."""

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        get_spec(name)
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.batch_size % self.accumulation:
            raise ValueError(f"a batch of {self.batch_size} cannot be cut into accumulation={self.accumulation} equal parts")
        if self.accumulation > 1 and not self.drop_last:
            raise ValueError(
                "accumulation cuts every batch into equal parts, which the last one of an epoch may not have; set drop_last"
            )
        if self.pruning and (self.augmentation.mixup or self.augmentation.cutmix):
            raise ValueError("pruning goes by each picture's own loss, which mixup and cutmix blend; use one or the other")
        if self.averaging.decay == 0 and self.averaging.start > 0:
            raise ValueError("averaging.start has no effect while averaging.decay is 0; set the decay, for instance 0.99")
        return self

    def updated(self, **overrides: Any) -> Recipe:
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
            return Recipe.model_validate(values)
        except ValidationError as error:
            raise ValueError(f"recipe {self.name}: {explain(error)}") from None

    def to_yaml(self) -> str:
        """All fields as YAML; `read_recipe` gives an equal recipe back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file, such as a run's recipe.yaml.

    Raises:
        ValueError: not YAML, an unknown field or a value that does not fit; the message names the file.
        OSError: no such file.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no mapping of fields to values")
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{path} is not a recipe: {explain(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is not a recipe: {' '.join(str(error).split())}") from None
