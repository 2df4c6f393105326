"""`Recipe`: a classifier's whole training run as data. Frozen, validated, stored as YAML; importing it loads no torch.

Every field is an option of `resnets train` (`--optimizer.learning-rate 0.2`), and its docstring is the option's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..core.errors import UserError
from ..networks.zoo import get_spec
from ..training.base_recipe import RunRecipe, read_run_recipe
from ..training.settings import Augmentation, EarlyStopping, Evaluation, FineTuning, Loss, Positive

OF_THE_WEIGHTS = "weights"
"""The network of a recipe whose weights bring it."""


def brings_network(weights: str) -> bool:
    """Whether what `--weights` names says its own network; a label of the catalogue, such as imagenet1k-v2, needs one beside it."""
    return any(letter in weights for letter in "/\\.") or Path(weights).expanduser().exists()


class Recipe(RunRecipe):
    """A training run: what is trained on what, how, where, and where the result goes."""

    command: ClassVar[str] = "train"

    data: str = "fashion-mnist"
    """A name that `resnets data list` shows; or your own images: a folder (train/CLASS and val/CLASS, or CLASS alone), a CSV of
    path,label[,split], .tar or .parquet shards, or hf:OWNER/NAME."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training set that is kept out, with the same share of every class, and evaluated on instead of the test set."""
    exclude: Path | None = None
    """List of your own images to leave out: a name a line, or the table that `resnets data check` writes."""
    loading: Literal["auto", "memory", "disk", "stream"] = "auto"
    """How your own images are decoded: once, kept as pixels in memory or on disk, or each time they come; auto: the first of these
    for which there is room."""
    cache_folder: Path | None = None
    """Where decoded pixels are on disk; unset: below the folder of data sets."""
    network: str = "resnet18"
    """Network, by name; fields of its spec may follow: cifar-resnet20:width=32,shortcut=B. weights: the one that --weights are of."""
    weights: str | None = None
    """Pretrained weights to start from: a model file or run, a file of another package, a name such as resnet50/imagenet1k-v2 or
    timm/NAME; unset: fresh ones. Where --network is not stated beside them, they bring theirs."""
    bn: Literal["train", "stats-frozen", "frozen", "recalibrate", "group"] = "train"
    """Batch norms: train; stats-frozen (running statistics of the weights used and kept, scale and shift learn); frozen (these too stay);
    recalibrate (train, and estimate the statistics anew at the end, on training images); group (group norms in their place)."""
    fine_tuning: FineTuning = FineTuning()
    """Which parts learn, when, and how fast."""
    image_size: Positive | None = None
    """Height and width in pixels that the network sees; unset: the data set's own."""
    normalize: bool = True
    """Shift and scale pixels by the training set's mean and standard deviation; if not, they are in [0, 1]."""
    pixel_mean: bool = False
    """Shift every pixel by its own mean over the training set instead, and scale nothing (He 2015 §4.2)."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """Order of the training images: each once per epoch, or drawn with replacement so that every class comes up equally often."""
    class_weights: Literal["none", "balanced"] = "none"
    """How much an image's loss counts: all alike, or in inverse proportion to its class's images, with a mean of 1 over the data."""
    augmentation: Augmentation = Augmentation()
    """Random changes of the training images."""
    pruning: Annotated[float, Field(ge=0, le=0.75)] = 0.0
    """Share of the images that each epoch but the first leaves out, drawn from those with small losses, whose other members then
    count more (InfoBatch, 2303.04947); 0 for none."""
    loss: Loss = Loss()
    """What training minimises."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target spread over all classes (1512.00567 §7)."""
    evaluation: Evaluation = Evaluation()
    """When and how the network is evaluated."""
    early_stopping: EarlyStopping = EarlyStopping()
    """An end of the run before its last step."""
    compile: bool = False
    """Compile the network with torch.compile."""
    cuda_graphs: bool = False
    """Replay the network's kernels as CUDA graphs (NVIDIA GPUs only)."""
    fused_norms: bool = False
    """Compute batch norms together with the ReLU or the sum after them, by Triton kernels (NVIDIA GPUs only)."""

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        if name != OF_THE_WEIGHTS:
            get_spec(name)
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.pruning and (self.augmentation.mixup or self.augmentation.cutmix):
            raise UserError("pruning goes by each image's own loss, which mixup and cutmix blend; use one or the other")
        if self.network == OF_THE_WEIGHTS and self.weights is None:
            raise UserError("network='weights' is the network that --weights are of, but there are none; name a network or weights")
        if self.pruning and self.sampling == "balanced":
            raise UserError("pruning needs each image once per epoch, which balanced sampling does not give; use one or the other")
        if self.sampling == "balanced" and self.class_weights == "balanced":
            raise UserError(
                "sampling and class_weights both make rare classes count as much as frequent ones, together they count more; choose one"
            )
        if self.early_stopping.patience and not self.evaluation.every:
            raise UserError("early_stopping counts evaluations, but evaluation.every is 0; set it to 1 for one per epoch")
        if self.pixel_mean and not self.normalize:
            raise UserError("pixel_mean is a way to normalize, which is off; use one or the other")
        if self.pixel_mean and self.evaluation.image_size not in (None, self.image_size):
            raise UserError("pixel_mean has one mean for each pixel and fits one size only; leave evaluation.image_size unset")
        if self.loss.threshold is not None and self.loss.name != "binary-cross-entropy":
            raise UserError("loss.threshold is for binary-cross-entropy; set loss.name to it, or leave the threshold unset")
        if self.fused_norms and self.compile:
            raise UserError("compile makes kernels for the norms itself; use it or fused_norms")
        if self.fused_norms and self.distributed.synchronized_norm:
            raise UserError("fused_norms takes the statistics of each process's own images; use one or the other")
        if self.augmentation.repeats > 1 and (self.pruning or self.sampling != "uniform"):
            raise UserError("augmentation.repeats sets the order of the images, as pruning and sampling do; use one of them")
        return self

    def updated(self, **overrides: Any) -> Self:
        """As `RunRecipe.updated`; weights without a network bring their own."""
        if overrides.get("weights") is not None and brings_network(str(overrides["weights"])):
            overrides = {"network": OF_THE_WEIGHTS, **overrides}
        return super().updated(**overrides)

    def begun_from(self, model: Path) -> Self:
        """As `RunRecipe.begun_from`; the network stays the recipe's."""
        return self.updated(weights=str(model), network=self.network)


def read_recipe(path: Path) -> Recipe:
    """The classifier's recipe in a YAML file; raises as `read_run_recipe` does."""
    return read_run_recipe(path, Recipe)
