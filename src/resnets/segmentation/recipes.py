"""The named recipes of segmenters, each headed by its proof. Importing this loads no torch.

A result is either measured, with the record in results/, or published, with its source.
"""

from __future__ import annotations

from ..data.annotated.mask_crop import MaskCrop
from ..training.settings import Evaluating, Optimizer, Schedule
from .recipe import SegmentationRecipe

# Source:    Long 2015 (1411.4038) with skips of features, on a CIFAR-style network of stride 8 that is scaled down to two CPU cores, from
#            fresh weights. Training sees images at a shorter side of 112, since garments are drawn from 28 x 28 pixels and time is
#            short, evaluation at 128, where outlines are finer
# Command:   resnets segment train fashion-scenes-fcn
# Result:    mean IoU 72.9 % on 500 unseen scenes in 14.3 minutes on two cores of an AMD EPYC (one seed); 75.3 % with views averaged in
#            testing: segment evaluate RUN --flips --sizes 96 112 128 144
# Record:    results/recipe-fashion-scenes-fcn-cpu.json, made by `python benchmarks/recipe_accuracy.py fashion-scenes-fcn --seeds 0
#            --testing="--flips --sizes 96 112 128 144"`
FASHION_SCENES_FCN = SegmentationRecipe(
    name="fashion-scenes-fcn",
    data="fashion-scenes",
    segmenter=(
        "fcn-cifar-resnet8:stem_stride=2,stem_width=32,width=[64,128,128],blocks=[1,2,2],strides=[2,2,2],output_stride=8,head_width=64,"
        "head_dropout=0,skips=2,subpixels=2,auxiliary=False,size=128"
    ),
    crop=MaskCrop(size=112, base_size=112, scale=(1.0, 1.0), paste=0.5),
    workers=0,  # images are kept at their size, and cutting them takes less than a process would
    batch_size=16,
    epochs=6,
    loss_stride=2,
    optimizer=Optimizer(name="muon", learning_rate=0.1, sgd_learning_rate=0.1, weight_decay=1e-3),
    schedule=Schedule(kind="linear", warmup=0.02),
    evaluation=Evaluating(every=3, batch_size=1),
)

# Source:    torchvision's reference for fcn_resnet50 and deeplabv3_resnet101 (COCO with VOC's classes: mean IoU 60.5 and 67.4 %): 30
#            epochs of 8 x 4 images, 0.02 falling as (1 - progress)^0.9 (here linearly), crops of 480 of scales 0.5 to 2
# Result:    not run here: neither VOC nor COCO was at hand
VOC_FCN = SegmentationRecipe(
    name="voc-fcn-resnet50",
    data="voc12",
    segmenter="fcn-resnet50",
    batch_size=16,
    epochs=60,
    optimizer=Optimizer(learning_rate=0.01, nesterov=False),
    schedule=Schedule(kind="linear"),
)
VOC_DEEPLABV3 = VOC_FCN.updated(name="voc-deeplabv3-resnet101", segmenter="deeplabv3-resnet101")

RECIPES: dict[str, SegmentationRecipe] = {recipe.name: recipe for recipe in (FASHION_SCENES_FCN, VOC_FCN, VOC_DEEPLABV3)}
"""By name; their data is looked for when one is carried out, not before."""
