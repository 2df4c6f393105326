"""Detectors and segmenters served on a page, and what `resnets serve` refuses."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch

from resnets.cli.served_scenes import ServedDetector, ServedSegmenter, open_detector, open_segmenter, scene_samples
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.deployment.engines import engine
from resnets.deployment.serving.served import BadImage
from resnets.deployment.serving.server import listen
from resnets.detection import create_detector
from resnets.detection.model_kind import DETECTOR
from resnets.detection.predict import predict_boxes
from resnets.reports.drawn_objects import class_colour
from resnets.segmentation import create_segmenter
from resnets.segmentation.model_kind import SEGMENTER
from resnets.segmentation.predict import segment
from resnets.training.run import Run
from resnets.weights.model_file import ModelDescription

Call = Callable[..., tuple[int, str, str]]
CLASSES = ("disc", "square")
SMALL_DETECTOR = (
    "cifar-resnet8-c4:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],min_size=64,max_size=64,anchor_sizes=[[20]],"
    "rpn_width=16,rpn_pre_nms_test=100,rpn_post_nms_test=30,roi_size=7,roi_pooling=align,rpn_ignore_outside=False"
)
SMALL_SEGMENTER = "fcn-cifar-resnet8:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],output_stride=4,head_width=16"


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> ServedDetector:
    """With random weights, so that it finds something everywhere, and the page shows all of it."""
    torch.manual_seed(0)
    network = create_detector(SMALL_DETECTOR, num_classes=3)
    path = tmp_path_factory.mktemp("models") / "detector.safetensors"
    provenance = {"network": SMALL_DETECTOR, "recipe": {"data": "shapes"}}
    about = ModelDescription(network.spec, CLASSES, Preprocessing(size=64), {"ap50": 0.25}, provenance)
    DETECTOR.save(network, path, about)
    return open_detector(path, torch.device("cpu"), 0.0)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> ServedSegmenter:
    """With random weights."""
    torch.manual_seed(0)
    network = create_segmenter(SMALL_SEGMENTER, num_classes=3)
    path = tmp_path_factory.mktemp("models") / "segmenter.safetensors"
    SEGMENTER.save(network, path, ModelDescription(network.spec, CLASSES, network.spec.preprocessing))
    return open_segmenter(path, torch.device("cpu"))


def drawn(address: str | None) -> PIL.Image.Image:
    """The image in a data address."""
    assert address is not None
    assert address.startswith("data:image/jpeg;base64,")
    return PIL.Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


def test_a_detector_says_what_detect_predict_says(detector: ServedDetector, shape_scenes: Path) -> None:
    image = min((shape_scenes / "val2017").iterdir())
    told = next(predict_boxes(detector.detector, [image], min_score=0.0)).as_json()
    answer = detector.answer(image)
    assert told["objects"]
    assert answer.as_json() == {"objects": told["objects"], "milliseconds": round(answer.milliseconds, 3)}
    assert [bar.share for bar in answer.bars] == [found["score"] for found in told["objects"]]
    assert {bar.colour for bar in answer.bars} <= {class_colour(0), class_colour(1)}
    # Ten pixels for each, so that the boxes' edges are on the image's own.
    assert drawn(answer.shown).size == (640, 640)
    assert detector.answer(image, draw=False).shown is None
    assert detector.title == SMALL_DETECTOR
    assert ("25.0 %", "COCO AP at IoU 0.5") in detector.facts
    detector.score = 1.0
    try:
        assert detector.answer(image).bars == ()
    finally:
        detector.score = 0.0


def test_a_segmenter_says_what_segment_predict_says(segmenter: ServedSegmenter, shape_scenes: Path) -> None:
    image = min((shape_scenes / "val2017").iterdir())
    told = next(segment(segmenter.segmenter, [image])).as_json()
    answer = segmenter.answer(image)
    assert answer.said["shares"] == told["shares"]
    assert sum(bar.share for bar in answer.bars) == pytest.approx(1)
    assert drawn(answer.shown).size == (640, 640)
    assert segmenter.title == "segmenter"  # the file knows no name, and is called by its own


@pytest.mark.parametrize("kind", ["detector", "segmenter"])
def test_what_is_no_image_or_too_large_is_refused(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> None:
    served: ServedDetector | ServedSegmenter = request.getfixturevalue(kind)
    broken, cut, huge = tmp_path / "broken.jpg", tmp_path / "cut.png", tmp_path / "huge.png"
    broken.write_bytes(b"no image")
    PIL.Image.effect_noise((64, 64), 80).save(cut)
    cut.write_bytes(cut.read_bytes()[:1500])
    PIL.Image.new("1", (10_000, 5_001)).save(huge)
    for path, reason in (
        (broken, "it is no image in a known format"),
        (cut, "damaged"),
        (huge, "50,010,000 pixels, more than 30,000,000"),
    ):
        with pytest.raises(BadImage, match=reason):
            served.answer(path)


def test_scenes_to_choose_from(shape_scenes: Path, tmp_path: Path) -> None:
    found = scene_samples(str(shape_scenes), tmp_path, None)
    assert len(found) == 8
    for sample in found:
        assert sample.path.read_bytes() == (shape_scenes / "val2017" / f"{sample.name}{sample.path.suffix}").read_bytes()


def test_wrong_requests(call: Call, small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("gradio") is not None:
        status, _, errors = call("serve", tmp_path / "absent", "--port", 0)
        assert (status, "no run directory or model file" in errors) == (2, True)
        with listen("127.0.0.1", 0) as taken:
            status, _, errors = call("serve", small_run.directory, "--port", taken.getsockname()[1])
        assert (status, "choose another with --port" in errors) == (1, True)
        status, _, errors = call("serve", small_run.directory, "--port", 0, "--samples", tmp_path)
        assert (status, "holds no images" in errors) == (2, True)
    for option, value, reason in (
        ("--max-upload", 0, "lets no image through"),
        ("--score", 2, "no probability"),
        ("--prot", 1, "--port"),
    ):
        status, _, errors = call("serve", small_run.directory, option, value)
        assert status == 2
        assert reason in errors
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    status, _, errors = call("serve", small_run.directory)
    assert status == 2
    assert "pip install 'resnets[serve]'" in errors
