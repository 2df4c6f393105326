"""A detector in ten lines: trained on boxes in COCO's or VOC's layout, then asked what is in each image of a folder.

python examples/detector.py my-scenes my-scenes/val2017                       # all is chosen from the data and the machine
python examples/detector.py my-scenes my-scenes/val2017 resnet18-fpn 12       # your detector, your number of epochs
"""

import sys
from pathlib import Path

import resnets
from resnets.detection.model_kind import DETECTOR
from resnets.detection.predict import predict_boxes
from resnets.detection.recipe_for_data import recipe_for_data

data, images, *chosen = sys.argv[1:]
recipe, _ = recipe_for_data(data, {"detector": chosen[0], "epochs": int(chosen[1])} if chosen else {})
run = resnets.train(recipe)
detector = DETECTOR.load(run.model_path)
for image in predict_boxes(detector, sorted(Path(images).iterdir()), min_score=0.3):
    print(image.path.name, *(f"{found.label} {found.score:.0%} {[round(side) for side in found.box]}" for found in image.objects))
