"""`Recipe`: a whole training run as data. Frozen, validated, stored as YAML; importing it loads no torch.

Every field is an option of `resnets train` (`--optimizer.learning-rate 0.2`), and its docstring is the option's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ..networks.zoo import explain, get_spec
from .settings import (
    Augmentation,
    Averaging,
    Count,
    Distributed,
    EarlyStopping,
    Evaluation,
    FineTuning,
    Loss,
    Optimizer,
    Positive,
    Schedule,
    Settings,
    Share,
)  # fmt: skip

OF_THE_WEIGHTS = "weights"
"""The network of a recipe whose weights bring it."""


def brings_network(weights: str) -> bool:
    """Whether what `--weights` names says its own network; a label of the catalogue, such as imagenet1k-v2, needs one beside it."""
    return any(letter in weights for letter in "/\\.") or Path(weights).expanduser().exists()


class Recipe(Settings):
    """A training run: what is trained on what, how, where, and where the result goes."""

    name: str = "custom"
    """Name of the recipe that this one began as."""
    data: str = "fashion-mnist"
    """A name that `resnets data list` shows; or your own pictures: a folder (train/CLASS and val/CLASS, or CLASS alone), a CSV of
    path,label[,split], .tar or .parquet shards, or hf:OWNER/NAME."""
    data_folder: Path | None = None
    """Folder that holds a named data set's files; unset: cache, system, then download."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training set that is kept out, with the same share of every class, and evaluated on instead of the test set."""
    exclude: Path | None = None
    """List of your own pictures to leave out: a name a line, or the table that `resnets data check` writes."""
    max_unreadable: Share = 0.05
    """Share of your own pictures that may be unreadable; they are named, counted and left out, more of them are an error."""
    loading: Literal["auto", "memory", "disk", "stream"] = "auto"
    """How your own pictures are decoded: once, kept as pixels in memory or on disk, or each time they come; auto: the first of these
    for which there is room."""
    workers: Count | None = None
    """Processes or threads that decode; unset: one a core."""
    cache_folder: Path | None = None
    """Where decoded pixels lie on disk; unset: below the folder of data sets."""
    network: str = "resnet18"
    """Network, by name; fields of its spec may follow: cifar-resnet20:width=32,shortcut=B. weights: the one that --weights are of."""
    weights: str | None = None
    """Pretrained weights to start from: a model file or run, a file of another package, a name such as resnet50/imagenet1k-v2 or
    timm/NAME; unset: fresh ones. Where --network is not stated beside them, they bring theirs."""
    bn: Literal["train", "stats-frozen", "frozen", "recalibrate", "group"] = "train"
    """Batch norms: train; stats-frozen (running statistics of the weights used and kept, scale and shift learn); frozen (these too stay);
    recalibrate (train, and estimate the statistics anew at the end, on training pictures); group (group norms in their place)."""
    fine_tuning: FineTuning = FineTuning()
    """Which parts learn, when, and how fast."""
    image_size: Positive | None = None
    """Height and width in pixels that the network sees; unset: the data set's own."""
    normalize: bool = True
    """Shift and scale pixels by the training set's mean and standard deviation; if not, they are in [0, 1]."""
    pixel_mean: bool = False
    """Shift every pixel by its own mean over the training set instead, and scale nothing (He 2015 §4.2)."""
    epochs: Positive = 10
    """Passes over the training set."""
    max_steps: Positive | None = None
    """Stop after so many optimizer steps; the schedule's progress counts to there."""
    batch_size: Positive = 128
    """Pictures an optimizer step."""
    drop_last: bool = True
    """Leave out the last, smaller batch of an epoch."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """Order of the training pictures: each once an epoch, or drawn with replacement so that every class comes up equally often."""
    class_weights: Literal["none", "balanced"] = "none"
    """How much a picture's loss counts: all alike, or in inverse proportion to its class's pictures, with a mean of 1 over the data."""
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
    loss: Loss = Loss()
    """What training minimises."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target spread over all classes (1512.00567 §7)."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the whole gradient."""
    averaging: Averaging = Averaging()
    """Moving average of the weights."""
    evaluation: Evaluation = Evaluation()
    """When and how the network is evaluated."""
    early_stopping: EarlyStopping = EarlyStopping()
    """An end of the run before its last step."""
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
    checkpoint_steps: Positive | None = None
    """Optimizer steps between checkpoints, besides the seconds; unset: the seconds alone."""
    distributed: Distributed = Distributed()
    """Several processes, started by torchrun."""
    report: bool = True
    """Write report.html at the end."""
    output: Path | None = None
    """Run directory; unset: runs/NAME-1, runs/NAME-2, ..."""

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        if name != OF_THE_WEIGHTS:
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
        if self.network == OF_THE_WEIGHTS and self.weights is None:
            raise ValueError(
                "network='weights' is the network that --weights are of, but there are none; name a network or weights"
            )
        if self.pruning and self.sampling == "balanced":
            raise ValueError(
                "pruning needs each picture once an epoch, which balanced sampling does not give; use one or the other"
            )
        if self.sampling == "balanced" and self.class_weights == "balanced":
            raise ValueError(
                "sampling and class_weights both make rare classes count as much as frequent ones, together they count more; choose one"
            )
        if self.early_stopping.patience and not self.evaluation.every:
            raise ValueError("early_stopping counts evaluations, but evaluation.every is 0; set it to 1 for one an epoch")
        if self.pixel_mean and not self.normalize:
            raise ValueError("pixel_mean is a way to normalize, which is off; use one or the other")
        if self.pixel_mean and self.evaluation.image_size not in (None, self.image_size):
            raise ValueError("pixel_mean has one mean for each pixel and fits one size only; leave evaluation.image_size unset")
        if self.loss.threshold is not None and self.loss.name != "binary-cross-entropy":
            raise ValueError("loss.threshold is for binary-cross-entropy; set loss.name to it, or leave the threshold unset")
        if self.augmentation.repeats > 1 and (self.pruning or self.sampling != "uniform"):
            raise ValueError("augmentation.repeats sets the order of the pictures, as pruning and sampling do; use one of them")
        if self.averaging.decay == 0 and self.averaging.start > 0:
            raise ValueError("averaging.start has no effect while averaging.decay is 0; set the decay, for instance 0.99")
        return self

    def updated(self, **overrides: Any) -> Recipe:
        """A validated copy; nested fields as `optimizer={"learning_rate": 0.2}` or `optimizer__learning_rate=0.2`. Weights without a
        network bring their own.

        Raises:
            ValueError: an unknown field, or a value that does not fit.
        """
        values = self.model_dump()
        if overrides.get("weights") is not None and brings_network(str(overrides["weights"])):
            overrides = {"network": OF_THE_WEIGHTS, **overrides}
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
