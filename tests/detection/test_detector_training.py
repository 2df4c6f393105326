"""Detectors in training: they learn, resume exactly, and their files say everything about them."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import resnets
from resnets.detection.detector import Detector
from resnets.detection.model_kind import DETECTOR
from resnets.detection.recipe import DetectionRecipe, read_detection_recipe
from resnets.detection.recipes import RECIPES
from resnets.detection.session import DetectionSession
from resnets.networks import Network
from resnets.tasks import CLASSIFICATION, open_session, resume, train
from resnets.training.loop import Interrupted
from resnets.training.run import Run, RunDirectory
from resnets.training.run import resume as resume_as
from resnets.training.settings import Optimizer
from resnets.weights.model_file import load_model

sys.path.append(str(Path(__file__).parents[1]))

from kill_moments import moments

SMALL = (
    "cifar-resnet8-c4:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],min_size=64,max_size=64,anchor_sizes=[[20]],"
    "rpn_width=16,rpn_pre_nms_train=100,rpn_post_nms_train=50,rpn_pre_nms_test=100,rpn_post_nms_test=30,rpn_batch=32,box_batch=16,"
    "roi_size=7,roi_pooling=align,rpn_ignore_outside=False"
)


def quiet(message: str) -> None:
    pass


@pytest.fixture(scope="session")
def recipe(shape_scenes: Path) -> DetectionRecipe:
    return DetectionRecipe(
        name="shapes", data=str(shape_scenes), detector=SMALL, batch_size=6, epochs=18, log_every=4, examples=3,
        optimizer=Optimizer(name="adam", learning_rate=0.01), workers=0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def detector_run(recipe: DetectionRecipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(recipe.updated(output=tmp_path_factory.mktemp("detectors") / "shapes"))


def test_it_learns(detector_run: Run) -> None:
    metrics = detector_run.metrics
    assert metrics["ap50"] > 0.7
    assert metrics["num_images"] == 8
    assert [row["label"] for row in metrics["per_class"]] == ["disc", "square"]
    steps = [event for event in RunDirectory(detector_run.directory).events() if event["event"] == "step"]
    assert steps[-1]["loss"] < 0.6 * steps[0]["loss"]
    parts = ("classifier", "box_reg", "objectness", "rpn_box_reg")
    for event in steps:
        assert event["loss"] == pytest.approx(sum(event[part] for part in parts), rel=1e-5)


def test_its_directory_says_everything(detector_run: Run, recipe: DetectionRecipe) -> None:
    folder = detector_run.directory
    assert read_detection_recipe(folder / "recipe.yaml") == recipe.updated(output=folder)
    page = (folder / "report.html").read_text()
    assert page.count("<li><div>") == 3
    assert "resnets detect train --recipe recipe.yaml" in page
    detector = DETECTOR.load(detector_run.model_path)
    assert detector.classes == ("disc", "square")
    description = DETECTOR.describe(detector_run.model_path)
    assert description.metrics["ap50"] == detector_run.metrics["ap50"]
    assert description.provenance["recipe"]["detector"] == SMALL
    with pytest.raises(ValueError, match=r"is a detector, not a classifier; use it with resnets detect"):
        load_model(detector_run.model_path)


def test_a_run_killed_at_several_moments_ends_as_one_that_was_not(recipe: DetectionRecipe, tmp_path: Path) -> None:
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


def test_an_interrupted_run_ends_as_one_that_was_not(recipe: DetectionRecipe, tmp_path: Path) -> None:
    short = recipe.updated(max_steps=6, report=False, log_every=1)
    whole = train(short.updated(output=tmp_path / "whole"))

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="resnets detect train --resume"):
        train(short.updated(output=tmp_path / "parts"), [interrupt])
    parts = resume(tmp_path / "parts")
    for name, value in DETECTOR.load(whole.model_path).state_dict().items():
        assert torch.equal(value, DETECTOR.load(parts.model_path).state_dict()[name]), name


def test_a_run_of_another_command_is_refused_by_name(detector_run: Run) -> None:
    with pytest.raises(ValueError, match="written for `resnets detect train`; use that command"):
        resume_as(CLASSIFICATION, detector_run.directory)


def test_accumulation_adds_the_parts_up(recipe: DetectionRecipe) -> None:
    """The step's loss and gradient are the means of those of the parts, whose samples are drawn one after the other."""
    session: DetectionSession = open_session(recipe.updated(accumulation=2), quiet)
    batch = next(iter(session.training.epoch(0)))
    session.seed_step(1)
    result = session.step.gradients(session.inputs(batch), total=batch.total)
    ours = session.network.get_parameter("proposer.objectness.weight").grad
    assert ours is not None
    gradient = ours.clone()
    session.network.zero_grad()
    session.seed_step(1)
    losses = [sum(session.network(batch.images[rows], batch.targets[rows]).values()) for rows in (slice(0, 3), slice(3, 6))]
    mean = torch.stack(losses).mean()
    mean.backward()
    torch.testing.assert_close(result.loss, mean.detach())
    torch.testing.assert_close(gradient, session.network.get_parameter("proposer.objectness.weight").grad)


def test_named_recipes_are_whole(tmp_path: Path) -> None:
    for name, named in RECIPES.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(named.to_yaml())
        assert read_detection_recipe(path) == named
        assert named.name == name


def test_starting_from_a_detector_keeps_its_weights(detector_run: Run, recipe: DetectionRecipe) -> None:
    session: DetectionSession = open_session(recipe.updated(weights=str(detector_run.model_path)), quiet)
    trained = DETECTOR.load(detector_run.model_path).state_dict()
    for name, value in session.network.state_dict().items():
        assert torch.equal(value, trained[name]), name


def test_load_model_takes_a_run_or_a_file_of_any_task(detector_run: Run, small_run: Run) -> None:
    by_run, by_file = resnets.load_model(detector_run.directory), resnets.load_model(detector_run.model_path)
    assert isinstance(by_run, Detector)
    assert by_run.classes == detector_run.classes
    assert all(torch.equal(a, b) for a, b in zip(by_run.state_dict().values(), by_file.state_dict().values(), strict=True))
    assert isinstance(resnets.load_model(small_run.directory), Network)
    again = resnets.create_detector(by_run.spec, weights=str(detector_run.model_path))
    assert all(torch.equal(a, b) for a, b in zip(by_run.state_dict().values(), again.state_dict().values(), strict=True))


def test_load_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no model\.safetensors; is its run finished\?"):
        resnets.load_model(tmp_path)
