"""Segmenters in training: they learn, resume exactly, and their files say everything about them."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from resnets.data.annotated.mask_crop import MaskCrop
from resnets.segmentation.model_kind import SEGMENTER
from resnets.segmentation.recipe import SegmentationRecipe, read_segmentation_recipe
from resnets.segmentation.recipes import RECIPES
from resnets.tasks import open_session, resume, train
from resnets.training.loop import Interrupted
from resnets.training.run import Run, RunDirectory
from resnets.training.settings import Optimizer

sys.path.append(str(Path(__file__).parents[1]))

from kill_moments import moments

SMALL = "fcn-cifar-resnet8:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],output_stride=4,head_width=16"


@pytest.fixture(scope="session")
def recipe(shape_scenes: Path) -> SegmentationRecipe:
    return SegmentationRecipe(
        name="shapes", data=str(shape_scenes), segmenter=SMALL, batch_size=6, epochs=12, log_every=4, examples=3,
        crop=MaskCrop(size=64, base_size=None, scale=(1.0, 1.25)), optimizer=Optimizer(name="adam", learning_rate=0.01), workers=0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def segmenter_run(recipe: SegmentationRecipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(recipe.updated(output=tmp_path_factory.mktemp("segmenters") / "shapes"))


def test_it_learns(segmenter_run: Run) -> None:
    metrics = segmenter_run.metrics
    assert metrics["mean_iou"] > 0.6
    assert metrics["num_images"] == 8
    assert [row["label"] for row in metrics["per_class"]] == ["background", "disc", "square"]
    steps = [event for event in RunDirectory(segmenter_run.directory).events() if event["event"] == "step"]
    assert steps[-1]["loss"] < 0.6 * steps[0]["loss"]
    assert 0.8 < steps[-1]["pixel_accuracy"] <= 1


def test_its_directory_says_everything(segmenter_run: Run, recipe: SegmentationRecipe) -> None:
    folder = segmenter_run.directory
    stored = read_segmentation_recipe(folder / "recipe.yaml")
    assert stored == recipe.updated(output=folder, precision=stored.precision)
    assert stored.precision in ("fp32", "bf16")  # what auto became
    page = (folder / "report.html").read_text()
    assert page.count("<li><div>") == 3
    assert "resnets segment train --recipe recipe.yaml" in page
    segmenter = SEGMENTER.load(segmenter_run.model_path)
    assert segmenter.classes == ("disc", "square")
    assert SEGMENTER.describe(segmenter_run.model_path).metrics["mean_iou"] == segmenter_run.metrics["mean_iou"]


def test_a_run_killed_at_several_moments_ends_as_one_that_was_not(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    short = recipe.updated(max_steps=4, report=False, log_every=1, checkpoint_steps=1)
    whole = train(short.updated(output=tmp_path / "whole"))
    run = tmp_path / "run"

    def prepare() -> None:
        shutil.rmtree(run, ignore_errors=True)

    def check(moment: int) -> None:
        done = resume(run) if (run / "recipe.yaml").is_file() else train(short.updated(output=run))
        expected, found = (torch.load(path.directory / "checkpoint.pt")["network"] for path in (whole, done))
        assert all(torch.equal(expected[name], found[name]) for name in expected), f"at moment {moment}"
        assert not list(run.glob(".*"))

    assert moments(lambda: train(short.updated(output=run)), prepare, check, every=9) >= 3


def test_an_interrupted_run_ends_as_one_that_was_not(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    short = recipe.updated(max_steps=6, report=False, log_every=1)
    whole = train(short.updated(output=tmp_path / "whole"))

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="resnets segment train --resume"):
        train(short.updated(output=tmp_path / "parts"), [interrupt])
    parts = resume(tmp_path / "parts")
    for name, value in SEGMENTER.load(whole.model_path).state_dict().items():
        assert torch.equal(value, SEGMENTER.load(parts.model_path).state_dict()[name]), name


def test_named_recipes_are_whole(tmp_path: Path) -> None:
    for name, named in RECIPES.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(named.to_yaml())
        assert read_segmentation_recipe(path) == named
        assert named.name == name


def test_starting_from_a_segmenter_keeps_its_weights(segmenter_run: Run, recipe: SegmentationRecipe) -> None:
    session = open_session(recipe.updated(weights=str(segmenter_run.model_path)), lambda message: None)
    trained = SEGMENTER.load(segmenter_run.model_path).state_dict()
    for name, value in session.network.state_dict().items():
        assert torch.equal(value, trained[name]), name
