"""Early stopping: at the right evaluation, and the same when resumed."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from resnets.classification.evaluate import EvaluationResult
from resnets.classification.recipe import Recipe
from resnets.classification.session import ClassificationSession
from resnets.segmentation.evaluate import SegmentationResult
from resnets.tasks import resume, train
from resnets.training.checkpoint import Position
from resnets.training.early_stopping import end_of_patience, update_patience
from resnets.training.loop import Interrupted
from resnets.training.run import RunDirectory
from resnets.training.settings import EarlyStopping


def result(top1: float = 0.5, loss: float = 1.0) -> EvaluationResult:
    return EvaluationResult(top1, None, loss, 10, torch.zeros(2, 2))


def stops_at(settings: EarlyStopping, values: list[float]) -> int | None:
    position = Position()
    for number, value in enumerate(values, 1):
        update_patience(settings, position, result(top1=value) if settings.metric == "top1" else result(loss=value))
        if end_of_patience(settings, position):
            return number
    return None


@pytest.mark.parametrize(
    ("settings", "values", "stop"),
    [
        (EarlyStopping(), [0.5] * 9, None),
        (EarlyStopping(patience=1), [0.5, 0.6, 0.7], None),
        (EarlyStopping(patience=1), [0.5, 0.5], 2),
        (EarlyStopping(patience=2), [0.5, 0.4, 0.6, 0.6, 0.5], 5),
        (EarlyStopping(patience=2, min_delta=0.05), [0.5, 0.54, 0.549], 3),  # each a little better, none by enough
        (EarlyStopping(patience=2, min_delta=0.05), [0.5, 0.54, 0.56, 0.6], None),  # 0.56 is, counted from 0.5
        (EarlyStopping(patience=2, metric="loss"), [1.0, 0.9, 0.95, 0.9], 4),
        (EarlyStopping(patience=2, metric="loss"), [1.0, float("nan"), float("nan")], 3),
        (EarlyStopping(patience=2, metric="loss"), [float("nan"), 3.0, 2.0, 1.0], None),
    ],
)
def test_patience(settings: EarlyStopping, values: list[float], stop: int | None) -> None:
    assert stops_at(settings, values) == stop


def test_without_patience_no_result_needs_the_metric() -> None:
    position = Position()
    update_patience(EarlyStopping(), position, SegmentationResult(torch.eye(2, dtype=torch.long), 1))  # which has no top-1 accuracy
    assert end_of_patience(EarlyStopping(), position) is None


def test_the_message_says_what_happened() -> None:
    said = end_of_patience(EarlyStopping(patience=3, min_delta=0.01), Position(improved_to=0.75, stale=3)) or ""
    assert said == (
        "stopped early: the top-1 accuracy, 0.7500 at best, has not risen by more than 0.01 in the last 3 evaluations; "
        "best.safetensors holds the best network"
    )


def test_it_needs_evaluations() -> None:
    with pytest.raises(ValueError, match=r"early_stopping counts evaluations, but evaluation\.every is 0"):
        Recipe().updated(early_stopping={"patience": 2}, evaluation={"every": 0})


@pytest.fixture
def worsening(small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Evaluations give 0.5, 0.6, then less and less, by the number of epochs done; a run of ten epochs would go on."""
    real = ClassificationSession.evaluate

    def evaluate(session: Any, watcher: Any = None) -> EvaluationResult:
        found = real(session, watcher)
        tracked = session.network.conv1.norm.num_batches_tracked
        epoch = int(tracked) // 5
        return EvaluationResult([0.5, 0.6, 0.55, 0.54, 0.53, 0.52][epoch - 1], None, found.loss, found.num_images, found.confusion)

    monkeypatch.setattr(ClassificationSession, "evaluate", evaluate)
    return small_recipe.updated(epochs=10, batch_size=256, early_stopping={"patience": 2}, report=False, log_every=1)


def test_a_run_stops_is_done_and_resumes_exactly(worsening: Recipe, tmp_path: Path) -> None:
    whole = train(worsening.updated(output=tmp_path / "whole"))
    events = RunDirectory(whole.directory).events()
    stopped = next(event for event in events if event["event"] == "stopped")
    assert (stopped["step"], stopped["epoch"]) == (4 * 5, 4.0)
    assert "has not risen in the last 2 evaluations" in stopped["message"]
    assert events[-1]["event"] == "done"
    assert events[-1]["step"] == 20
    assert whole.model_path.exists()
    assert (whole.directory / "best.safetensors").exists()

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 17:  # one evaluation without improvement after it
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(worsening.updated(output=tmp_path / "parts"), [interrupt])
    parts = resume(tmp_path / "parts")
    losses = [
        [(e["step"], e["loss"]) for e in RunDirectory(path).events() if e["event"] == "step"]
        for path in (whole.directory, parts.directory)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 20
    # A run that has stopped does not go on when it is resumed.
    assert resume(tmp_path / "parts").metrics["top1"] == parts.metrics["top1"]
    assert RunDirectory(parts.directory).events()[-1]["step"] == 20
