"""The smallest real training run: 1,437 handwritten digits of 8 x 8 pixels, in seconds and without a download."""

from __future__ import annotations

from ...training.settings import Augmentation, Optimizer, Schedule
from ..recipe import Recipe

# Command:   resnets train digits
# Hardware:  any CPU
# Time:      not measured yet
# Result:    not measured yet; `python benchmarks/recipe_accuracy.py digits` writes results/recipe-digits-cpu.json
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
