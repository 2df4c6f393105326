"""The recipe for a user's own images, where the user says nothing: chosen from the data and the machine, each choice with its reason.

Pure arithmetic over what is known: the same data on the same kind of machine gives the same recipe. Importing this module loads no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..data.doctor.probe import mirrored_keeps_class
from ..networks.zoo import get_spec
from ..training.choices import Choices, Reason
from .recipe import OF_THE_WEIGHTS, Recipe, brings_network

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
RGB_STATISTICS: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's training images, in [0, 1] units: those of photographs in general, near enough for a
network that normalises its own maps, and the same on every machine."""
GREY_STATISTICS: Statistics = (0.458,), (0.225,)
"""The same of grey: the mean of the three."""
WEIGHTS, FINE_TUNED = "imagenet1k-v1", "resnet18"
"""What a run on photographs begins with, where it can be had."""
HOLDOUT = 0.2

_TINY, _SMALL = 40, 80
"""Shorter sides in pixels up to which images are tiny (seen at 32) or small (at 64); CIFAR's 32 and Tiny ImageNet's 64 are included."""
_GROUP = 128
"""Largest batch on a CPU, where larger ones are no faster; on a GPU twice as many."""


@dataclass(frozen=True)
class DataDescription:
    """What the choice depends on, of the data."""

    name: str
    data: str
    """What the recipe's `data` is to be."""
    classes: tuple[str, ...]
    num_training: int
    """Those to be held out included, where there is nothing else to evaluate on."""
    to_be_split: bool
    """Whether some have to be held out."""
    short_side: int
    """Median, in pixels."""
    grey: bool


@dataclass(frozen=True)
class Machine:
    """What the choice depends on, of the machine."""

    device: str
    """Its kind: cpu, cuda, mps."""
    cores: int
    memory: int
    """Bytes that training may take, on the device."""
    bf16: bool
    """Whether the device computes in bfloat16 without emulation."""


def image_size(short_side: int) -> tuple[int, str]:
    """Height and width that a network sees of images with that shorter side, where nobody chose, and why."""
    if short_side <= _TINY:
        return 32, f"the images are tiny (the shorter side is {short_side} pixels)"
    if short_side <= _SMALL:
        return 64, f"the images are small (the shorter side is {short_side} pixels)"
    return 224, f"photographs (the shorter side is {short_side} pixels) are seen as ImageNet's are"


def wants_weights(description: DataDescription) -> bool:
    """Whether pretrained weights would be used: on photographs, for tiny images are too unlike what they were trained on."""
    return description.short_side > _SMALL


def recipe_for(
    description: DataDescription, machine: Machine, weights: tuple[str | None, str], given: Mapping[str, Any] | None = None
) -> tuple[Recipe, tuple[Reason, ...]]:
    """The recipe, and the reasons of its choices.

    Args:
        description, machine: as they say.
        weights: those to begin with where the user named none, or None for fresh ones, and why.
        given: the user's own values by dotted name; everything else follows from them.

    Raises:
        ValueError: the user's values do not fit, or not together.
    """
    choices = Choices({} if given is None else given)
    choose = choices.choose
    if description.to_be_split:
        held = round(HOLDOUT * description.num_training)
        choose("holdout", HOLDOUT, f"nothing is set apart for evaluation: {held:,} images are kept out, of each class its share")
    count = description.num_training - round(choices.get("holdout", 0.0) * description.num_training)
    start = choices.get("weights", weights[0])
    fine_tuned = start is not None
    network = _choose_network(choices, description, machine, count, weights)
    if fine_tuned:
        choose("weights", start, weights[1])
    size = choose("image_size", *_size(description, machine, fine_tuned))
    epochs = choose("epochs", *_epochs(count, fine_tuned, machine))
    batch_size = choose("batch_size", *_batch_size(count, network, size, machine))
    _choose_optimizer(choices, batch_size, fine_tuned)
    _choose_transforms(choices, description, size)
    choose("evaluation.every", max(1, epochs // 10), "about ten evaluations in a run")
    choose("evaluation.batch_size", max(64, min(256, batch_size * 2)), "evaluation keeps no maps for gradients")
    low = machine.bf16 and (machine.device != "cpu" or fine_tuned)
    choose("precision", "bf16" if low else "fp32", _precision_reason(machine, low))
    return choices.recipe(Recipe(name=safe_name(description.name), data=description.data)), tuple(choices.reasons)


def safe_name(name: str) -> str:
    """A name that can be one of a folder: runs/NAME-1."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "images"


def _size(description: DataDescription, machine: Machine, fine_tuned: bool) -> tuple[int, str]:
    size, why = image_size(description.short_side)
    if size < 224 or machine.device != "cpu":
        return size, why
    if fine_tuned:
        return 160, f"{why}, but smaller, which takes a CPU half the time and costs little accuracy"
    return (
        96,
        f"photographs (the shorter side is {description.short_side} pixels), seen small, so that a CPU learns from fresh weights in minutes",
    )


def _choose_network(
    choices: Choices, description: DataDescription, machine: Machine, count: int, weights: tuple[str | None, str]
) -> str:
    """Chooses the network; the name of one whose cost is known, to go on with."""
    start = choices.get("weights", weights[0])
    if start is None:
        network, because = _network(description, machine, count, weights[1])
    elif brings_network(str(start)):
        network, because = OF_THE_WEIGHTS, "the weights bring it"
    else:
        network, because = FINE_TUNED, "the usual one"
    chosen = str(choices.choose("network", network, because))
    return FINE_TUNED if chosen == OF_THE_WEIGHTS else chosen


def _network(description: DataDescription, machine: Machine, count: int, no_weights: str) -> tuple[str, str]:
    photographs = wants_weights(description)
    unaided = f"fresh weights ({no_weights})" if photographs else "fresh weights, for tiny images are unlike those of ImageNet"
    if machine.device != "cpu" and count >= 20_000:
        if photographs:
            return "resnet50", f"{unaided}; {count:,} images on a GPU can teach a large network"
        return "wrn-16-4", f"{unaided}; {count:,} images on a GPU can teach a wide network"
    if photographs:
        if machine.device != "cpu":
            return "resnet18", f"{unaided}; {count:,} images on a GPU"
        return "resnet18:width=32,stem_width=32", f"{unaided}; of half the usual width, which suits {count:,} images on a CPU"
    stride = ",stem_stride=2" if description.short_side > _TINY else ""
    return f"cifar-resnet8:width=32,stem_width=32{stride}", f"{unaided}; a small network suits {count:,} tiny images"


def _epochs(count: int, fine_tuned: bool, machine: Machine) -> tuple[int, str]:
    """Few images have to be seen more often, but each less often than in proportion."""
    seen = (2_000 if fine_tuned else 5_000) * (max(count, 1) / 100) ** 0.55
    fewest, most = (3, 60) if fine_tuned else (10, 120)
    epochs = max(fewest, min(most, round(seen / max(count, 1))))
    if machine.device != "cpu":
        epochs = min(most, 2 * epochs)
    return epochs, f"{count:,} images, each of them shown {epochs} times in other crops"


def _batch_size(count: int, network: str, size: int, machine: Machine) -> tuple[int, str]:
    largest = _GROUP if machine.device == "cpu" else 2 * _GROUP
    wanted = largest
    while wanted > 8 and wanted * 6 > count:
        wanted //= 2
    wanted = max(2, min(wanted, count))
    fits = wanted
    each = _training_bytes(network, size)
    while fits > 2 and fits * each > machine.memory / 2:
        fits //= 2
    took = f"training takes about {fits * each / 1e9:.1f} GB of {machine.memory / 1e9:.0f}"
    if fits < wanted:
        return fits, f"the largest for which there is memory ({took})"
    if wanted == largest:
        return fits, f"as many as the {'CPU' if machine.device == 'cpu' else 'GPU'} has use for ({took})"
    return fits, f"so that an epoch has at least {count // fits} steps ({took})"


def _training_bytes(network: str, size: int) -> int:
    """Of one image: what training keeps for the gradients, and as much again while they are computed."""
    from ..inspection.memory import activation_bytes

    return 2 * sum(activation_bytes(get_spec(network), size).values())


RATES = {"sgd": (0.05, 0.01), "adam": (1e-3, 1e-4), "adamw": (1e-3, 1e-4), "lamb": (4e-3, 1e-3), "muon": (0.05, 0.01)}
"""By optimizer: peak learning rates for fresh and for pretrained weights, at a batch of 16."""
_DECAYS = {"adamw": 0.05, "lamb": 0.02, "muon": 0.01}
"""Weight decay of the optimizers that decouple it from the gradient; the others get 5e-4, or 1e-4 for pretrained weights."""


def _choose_optimizer(choices: Choices, batch_size: int, fine_tuned: bool) -> None:
    choose, name = choices.choose, choices.get("optimizer.name", "sgd")
    rate = RATES[name][fine_tuned] * (batch_size / 16) ** 0.5
    what = "small, for the weights are good already" if fine_tuned else "for fresh weights"
    choose("optimizer.learning_rate", float(f"{rate:.3g}"), f"{what}; by the square root of the batch of {batch_size}")
    choose("optimizer.weight_decay", _DECAYS.get(name, 1e-4 if fine_tuned else 5e-4), "against overfitting")
    kind = choose("schedule.kind", "cosine", "falls to nothing by the end, so that no milestones have to be known")
    if kind != "constant":
        choose("schedule.warmup", 0.3 if kind == "one-cycle" else 0.1, "the learning rate rises to its peak")
    choose("label_smoothing", 0.1, "against overconfidence")
    if fine_tuned:
        choose("fine_tuning.head_first", 0.1, "the fresh head learns alone at first, so that it spoils no weights")


def _choose_transforms(choices: Choices, description: DataDescription, size: int) -> None:
    choose = choices.choose
    keeps, why = mirrored_keeps_class(description.classes)
    choose("augmentation.horizontal_flip", "random" if keeps else "off", why)
    if choose("augmentation.crop.kind", "area", "a part of each image, resized") == "area":
        choose("augmentation.crop.area", (0.35, 1.0), "at least a third of the image, so that what it shows is in sight")
    seen = choices.get("evaluation.image_size") or size
    if seen > 64:
        choose("evaluation.resize", round(seen / 0.875), "evaluation sees the middle, as ImageNet's networks do")
    else:
        choose("evaluation.resize", seen, "evaluation sees the whole of a square image")


def _precision_reason(machine: Machine, low: bool) -> str:
    if low:
        return f"this {'CPU' if machine.device == 'cpu' else 'device'} computes it natively"
    return "so small a network gains nothing from bf16" if machine.bf16 else "this machine has no fast bf16"
