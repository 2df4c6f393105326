"""The parts of a recipe, each a frozen model of its own. Importing this loads no torch.

Every field is an option of `resnets train` (`--optimizer.learning-rate 0.2`), and its docstring is the option's help.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..data.augmentation.crops import ResizedCrop

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """A frozen part of a recipe, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Optimizer(Settings):
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


class Schedule(Settings):
    """The learning rate over the run: a factor on the peak, as a function of progress in [0, 1]."""

    kind: Literal["constant", "step", "linear", "cosine", "one-cycle"] = "cosine"
    """Shape after the warm-up; one-cycle rises and falls as a cosine (Smith 2017, 1708.07120)."""
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
    """Equal parts of the run in each of which the factor stays what it was at their start, such as one per epoch; 0 for none."""


class Policy(Settings):
    """Operations drawn at random for each image: shears, rotations, contrast, inversion, ..."""

    kind: Literal["off", "rand-augment", "trivial-augment"] = "off"
    """rand-augment (1909.13719, timm's two increasing operations, each with probability 1/2) or trivial-augment (2103.10158, one)."""
    magnitude: Annotated[float, Field(ge=0, le=10)] = 7.0
    """rand-augment: mean strength, from 0 to 10."""
    deviation: Annotated[float, Field(ge=0)] = 0.5
    """rand-augment: standard deviation of the strength."""


class Augmentation(Settings):
    """Random changes of the training images, made on the batch."""

    crop: ResizedCrop = ResizedCrop()
    """A random part of each image, resized."""
    crop_padding: Count = 0
    """Pixels of padding from which a crop of the original size is cut (He 2015 for CIFAR: 4)."""
    padding_mode: Literal["zeros", "reflect"] = "zeros"
    """What fills the padding."""
    horizontal_flip: Literal["off", "random", "alternate"] | None = None
    """Mirror images: each with probability 1/2, or each in every other epoch, so that no epoch shows one as the epoch before did
    (alternating flip, Jordan 2024, 2404.00498). Unset: random where the data set says that a mirrored image keeps its class."""
    policy: Policy = Policy()
    """Operations drawn at random for each image."""
    colour_jitter: Share = 0.0
    """Brightness, contrast and saturation, each by a factor from 1 - this to 1 + this (fb.resnet.torch: 0.4); 0 for none."""
    lighting: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of a shift along the principal components of ImageNet's colours (Krizhevsky 2012 §4.1: 0.1); 0 for none."""
    erasing: Count = 0
    """Side in pixels of a square that is set to the mean (Cutout, 1708.04552); 0 for none."""
    random_erasing: Share = 0.0
    """Probability that a rectangle of an image is set to the mean (1708.04896); 0 for none."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """alpha of mixup's Beta distribution (1710.09412); 0 for none."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """alpha of cutmix's Beta distribution (1905.04899); 0 for none. With mixup too, each batch takes one of the two."""
    repeats: Positive = 1
    """How often an image comes in its batch, each time in other changes (repeated augmentation, 1901.09335); an epoch then sees only
    1 / repeats of the images."""


class Loss(Settings):
    """What training minimises."""

    name: Literal["cross-entropy", "binary-cross-entropy"] = "cross-entropy"
    """cross-entropy of the softmax, or the mean over classes of each one's own yes or no (2110.00476 §3)."""
    threshold: Annotated[float, Field(ge=0, lt=1)] | None = None
    """binary-cross-entropy: a class whose share of the target is larger is fully present, all others absent; unset: shares as they
    are."""


class Averaging(Settings):
    """An exponential moving average of the weights, which is what is evaluated and saved."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight of the old average at each update; 0 for no average."""
    every: Positive = 1
    """Steps between updates."""
    start: Share = 0.0
    """Progress at which averaging begins."""


class Evaluating(Settings):
    """When the network is evaluated, whatever it is for."""

    every: Count = 1
    """Epochs between evaluations; 0 for only once, at the end."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Precision of the evaluated network; auto as in training."""
    batch_size: Positive = 500
    """Images a batch."""


class Evaluation(Evaluating):
    """When and how a classifier is evaluated."""

    flips: bool = False
    """Average the logits of the image and its mirror image."""
    image_size: Positive | None = None
    """Height and width in pixels that the network sees in evaluation and after the run; unset: as in training (1906.06423)."""
    resize: Positive | None = None
    """Length in pixels of the shorter side, of which evaluation sees the middle square; unset: the whole image, squeezed into one."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How images are resized in evaluation."""


class FineTuning(Settings):
    """Which parts of a network with pretrained weights learn, when, and how fast."""

    freeze: str = "none"
    """Last part that does not learn, after which all before it do not either: none, conv1, conv2_x, ..., or body for all but the
    head. Frozen parts work as in evaluation: running statistics, no dropout."""
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each part as a multiple of that of the part after it, from the head back to conv1; 1 for the same everywhere
    (ULMFiT, 1801.06146 §3.2: 1/2.6)."""
    head_first: Share = 0.0
    """Share of the run in which only the head learns, the rest working as in evaluation (LP-FT, 2202.10054)."""


class EarlyStopping(Settings):
    """An end of the run as soon as evaluations no longer improve; best.safetensors holds the best of them."""

    patience: Count = 0
    """Evaluations in a row without improvement that end the run; 0 for never."""
    metric: Literal["top1", "loss"] = "top1"
    """What has to rise (top1) or fall (loss)."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By more than how much: a share for top1, nats for loss."""


class Distributed(Settings):
    """How several processes train together, where torchrun starts them."""

    synchronized_norm: bool = False
    """Batch norms see the batches of all processes together."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds after which a process that does not answer is given up, so that torchrun can replace it."""
