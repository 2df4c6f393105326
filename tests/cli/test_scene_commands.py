"""resnets detect and resnets segment, as a person calls them."""

import json
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from resnets.training.run import Run

Call = Callable[..., tuple[int, str, str]]
DETECTOR = (
    "cifar-resnet8-c4:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],min_size=64,max_size=64,anchor_sizes=[[20]],"
    "rpn_width=16,rpn_pre_nms_train=100,rpn_post_nms_train=50,rpn_pre_nms_test=100,rpn_post_nms_test=30,rpn_batch=32,box_batch=16,"
    "roi_size=7,roi_pooling=align,rpn_ignore_outside=False"
)
SEGMENTER = "fcn-cifar-resnet8:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],output_stride=4,head_width=16"
SHORT = ("--batch-size", 6, "--max-steps", 4, "--log-every", 2, "--workers", 0)


def test_a_detector_from_training_to_images(call: Call, in_folder: Path, shape_scenes: Path) -> None:
    status, output, errors = call("detect", "train", shape_scenes, "--detector", DETECTOR, "--output", "run", "--json", *SHORT)
    assert status == 0, errors
    events = [json.loads(line) for line in output.splitlines()]
    done = events[-1]
    assert done["event"] == "done"
    assert {"ap", "ap50", "voc07", "voc12", "per_class", "training_seconds", "images_per_second", "model_path"} <= done.keys()
    assert Path(done["model_path"]).is_file()
    assert "AP at IoU 0.5" in errors

    status, output, errors = call("detect", "evaluate", "run", "--json")
    assert status == 0, errors
    again = json.loads(output)
    assert again["ap50"] == pytest.approx(done["ap50"], abs=1e-6)
    status, output, _ = call("detect", "evaluate", "run", "--split", "train", "--flip", "--box-refinement", "--voting-iou", 0.5)
    assert status == 0
    assert "VOC AP" in output

    images = sorted((shape_scenes / "val2017").iterdir())[:2]
    broken = in_folder / "broken.jpg"
    broken.write_bytes(b"no image")
    status, output, errors = call("detect", "predict", "run", *images, broken, "--score", 0, "--output", "drawn", "--json")
    assert status == 1
    shown = [json.loads(line) for line in output.splitlines()]
    assert [Path(each["path"]) for each in shown] == [*images, broken]
    assert "error" in shown[2]
    for each in shown[:2]:
        assert PIL.Image.open(each["drawn"]).size == (64, 64)
        for found in each["objects"]:
            assert found["label"] in ("disc", "square")
            assert 0 <= found["score"] <= 1
            x1, y1, x2, y2 = found["box"]
            assert 0 <= x1 < x2 <= 64
            assert 0 <= y1 < y2 <= 64
    status, output, _ = call("detect", "predict", "run", images[0], "--score", 1)
    assert status == 0
    assert "nothing with a probability of 1 or more" in output


def test_a_segmenter_from_training_to_images(call: Call, in_folder: Path, shape_scenes: Path) -> None:
    options = ("--segmenter", SEGMENTER, "--crop.size", 64, "--output", "run")
    status, output, errors = call("segment", "train", shape_scenes, *options, *SHORT)
    assert status == 0, errors
    assert "mean IoU" in output
    assert "resnets predict run/model.safetensors IMAGE... --output FOLDER" in output
    status, output, errors = call("segment", "evaluate", "run", "--json")
    assert status == 0, errors
    found = json.loads(output)
    assert 0 <= found["mean_iou"] <= 1
    assert [row["label"] for row in found["per_class"]] == ["background", "disc", "square"]
    status, output, errors = call("segment", "evaluate", "run", "--sizes", 48, 64, "--flips", "--json")
    assert status == 0, errors
    averaged = json.loads(output)
    assert (averaged["sizes"], averaged["flips"]) == ([48, 64], True)
    assert averaged["confusion"] != found["confusion"]
    assert sum(map(sum, averaged["confusion"])) == sum(map(sum, found["confusion"]))

    image = shape_scenes / "val2017/1.png"
    status, output, errors = call("segment", "predict", "run", image, "--output", "drawn", "--masks", "masks", "--json")
    assert status == 0, errors
    shown = json.loads(output)
    assert sum(each["share"] for each in shown["shares"]) == pytest.approx(1)
    assert PIL.Image.open(shown["drawn"]).size == (64, 64)
    mask = PIL.Image.open("masks/1.png")
    assert mask.mode == "P"
    assert mask.size == (64, 64)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("detect", "trian"), "did you mean train?"),
        (("detect", "train", "coco-resnet50"), "did you mean 'coco-resnet50-fpn'?"),
        (("detect", "train", "fashion-scenes-c4", "--detector", "resnet50-fpx"), "did you mean resnet50-fpn"),
        (("detect", "train", "coco-resnet50-fpn", "--data-folder", "nowhere"), "there is no folder nowhere with the files of coco"),
        (("detect", "train"), "name what to train: resnets detect train fashion-scenes-c4"),
        (("detect", "predict", "nothing.safetensors", "a.jpg"), "no run directory or model file nothing.safetensors"),
        (("segment", "train", "fashion-scenes-fcn", "--segmenter", "unet-resnet18"), "there is no segmenter named"),
        (("segment", "evaluate", "nothing", "--sizes", "0"), "--sizes are lengths in pixels, 1 or more"),
        (("segment", "evaluate", "nothing"), "no run directory or model file nothing"),
        (("segment", "train", "--resume", "nothing"), "nothing is no run directory"),
    ],
)
def test_wrong_requests_get_one_sentence(call: Call, in_folder: Path, arguments: tuple[str, ...], reason: str) -> None:
    status, output, errors = call(*arguments)
    assert status == 2
    assert output == ""
    assert reason in " ".join(errors.split())
    assert errors.count("\n") == 1


def test_a_classifier_is_no_detector(call: Call, in_folder: Path, small_run: Run) -> None:
    PIL.Image.new("RGB", (8, 8)).save("a.png")
    status, _, errors = call("detect", "predict", small_run.model_path, "a.png")
    assert status == 2
    assert "is a classifier, not a detector; use it with resnets predict" in errors
