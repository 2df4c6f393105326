"""The registry of named recipes. Each is a `Recipe`, headed by its proof: source, command, hardware, time and result."""

from __future__ import annotations

import difflib
from typing import Any

from .recipe import Augmentation, Evaluation, Optimizer, Recipe, Schedule

# Dive into Deep Learning's ResNet section on Fashion-MNIST, its loop and network exactly: Adam, 0.001, batch 256, 96 x 96, no
# augmentation, pixels in [0, 1]. Published: 31.0-31.8 s an epoch on its author's GPU; test accuracy 0.885, 0.899, 0.911, 0.916, 0.926
# after epochs 1 to 5. Measured: see results/.
TUTORIAL = Recipe(
    name="fashion-mnist-tutorial",
    network="tutorial-resnet18",
    image_size=96,
    normalize=False,
    epochs=5,
    batch_size=256,
    drop_last=False,
    optimizer=Optimizer(name="adam", learning_rate=0.001, weight_decay=0.0),
    schedule=Schedule(kind="constant"),
    augmentation=Augmentation(horizontal_flip="off"),
)

# The fast one: the tutorial's accuracy in a small share of its time. Two basic units behind a stem of stride 2, so that a picture
# is 14 x 14 from the start; muon and pruning bring it there in few steps. Tuned on a sixth of the training set. Measured: results/.
FASHION_MNIST = Recipe(
    name="fashion-mnist",
    network="cifar-resnet8:blocks=[1,1],stem_width=32,stem_stride=2,width=64,strides=[2,2]",
    epochs=5,
    batch_size=256,
    optimizer=Optimizer(
        name="muon", learning_rate=0.1, momentum=0.85, weight_decay=0.01, decay_norms_and_biases=False, sgd_learning_rate=0.3
    ),
    schedule=Schedule(kind="linear", warmup=0.1),
    augmentation=Augmentation(horizontal_flip="alternate"),
    pruning=0.54,
    label_smoothing=0.1,
    evaluation=Evaluation(every=0, flips=True),
)

# The accurate one: three units, more passes, and crops against learning by heart. Measured: results/.
FASHION_MNIST_ACCURATE = FASHION_MNIST.updated(
    name="fashion-mnist-accurate",
    network="cifar-resnet8:stem_width=32,stem_stride=2,width=32",
    epochs=18,
    augmentation={"crop_padding": 1},
)

DIGITS = Recipe(
    name="digits",
    data="digits",
    network="cifar-resnet8:width=32,stem_width=32",
    epochs=12,
    batch_size=64,
    optimizer=Optimizer(learning_rate=0.1, weight_decay=5e-4),
    schedule=Schedule(kind="linear", warmup=0.2),
    augmentation=Augmentation(crop_padding=1),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (FASHION_MNIST, FASHION_MNIST_ACCURATE, TUTORIAL, DIGITS)}


def get_recipe(name: str, **overrides: Any) -> Recipe:
    """A named recipe, with other values for some of its fields (nested as `optimizer__learning_rate=0.2`).

    Raises:
        ValueError: no such recipe or field; the message names the nearest.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(RECIPES)}."
        raise ValueError(f"there is no recipe named {name!r}; {hint}")
    return RECIPES[name].updated(**overrides) if overrides else RECIPES[name]
