"""How the papers trained, and recipes made from it. Fields that a paper does not state are left unset."""

from __future__ import annotations

from typing import Any

from ..experiment import Setting

HE2015_CIFAR = Setting(
    data="CIFAR-10",
    training_pictures=50_000,
    resolution=32,
    crops=4,
    mirroring="random",
    optimizer="SGD with momentum 0.9",
    learning_rate=0.1,
    schedule="times 0.1 at 0.5 and 0.75 of the run",
    warmup="none",
    weight_decay=1e-4,
    batch=128,
    steps=64_000,
)
"""He 2015 §4.2: 0.1, divided by 10 at 32k and 48k of 64k iterations (only ResNet-110 was warmed up)."""

HE2016_CIFAR = HE2015_CIFAR.model_copy(update={"warmup": "0.01 for the first 400 steps", "seeds": 5})
"""He 2016, appendix: as He 2015, with 0.01 for the first 400 iterations of every network; medians of 5 runs."""

HE2015_IMAGENET = Setting(
    data="ImageNet-1k",
    training_pictures=1_281_167,
    resolution=224,
    mirroring="random",
    optimizer="SGD with momentum 0.9",
    learning_rate=0.1,
    schedule="times 0.1 when the error plateaus",
    warmup="none",
    weight_decay=1e-4,
    batch=256,
    steps=600_000,
)
"""He 2015 §3.4; scale and colour augmentation."""

WRN_CIFAR = HE2015_CIFAR.model_copy(
    update={
        "optimizer": "SGD with Nesterov momentum 0.9",
        "schedule": "times 0.2 at 0.3, 0.6 and 0.8 of the run",
        "weight_decay": 5e-4,
        "steps": 78_000,
        "seeds": 5,
    }
)
"""Zagoruyko 2016 §3: 200 epochs, x 0.2 after epochs 60, 120 and 160."""

RESNEXT_IMAGENET = HE2015_IMAGENET.model_copy(
    update={"schedule": "times 0.1 three times", "steps": 450_000, "warmup": None}
)  # fmt: skip
"""Xie 2016 §5.1, with the schedule of fb.resnet.torch: 90 epochs of 5,004 steps."""

INCEPTION_IMAGENET = Setting(
    data="ImageNet-1k",
    training_pictures=1_281_167,
    resolution=299,
    optimizer="RMSProp with decay 0.9, epsilon 1.0, on 20 replicas",
    learning_rate=0.045,
    schedule="times 0.94 every two epochs",
)
"""Szegedy 2016 §4."""

HE_RECIPE: dict[str, Any] = {
    "optimizer__name": "sgd",
    "optimizer__learning_rate": 0.1,
    "optimizer__momentum": 0.9,
    "optimizer__nesterov": False,
    "optimizer__weight_decay": 1e-4,
    "schedule__kind": "step",
    "schedule__milestones": (0.5, 0.75),
    "schedule__gamma": 0.1,
    "batch_size": 128,
}
"""He's SGD with his schedule as shares of the run, whatever its length."""

WARMED_UP: dict[str, Any] = {
    **HE_RECIPE,
    "schedule__warmup": 0.05,
    "schedule__warmup_shape": "constant",
    "schedule__warmup_factor": 0.1,
}
"""The same with He 2016's warm-up, a tenth of the learning rate, for a twentieth of the run."""

NO_AUGMENTATION: dict[str, Any] = {"augmentation__horizontal_flip": "off"}
"""Of short runs, which see each image only a few times."""

SHORT_RUN: dict[str, Any] = {
    **NO_AUGMENTATION,
    "schedule__kind": "linear",
    "schedule__warmup": 0.1,
    "schedule__warmup_shape": "rise",
    "schedule__warmup_factor": 0.0,
}
"""Of runs of one to two thousand steps: a learning rate that rises over the first tenth and then falls evenly. With He's steps a residual
network of 56 layers has the training error of one with 8 after 1,500 steps (9.4 %), since half of the run passes at the full rate; so it
has 7.2 % against 8.8 % (Fashion-MNIST, width 8, one seed)."""

CROPS: dict[str, Any] = {"augmentation__crop_padding": 4}
"""Crops with 4 pixels of padding, and mirroring where the data set allows it."""

SMALL = "stem_stride=2"
"""The first stage at half the image's size: a quarter of the cost."""

NARROW = f"{SMALL},width=8,stem_width=8"
"""Half the width too: so small that a shallow network comes to the end of what it can learn within a short run."""
