"""`Recipe`: a whole training run as data. Frozen, validated, stored as YAML; importing it loads no torch.

Every field is an option of `resnets train` (`--optimizer.learning-rate 0.2`), and its docstring is the option's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..data.crops import ResizedCrop
from ..networks.zoo import explain, get_spec

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


OF_THE_WEIGHTS = "weights"
"""The network of a recipe whose weights bring it."""


def brings_network(weights: str) -> bool:
    """Whether what `--weights` names says its own network; a label of the catalogue, such as imagenet1k-v2, needs one beside it."""
    return any(letter in weights for letter in "/\\.") or Path(weights).expanduser().exists()


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Optimizer(_Frozen):
    """How gradients change weights."""

    name: Literal["sgd", "adam", "adamw", "lamb", "muon"] = "sgd"
    """sgd (with momentum), adam, adamw, lamb (adam at each tensor's own scale, for large batches), or muon (orthogonalised momentum for
    convolutions, sgd for all else)."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    """Peak learning rate, for the whole batch."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd and muon."""
    nesterov: bool = True
    """Nesterov's form of the momentum."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Averaging rates of adam, adamw and lamb."""
    epsilon: float = 1e-8
    """Added to the denominator of adam, adamw and lamb."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay: in the gradient for sgd and adam, decoupled for adamw and muon, in the scaled update for lamb."""
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
    warmup_shape: Literal["rise", "constant"] = "rise"
    """Rise to 1 over the warm-up, or stay at warmup_factor until its end (He 2015 §4.2, for 110 layers)."""
    warmup_factor: Share = 0.0
    """The factor at the start of the warm-up."""
    milestones: tuple[Share, ...] = (0.5, 0.75)
    """step: progress at which the factor is multiplied by gamma (He 2015: 32k and 48k of 64k iterations)."""
    gamma: float = 0.1
    """step: the factor at each milestone."""
    final: Share = 0.0
    """linear, cosine, one-cycle: factor at the end."""
    stairs: Count = 0
    """Equal parts of the run in each of which the factor stays what it was at their start, such as one an epoch; 0 for none."""


class Policy(_Frozen):
    """Operations drawn at random for each picture: shears, rotations, contrast, inversion, ..."""

    kind: Literal["off", "rand-augment", "trivial-augment"] = "off"
    """rand-augment (1909.13719, timm's two increasing operations, each with probability 1/2) or trivial-augment (2103.10158, one)."""
    magnitude: Annotated[float, Field(ge=0, le=10)] = 7.0
    """rand-augment: mean strength, from 0 to 10."""
    deviation: Annotated[float, Field(ge=0)] = 0.5
    """rand-augment: standard deviation of the strength."""


class Augmentation(_Frozen):
    """Random changes of the training pictures, made on the batch."""

    crop: ResizedCrop = ResizedCrop()
    """A random part of each picture, resized."""
    crop_padding: Count = 0
    """Pixels of padding from which a crop of the original size is cut (He 2015 for CIFAR: 4)."""
    padding_mode: Literal["zeros", "reflect"] = "zeros"
    """What fills the padding."""
    horizontal_flip: Literal["off", "random", "alternate"] | None = None
    """Mirror pictures: each with probability 1/2, or each in every other epoch, so that no epoch shows one as the epoch before did
    (alternating flip, Jordan 2024, 2404.00498). Unset: random where the data set says that a mirrored picture keeps its class."""
    policy: Policy = Policy()
    """Operations drawn at random for each picture."""
    colour_jitter: Share = 0.0
    """Brightness, contrast and saturation, each by a factor from 1 - this to 1 + this (fb.resnet.torch: 0.4); 0 for none."""
    lighting: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of a shift along the principal components of ImageNet's colours (Krizhevsky 2012 §4.1: 0.1); 0 for none."""
    erasing: Count = 0
    """Side in pixels of a square that is set to the mean (Cutout, 1708.04552); 0 for none."""
    random_erasing: Share = 0.0
    """Probability that a rectangle of a picture is set to the mean (1708.04896); 0 for none."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """alpha of mixup's Beta distribution (1710.09412); 0 for none."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """alpha of cutmix's Beta distribution (1905.04899); 0 for none. With mixup too, each batch takes one of the two."""
    repeats: Positive = 1
    """How often a picture comes in its batch, each time in other changes (repeated augmentation, 1901.09335); an epoch then sees only
    1 / repeats of the pictures."""


class Loss(_Frozen):
    """What training minimises."""

    name: Literal["cross-entropy", "binary-cross-entropy"] = "cross-entropy"
    """cross-entropy of the softmax, or the mean over classes of each one's own yes or no (2110.00476 §3)."""
    threshold: Annotated[float, Field(ge=0, lt=1)] | None = None
    """binary-cross-entropy: a class whose share of the target is larger is fully present, all others absent; unset: shares as they
    are."""


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
    image_size: Positive | None = None
    """Height and width in pixels that the network sees in evaluation and behind the run; unset: as in training (1906.06423)."""
    resize: Positive | None = None
    """Length in pixels of the shorter side, of which evaluation sees the middle square; unset: the whole picture, squeezed into one."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How pictures are resized in evaluation."""


class FineTuning(_Frozen):
    """Which parts of a network with pretrained weights learn, when, and how fast."""

    freeze: str = "none"
    """Last part that does not learn, after which all before it do not either: none, conv1, conv2_x, ..., or body for all but the
    head. Frozen parts work as in evaluation: running statistics, no dropout."""
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each part as a multiple of that of the part behind it, from the head back to conv1; 1 for the same everywhere
    (ULMFiT, 1801.06146 §3.2: 1/2.6)."""
    head_first: Share = 0.0
    """Share of the run in which only the head learns, the rest working as in evaluation (LP-FT, 2202.10054)."""


class EarlyStopping(_Frozen):
    """An end of the run as soon as evaluations no longer improve; best.safetensors holds the best of them."""

    patience: Count = 0
    """Evaluations in a row without improvement that end the run; 0 for never."""
    metric: Literal["top1", "loss"] = "top1"
    """What has to rise (top1) or fall (loss)."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By more than how much: a share for top1, nats for loss."""


class Distributed(_Frozen):
    """How several processes train together, where torchrun starts them."""

    synchronized_norm: bool = False
    """Batch norms see the batches of all processes together."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds after which a process that does not answer is given up, so that torchrun can replace it."""


class Recipe(_Frozen):
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
