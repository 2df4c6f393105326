"""Deep Residual Learning for Image Recognition: He, Zhang, Ren, Sun 2015 (1512.03385), §3.4 for ImageNet and §4.2 for CIFAR-10."""

from __future__ import annotations

from ...data.augmentation.crops import ResizedCrop
from ...training.settings import Augmentation, Evaluation, Optimizer, Schedule
from ..recipe import Recipe

_SGD = Optimizer(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=1e-4)
_ITERATIONS = 64_000

# §4.2: the mean of each pixel subtracted, 4 pixels of padding on each side and a random crop of it or of its mirror image, batch 128,
# 0.1 divided by 10 at 32k and 48k iterations, an end at 64k. That schedule was chosen on 45k/5k images (--holdout 0.1); Table 6
# trains on all 50k.
# Command:   resnets train cifar10-he2015 --network cifar-resnet20       (or 32, 44, 56)
# Hardware:  published: 2 GPUs, not named
# Time:      not published, not measured yet
# Result:    published: 8.75, 7.51, 7.17, 6.97 % test error with 20, 32, 44, 56 layers (Table 6). Not measured yet
# Different: here the last 80 images of each epoch's random order are left out, so that every batch has 128.
CIFAR = Recipe(
    name="cifar10-he2015",
    data="cifar10",
    network="cifar-resnet20",
    pixel_mean=True,
    epochs=183,  # of 45k images; 165 of 50k suffice for the iterations, which decide
    max_steps=_ITERATIONS,
    batch_size=128,
    optimizer=_SGD,
    schedule=Schedule(kind="step", milestones=(32_000 / _ITERATIONS, 48_000 / _ITERATIONS), gamma=0.1),
    augmentation=Augmentation(crop_padding=4, horizontal_flip="random"),
    evaluation=Evaluation(every=10),
    precision="fp32",
)

# 110 layers do not begin to learn at 0.1: 0.01 until the training error is below 80 %, "about 400 iterations", then as above. The
# paper's condition is that error; its number of iterations stands for it here.
# Command:   resnets train cifar10-he2015-110
# Hardware:  published: 2 GPUs, not named
# Time:      not published, not measured yet
# Result:    published: 6.43 % test error, the best of 5 runs; 6.61 ± 0.16 % their mean (Table 6). Not measured yet
CIFAR_110 = CIFAR.updated(
    name="cifar10-he2015-110",
    network="cifar-resnet110",
    schedule={"warmup": 400 / _ITERATIONS, "warmup_shape": "constant", "warmup_factor": 0.1},
)

# §3.4: shorter side in [256, 480], a 224 x 224 crop of it or of its mirror image, colour augmentation as Krizhevsky 2012, batch 256.
# Command:   resnets train imagenet-he2015 --data-folder FOLDER --network resnet50-v1       (or 101, 152; resnet34, resnet18)
# Hardware:  published: 8 GPUs, not named (1603.05027 §5 names as many)
# Time:      not published, not measured yet
# Result:    published: 22.85, 21.75, 21.43 % top-1 error with 50, 101, 152 layers, 10 crops (Table 3); 24.7, 23.6, 23.0 % with one
#            crop of 224 out of a shorter side of 256, which is what evaluation sees here (the authors' released networks, README of
#            KaimingHe/deep-residual-networks). Not measured yet
# Different: the paper divides by 10 "when the error plateaus", up to 60 * 10^4 iterations; here at a quarter, a half and three
#            quarters of them. It subtracts a mean for each pixel, here for each channel, whose standard deviation divides too.
IMAGENET = Recipe(
    name="imagenet-he2015",
    data="imagenet",
    network="resnet50-v1",
    image_size=224,
    epochs=120,
    max_steps=600_000,
    batch_size=256,
    optimizer=_SGD,
    schedule=Schedule(kind="step", milestones=(0.25, 0.5, 0.75), gamma=0.1),
    augmentation=Augmentation(
        crop=ResizedCrop(kind="shorter-side", shorter_side=(256, 480)), horizontal_flip="random", lighting=0.1
    ),
    evaluation=Evaluation(resize=256),
    precision="fp32",
)
