"""Aggregated Residual Transformations for Deep Neural Networks: Xie, Girshick, Dollár, Tu, He 2016 (1611.05431), §4 and §5.3."""

from __future__ import annotations

from ...data.augmentation.crops import ResizedCrop
from ...training.settings import Augmentation, Evaluation, Optimizer, Schedule
from ..recipe import Recipe

# §5.3: zero padding to 40 x 40, a random crop of 32, flips; 0.1 divided by 10 after 150 and 225 of 300 epochs, weight decay 5e-4.
# Nesterov's momentum is the released code's.
# Command:   resnets train cifar10-resnext --network cifar-resnext29-8x64d       (or cifar-resnext29-16x64d; --data cifar100)
# Hardware:  published: 8 GPUs, not named
# Time:      not published, not measured yet
# Result:    published: 3.65 % test error with 8x64d, 3.58 % with 16x64d; on CIFAR-100 17.77, 17.31 %; means of 10 runs (Table 7).
#            Not measured yet
CIFAR = Recipe(
    name="cifar10-resnext",
    data="cifar10",
    network="cifar-resnext29-8x64d",
    epochs=300,
    batch_size=128,
    optimizer=Optimizer(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    schedule=Schedule(kind="step", milestones=(150 / 300, 225 / 300), gamma=0.1),
    augmentation=Augmentation(crop_padding=4, horizontal_flip="random"),
    evaluation=Evaluation(every=10),
    precision="fp32",
)

# §4, which follows fb.resnet.torch: parts of random area and ratio, colour jitter, lighting, flips; 0.1 divided by 10 three times.
# Command:   resnets train imagenet-resnext --data-folder FOLDER --network resnext50-32x4d
# Hardware:  published: 8 GPUs, not named
# Time:      not published, not measured yet
# Result:    published: 22.2 % top-1 error, one crop of 224 out of a shorter side of 256 (Table 3). Not measured yet
# Different: the released code divides every 30 epochs and runs 100, which is how the paper's three divisions are read here.
IMAGENET = Recipe(
    name="imagenet-resnext",
    data="imagenet",
    network="resnext50-32x4d",
    image_size=224,
    epochs=100,
    batch_size=256,
    optimizer=Optimizer(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
    schedule=Schedule(kind="step", milestones=(30 / 100, 60 / 100, 90 / 100), gamma=0.1),
    augmentation=Augmentation(
        crop=ResizedCrop(kind="area", area=(0.08, 1.0)),
        horizontal_flip="random",
        colour_jitter=0.4,
        lighting=0.1,
    ),
    evaluation=Evaluation(resize=256),
    precision="fp32",
)
