"""ResNet strikes back: An improved training procedure in timm: Wightman, Touvron, Jégou 2021 (2110.00476), Table 2: A1, A2, A3.

LAMB, binary cross-entropy with a blended image's classes both present, mixup or cutmix for every batch, RandAugment, a cosine.

Different in all three: timm's cosine spans the whole run and its warm-up replaces the first 5 epochs of it, ours begins after them
(at most 0.6 % of the learning rate, in A3). It draws bilinear or bicubic sampling for each training image, where these are
bilinear, and its stochastic depth keeps every part of the first unit. The threshold of 0.2 on the targets is that of timm's own
settings, not of the paper's text, which says only that both classes are present.
"""

from __future__ import annotations

from ...data.augmentation.crops import ResizedCrop
from ...training.settings import Augmentation, Evaluation, Loss, Optimizer, Policy, Schedule
from ..recipe import Recipe

_WARMUP_EPOCHS = 5


def _warmup(epochs: int, learning_rate: float) -> Schedule:
    """A rise from 1e-4 in 5 epochs, a cosine to 1e-6, each epoch at one rate."""
    return Schedule(
        kind="cosine",
        warmup=_WARMUP_EPOCHS / epochs,
        warmup_factor=1e-4 / learning_rate,
        final=1e-6 / learning_rate,
        stairs=epochs,
    )


# Command:   resnets train imagenet-a2 --data-folder FOLDER
# Hardware:  published: 4 V100 of 32 GB
# Time:      not measured yet
# Result:    published: 79.8 % top-1 accuracy, resnet50, at 224 (Table 2). Not measured yet
A2 = Recipe(
    name="imagenet-a2",
    data="imagenet",
    network="resnet50:zero_init_residual=true,stochastic_depth=0.05",
    image_size=224,
    epochs=300,
    batch_size=2048,
    optimizer=Optimizer(name="lamb", learning_rate=5e-3, epsilon=1e-6, weight_decay=0.02, decay_norms_and_biases=False),
    schedule=_warmup(300, 5e-3),
    augmentation=Augmentation(
        crop=ResizedCrop(kind="area", area=(0.08, 1.0)),
        horizontal_flip="random",
        policy=Policy(kind="rand-augment", magnitude=7, deviation=0.5),
        mixup=0.1,
        cutmix=1.0,
        repeats=3,
    ),
    loss=Loss(name="binary-cross-entropy", threshold=0.2),
    evaluation=Evaluation(resize=235, interpolation="bicubic"),  # 224 / 0.95, cut to whole pixels
)

# The longest: weaker decay, more mixup, smoothed labels (which a threshold of 0.2 makes whole again, as in timm).
# Command:   resnets train imagenet-a1 --data-folder FOLDER
# Hardware:  published: 4 V100 of 32 GB
# Time:      published: 4.6 days (§3). Not measured yet
# Result:    published: 80.4 % top-1 accuracy, resnet50, at 224 (abstract and Table 2). Not measured yet
A1 = A2.updated(
    name="imagenet-a1",
    epochs=600,
    optimizer={"weight_decay": 0.01},
    schedule=_warmup(600, 5e-3).model_dump(),
    augmentation={"mixup": 0.2},
    label_smoothing=0.1,
)

# The shortest: 160 x 160 pixels in training, 224 in evaluation; neither stochastic depth nor repeated augmentation.
# Command:   resnets train imagenet-a3 --data-folder FOLDER
# Hardware:  published: 4 V100 of 32 GB
# Time:      not measured yet
# Result:    published: 78.1 % top-1 accuracy, resnet50, at 224 (Table 2). Not measured yet
A3 = A2.updated(
    name="imagenet-a3",
    network="resnet50:zero_init_residual=true",
    image_size=160,
    epochs=100,
    optimizer={"learning_rate": 8e-3},
    schedule=_warmup(100, 8e-3).model_dump(),
    augmentation={"policy": Policy(kind="rand-augment", magnitude=6, deviation=0.5).model_dump(), "repeats": 1},
    evaluation={"image_size": 224},
)
