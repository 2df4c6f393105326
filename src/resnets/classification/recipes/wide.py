"""Wide Residual Networks: Zagoruyko and Komodakis 2016 (1605.07146), §3."""

from __future__ import annotations

from ...training.settings import Augmentation, Evaluation, Optimizer, Schedule
from ..recipe import Recipe

_EPOCHS = 200

# Mean and standard deviation of each channel, a crop out of 4 reflected pixels on each side, flips; 0.1 times 0.2 after 60, 120 and
# 160 epochs; weight decay 5e-4, Nesterov's momentum.
# Command:   resnets train cifar10-wrn --network wrn-28-10       (or wrn-40-4; wrn-28-10:dropout=0.3; --data cifar100)
# Hardware:  not published for the results, not measured yet
# Time:      not published, not measured yet
# Result:    published: 4.00 % test error for 28-10, 3.89 % with dropout, 4.53 % for 40-4; on CIFAR-100 19.25, 18.85, 21.18 %; medians
#            of 5 runs (Tables 5 and 6). Not measured yet
CIFAR = Recipe(
    name="cifar10-wrn",
    data="cifar10",
    network="wrn-28-10",
    epochs=_EPOCHS,
    batch_size=128,
    optimizer=Optimizer(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    schedule=Schedule(kind="step", milestones=(60 / _EPOCHS, 120 / _EPOCHS, 160 / _EPOCHS), gamma=0.2),
    augmentation=Augmentation(crop_padding=4, padding_mode="reflect", horizontal_flip="random"),
    evaluation=Evaluation(every=10),
    precision="fp32",
)
