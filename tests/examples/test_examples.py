"""The examples run as they are written, on data of seconds, and find what they promise."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from resnets.data import load
from resnets.training.run import Run

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
TINY_DETECTOR = (
    "cifar-resnet8-c4:stem_stride=2,min_size=64,max_size=96,anchor_sizes=[[16,32]],rpn_width=16,roi_size=4,rpn_pre_nms_train=100,"
    "rpn_post_nms_train=30,rpn_pre_nms_test=60,rpn_post_nms_test=20,box_batch=16"
)


@pytest.fixture
def digits(in_folder: Path) -> Path:
    """digits/CLASS/NUMBER.png: 40 handwritten digits of each of two classes, 32 x 32 pixels."""
    arrays = load("digits", "train")
    for label, name in enumerate(("zero", "one")):
        (in_folder / "digits" / name).mkdir(parents=True)
        for place in torch.nonzero(arrays.labels == label)[:40, 0].tolist():
            PIL.Image.fromarray(arrays.images[place, 0].numpy()).resize((32, 32)).save(in_folder / f"digits/{name}/{place}.png")
    return in_folder / "digits"


def run_example(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str | Path) -> Any:
    """What the example's `main` returns; its names where it has none. Its module is run as a user runs it, with these arguments."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    if "def main" not in (EXAMPLES / name).read_text("utf-8"):
        return runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return runpy.run_path(str(EXAMPLES / name), run_name="example")["main"]()


def test_each_example_is_short_and_tested() -> None:
    tested = Path(__file__).read_text("utf-8")
    assert len(SCRIPTS) >= 5
    for script in SCRIPTS:
        assert len(script.read_text("utf-8").splitlines()) <= 60, f"{script.name} is longer than 60 lines"
        assert f'"{script.name}"' in tested, f"no test runs {script.name}"


def test_the_plain_loop_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_example(monkeypatch, "plain_loop.py", "--epochs", "3") > 0.8


def test_a_folder_is_learned(monkeypatch: pytest.MonkeyPatch, digits: Path) -> None:
    run = run_example(monkeypatch, "fine_tune_folder.py", digits, "--network", "cifar-resnet8", "--epochs", "2")
    assert run.classes == ("one", "zero")
    assert run.metrics["num_images"] == 16  # a fifth of 80
    assert run.model_path.is_file()


def test_an_image_is_most_like_itself_and_then_like_its_class(
    monkeypatch: pytest.MonkeyPatch, digits: Path, small_run: Run
) -> None:
    query = sorted((digits / "one").iterdir())[3]
    found = run_example(monkeypatch, "retrieval.py", small_run.model_path, digits, query, "--top", "6")
    assert found[0][1] == query
    assert found[0][0] == pytest.approx(1, abs=1e-5)
    assert [path.parent.name for _, path in found].count("one") >= 5


def test_a_detector_finds_objects(monkeypatch: pytest.MonkeyPatch, in_folder: Path, shape_scenes: Path) -> None:
    names = run_example(monkeypatch, "detector.py", shape_scenes, shape_scenes / "val2017", TINY_DETECTOR, "3")
    assert names["detector"].classes == ("disc", "square")
    assert names["run"].model_path.is_file()
    (image,) = names["predict_boxes"](names["detector"], [shape_scenes / "val2017" / "1.png"], min_score=0.0)
    assert image.objects


def test_onnxruntime_agrees_with_torch(monkeypatch: pytest.MonkeyPatch, in_folder: Path, small_run: Run) -> None:
    pytest.importorskip("onnxruntime")
    assert run_example(monkeypatch, "export_onnx.py", small_run.model_path, "digits.onnx") < 1e-3
    assert (in_folder / "digits.onnx").is_file()
