"""torchvision's second recipe, that of its IMAGENET1K_V2 weights: V. Vryniotis 2021, "How to train state-of-the-art models using
TorchVision's latest primitives", and references/classification/train.py of pytorch/vision."""

from __future__ import annotations

from ...data.augmentation.crops import ResizedCrop
from ...training.settings import Augmentation, Averaging, Evaluation, Optimizer, Policy, Schedule
from ..recipe import Recipe

_EPOCHS, _WARMUP_EPOCHS = 600, 5
_BATCH = 8 * 128
_AVERAGE_EVERY = 32
_AVERAGE_RATE = (1 - 0.99998) * _BATCH * _AVERAGE_EVERY / _EPOCHS
"""The reference states a decay of 0.99998 and multiplies what is left of 1 by batch x steps / epochs: 0.99891 an update of 32 steps."""

# Command:   resnets train imagenet-torchvision-v2 --data-folder FOLDER
# Hardware:  published: 8 GPUs with 128 images each, not named
# Time:      not published, not measured yet
# Result:    published: 80.858 % top-1 accuracy, resnet50 (torchvision's weight metadata). Not measured yet
# Different: the reference's batch norms see the 128 images of one GPU: so they do here on 8 processes, on fewer they see more. It
#            decays the classifier's bias, which is left alone here with the norms.
IMAGENET = Recipe(
    name="imagenet-torchvision-v2",
    data="imagenet",
    network="resnet50",
    image_size=176,
    epochs=_EPOCHS,
    batch_size=_BATCH,
    optimizer=Optimizer(learning_rate=0.5, momentum=0.9, nesterov=False, weight_decay=2e-5, decay_norms_and_biases=False),
    schedule=Schedule(kind="cosine", warmup=_WARMUP_EPOCHS / _EPOCHS, warmup_factor=0.01, stairs=_EPOCHS),
    augmentation=Augmentation(
        crop=ResizedCrop(kind="area", area=(0.08, 1.0)),
        horizontal_flip="random",
        policy=Policy(kind="trivial-augment"),
        random_erasing=0.1,
        mixup=0.2,
        cutmix=1.0,
        repeats=4,
    ),
    label_smoothing=0.1,
    averaging=Averaging(decay=1 - _AVERAGE_RATE, every=_AVERAGE_EVERY, start=_WARMUP_EPOCHS / _EPOCHS),
    evaluation=Evaluation(image_size=224, resize=232),
    precision="fp32",
)
