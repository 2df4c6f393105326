"""resnets segment: train, evaluate and predict with the task given."""

from __future__ import annotations

from ...tasks import SEGMENTATION
from ..command import Group
from .evaluate import evaluate_command
from .predict import predict_command
from .train import train_command

COMMAND = Group(
    "segment",
    "resnets train, evaluate and predict for segmenters: a class for every pixel.",
    {
        "train": ("train a segmenter, by recipe or on your own data", train_command("segment train", SEGMENTATION)),
        "evaluate": ("measure a segmenter: mean IoU", evaluate_command("segment evaluate", SEGMENTATION)),
        "predict": ("name a class for every pixel of images", predict_command("segment predict", SEGMENTATION)),
    },
)
