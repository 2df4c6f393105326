"""The named recipes of detectors, each headed by its proof. Importing this loads no torch.

A result is either measured, with the record in results/, or published, with its source.
"""

from __future__ import annotations

from ..training.settings import Evaluating, Optimizer, Schedule
from .recipe import DetectionRecipe

# Source:    He 2015, Appendix A; Ren 2015 §3.2 (approximate joint training), scaled down to two CPU cores: conv1 to conv3_x are shared, at
#            stride 8, and conv4_x runs on regions of 7 x 7. From fresh weights, so that norms and all parts learn
# Command:   resnets detect train fashion-scenes-c4
# Result:    AP 90.2 % at IoU 0.5 on 500 unseen scenes in 14.3 minutes on two cores of an AMD EPYC (one seed); 91.3 % with the paper's
#            additions in testing: detect evaluate RUN --flip --sizes 144 160 184 --box-refinement --voting-iou 0.5
# Record:    results/recipe-fashion-scenes-c4-cpu.json, made by `python benchmarks/recipe_accuracy.py fashion-scenes-c4 --seeds 0
#            --testing="--flip --sizes 144 160 184 --box-refinement --voting-iou 0.5"`
FASHION_SCENES_C4 = DetectionRecipe(
    name="fashion-scenes-c4",
    data="fashion-scenes",
    detector=(
        "cifar-resnet8-c4:stem_stride=2,stem_width=32,width=[32,64,128],blocks=[2,2,1],strides=[2,2,2],min_size=160,max_size=256,"
        "size_divisible=8,anchor_sizes=[[24,44,88]],rpn_width=64,rpn_ignore_outside=False,rpn_batch=64,rpn_pre_nms_train=400,rpn_post_nms_train=150,"
        "rpn_pre_nms_test=300,rpn_post_nms_test=60,roi_pooling=align,roi_size=7,box_batch=32,box_positive_share=0.5"
    ),
    batch_size=4,
    epochs=3,
    max_steps=10_000,
    optimizer=Optimizer(name="muon", learning_rate=0.05, sgd_learning_rate=0.05, weight_decay=1e-3),
    schedule=Schedule(kind="linear", warmup=0.02),
    evaluation=Evaluating(every=2, batch_size=8),
    precision="auto",
)

# Source:    He 2015, Appendix A and Table 7 (VOC 07+12, ResNet-101: mAP 76.4 % on the test of 2007); Ren 2015 §3.3: 80k steps of one
#            image (here 2), 0.001, times 0.1 after 60k, momentum 0.9, weight decay 0.0005, trained from ImageNet's weights
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

# Source:    He 2015, Appendix A and Table 8 (COCO, ResNet-101: AP@0.5 48.4 %, AP@[.5:.95] 27.2 %): 240k steps of 8 images at 0.001,
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

# Source:    torchvision's reference for fasterrcnn_resnet50_fpn (COCO val2017: AP 37.0 %): 26 epochs of 8 x 2 images at 0.02,
#            times 0.1 after epochs 16 and 22, warmed up for 1,000 steps
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
