"""The named recipes of detectors, each headed by its proof. Importing this loads no torch.

A result is either measured, with the record in results/, or published, with its source.
"""

from __future__ import annotations

from ..training.settings import Evaluating, Optimizer, Schedule
from .recipe import DetectionRecipe

# Source:    He 2015, Appendix A; Ren 2015 §3.2 (approximate joint training), scaled down to two CPU cores
# Command:   resnets detect train fashion-scenes-c4
# Record:    results/fashion-scenes-c4-cpu.json
FASHION_SCENES_C4 = DetectionRecipe(
    name="fashion-scenes-c4",
    data="fashion-scenes",
    detector="cifar-resnet20-c4",
    batch_size=8,
    epochs=10,
    optimizer=Optimizer(learning_rate=0.02, nesterov=False),
    schedule=Schedule(kind="cosine", warmup=0.05),
    evaluation=Evaluating(every=0, batch_size=8),
    precision="fp32",
)

# Source:    He 2015, Appendix A and Table 7 (VOC 07+12, ResNet-101: mAP 76.4 % on the test of 2007); Ren 2015 §3.3: 80k steps of one
#            picture (here 2), 0.001, times 0.1 behind 60k, momentum 0.9, weight decay 0.0005, trained from ImageNet's weights
# Result:    not run here: neither VOC nor ImageNet's weights were at hand
VOC_RESNET101_C4 = DetectionRecipe(
    name="voc-resnet101-c4",
    data="voc0712",
    detector="resnet101-c4",
    batch_size=2,
    epochs=100,
    max_steps=90_000,
    optimizer=Optimizer(learning_rate=0.001, nesterov=False, weight_decay=5e-4),
    schedule=Schedule(kind="step", milestones=(2 / 3,), warmup=0.005),
)

# Source:    He 2015, Appendix A and Table 8 (COCO, ResNet-101: AP@0.5 48.4 %, AP@[.5:.95] 27.2 %): 240k steps of 8 pictures at 0.001,
#            then 80k at 0.0001
# Result:    not run here: COCO was not at hand
COCO_RESNET101_C4 = DetectionRecipe(
    name="coco-resnet101-c4",
    data="coco",
    detector="resnet101-c4-coco",
    batch_size=8,
    epochs=100,
    max_steps=320_000,
    optimizer=Optimizer(learning_rate=0.001, nesterov=False, weight_decay=1e-4),
    schedule=Schedule(kind="step", milestones=(0.75,), warmup=0.002),
)

# Source:    torchvision's reference for fasterrcnn_resnet50_fpn (COCO val2017: AP 37.0 %): 26 epochs of 8 x 2 pictures at 0.02,
#            times 0.1 behind epochs 16 and 22, warmed up for 1,000 steps
# Result:    not run here: COCO was not at hand
COCO_RESNET50_FPN = DetectionRecipe(
    name="coco-resnet50-fpn",
    data="coco",
    detector="resnet50-fpn",
    batch_size=16,
    epochs=26,
    optimizer=Optimizer(learning_rate=0.02, nesterov=False, weight_decay=1e-4),
    schedule=Schedule(kind="step", milestones=(16 / 26, 22 / 26), warmup=1000 / (26 * 7330), warmup_factor=0.001),
)

RECIPES: dict[str, DetectionRecipe] = {
    recipe.name: recipe for recipe in (FASHION_SCENES_C4, VOC_RESNET101_C4, COCO_RESNET101_C4, COCO_RESNET50_FPN)
}
"""By name; their data is looked for when one is carried out, not before."""
