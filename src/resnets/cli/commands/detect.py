"""resnets detect: train, evaluate and predict with the task given."""

from __future__ import annotations

from ...tasks import DETECTION
from ..command import Group
from .evaluate import evaluate_command
from .predict import predict_command
from .train import train_command

COMMAND = Group(
    "detect",
    "resnets train, evaluate and predict for detectors: what is where on images.",
    {
        "train": ("train a detector, by recipe or on your own data", train_command("detect train", DETECTION)),
        "evaluate": ("measure a detector: COCO's and VOC's average precision", evaluate_command("detect evaluate", DETECTION)),
        "predict": ("find objects on images", predict_command("detect predict", DETECTION)),
    },
)
