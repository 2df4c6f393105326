"""Dive into Deep Learning's ResNet section on Fashion-MNIST: its network and its loop, exactly.

Adam, 0.001, batch 256, 96 x 96 pixels in [0, 1], no augmentation, the last and smaller batch of an epoch too.
"""

from __future__ import annotations

from ...training.settings import Augmentation, Optimizer, Schedule
from ..recipe import Recipe

# Command:   resnets train fashion-mnist-tutorial
# Hardware:  published: its author's GPU, not named. Measured: 2 cores of an AMD EPYC
# Time:      published: 31.0 to 31.8 s per epoch. Measured: 2.38 times the images/s of its own loop (results/training-cpu.json)
# Result:    published: test accuracy 0.885, 0.899, 0.911, 0.916, 0.926 after epochs 1 to 5 (the section's printed output)
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
