"""Real runs on the digits: what is finished is never run again, what was stopped goes on, and divergence is a result."""

import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from invented import tiny_plan, tiny_study

sys.path.append(str(Path(__file__).parents[1]))

from kill_moments import moments

from resnets.studies import measurements
from resnets.studies.protocol import Results, carry_out, result_of
from resnets.studies.tasks import Task
from resnets.training.loop import Interrupted

STUDY = tiny_study()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """Two networks, two seeds, four steps each."""
    runs = tmp_path_factory.mktemp("runs")
    return runs, carry_out(STUDY, tiny_plan(STUDY), runs)


def test_every_run_is_measured(finished: tuple[Path, Results]) -> None:
    _, results = finished
    assert set(results) == {(arm, "training", seed) for arm in ("plain", "residual") for seed in (0, 1)}
    for result in results.values():
        assert result["diverged"] is None
        assert 0 < result["metrics"]["train_error"] < 1
        assert [step for step, _ in result["curves"]["train"]] == [1, 2, 3, 4]
        assert result["curves"]["test"][-1] == [4, result["metrics"]["test_error"]]


def test_a_study_killed_at_several_moments_measures_the_same(finished: tuple[Path, Results], tmp_path: Path) -> None:
    _, results = finished
    runs = tmp_path / "runs"
    plan = tiny_plan(STUDY, seeds=1)

    def check(moment: int) -> None:
        said: list[str] = []
        for key, result in carry_out(STUDY, plan, runs, lambda event: said.append(event.get("message", ""))).items():
            assert result["curves"] == results[key]["curves"], f"at moment {moment}"
        assert not [words for words in said if "cannot be gone on with" in words]
        assert not [path for path in runs.rglob("*") if path.name == "lock" or path.name.endswith(".part")]

    assert moments(lambda: carry_out(STUDY, plan, runs), lambda: shutil.rmtree(runs, ignore_errors=True), check, every=13) >= 3


def test_a_run_that_another_process_trains_is_never_thrown_away(tmp_path: Path) -> None:
    """As where someone has resumed a study's run by hand."""
    from resnets.core.claims import LOCK, InUse, hold

    task = tiny_plan(STUDY, seeds=1).tasks(STUDY)[0]
    directory = tmp_path / task.key / "run"
    directory.mkdir(parents=True)
    (directory / "checkpoint.pt").write_bytes(b"of another process")
    assert task.recipe is not None
    (directory / "recipe.yaml").write_text(task.recipe.to_yaml())
    with hold(directory / LOCK, directory), pytest.raises(InUse, match="is in use by process"):
        carry_out(STUDY, tiny_plan(STUDY, seeds=1), tmp_path)
    assert (directory / "checkpoint.pt").read_bytes() == b"of another process"


def test_seeds_differ_and_the_same_seed_does_not(finished: tuple[Path, Results], tmp_path: Path) -> None:
    _, results = finished
    assert results["plain", "training", 0]["curves"] != results["plain", "training", 1]["curves"]
    again = carry_out(STUDY, tiny_plan(STUDY, seeds=1), tmp_path)
    assert again["plain", "training", 0]["curves"] == results["plain", "training", 0]["curves"]


def test_the_training_error_is_that_of_all_training_pictures(finished: tuple[Path, Results]) -> None:
    import resnets
    from resnets.data.datasets.catalogue import load

    runs, results = finished
    task = tiny_plan(STUDY).tasks(STUDY)[0]
    network = resnets.load_model(runs / task.key / "run" / "model.safetensors")
    arrays = load("digits", "train")
    assert network.preprocessing is not None
    wrong = (network(network.preprocessing(arrays.images)).argmax(1) != arrays.labels).sum()
    assert results[task.arm, "training", task.seed]["metrics"]["train_error"] == pytest.approx(int(wrong) / 1437, abs=1.5 / 1437)


def test_what_is_finished_is_not_run_again(finished: tuple[Path, Results], monkeypatch: pytest.MonkeyPatch) -> None:
    runs, results = finished

    def never(*_arguments: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(measurements, "measure", never)
    heard: list[dict[str, Any]] = []
    assert carry_out(STUDY, tiny_plan(STUDY), runs, heard.append) == results
    assert [event["event"] for event in heard] == ["cached"]
    assert heard[0]["finished"] == heard[0]["total"] == 4


def test_more_seeds_run_only_the_new_ones(finished: tuple[Path, Results]) -> None:
    runs, _ = finished
    heard: list[dict[str, Any]] = []
    carry_out(STUDY, tiny_plan(STUDY, seeds=3), runs, heard.append)
    assert [(event["arm"], event["seed"]) for event in heard if event["event"] == "task"] == [("plain", 2), ("residual", 2)]


def test_a_damaged_result_is_measured_again(finished: tuple[Path, Results], tmp_path: Path) -> None:
    task = tiny_plan(STUDY).tasks(STUDY)[0]
    (tmp_path / task.key).mkdir()
    (tmp_path / task.key / "result.json").write_text('{"metrics": {"tra')
    assert result_of(task, tmp_path) is None
    assert carry_out(STUDY, tiny_plan(STUDY, seeds=1), tmp_path)[task.arm, "training", 0]["metrics"]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    plan = tiny_plan(STUDY, steps=6, seeds=1)

    def stop_in_the_second_run(event: dict[str, Any]) -> None:
        if event["event"] == "task":
            stop_in_the_second_run.arm = event["arm"]  # type: ignore[attr-defined]
        if event["event"] in ("step", "progress") and (stop_in_the_second_run.arm, event["step"]) == ("residual", 3):  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        carry_out(STUDY, plan, tmp_path, stop_in_the_second_run)
    heard: list[dict[str, Any]] = []
    results = carry_out(STUDY, plan, tmp_path, heard.append)
    assert heard[0] == {"event": "cached", "finished": 1, "total": 2}
    assert [event["step"] for event in heard if event["event"] in ("step", "progress")] == [4, 5, 6]
    assert [step for step, _ in results["residual", "training", 0]["curves"]["train"]] == [1, 2, 3, 4, 5, 6]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from invented import tiny_plan, tiny_study
from resnets.studies.protocol import carry_out
def listen(event):
    if event["event"] == "step" and event["step"] == 2 and done:
        os.kill(os.getpid(), signal.SIGKILL)
    if event["event"] == "task done":
        done.append(event["key"])
done = []
study = tiny_study()
carry_out(study, tiny_plan(study, seeds=1), Path(sys.argv[1]), listen)
"""


def test_a_killed_study_repeats_nothing_that_was_finished(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path, Path(__file__).parent], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    heard: list[dict[str, Any]] = []
    results = carry_out(STUDY, tiny_plan(STUDY, seeds=1), tmp_path, heard.append)
    assert [event["arm"] for event in heard if event["event"] == "task"] == ["residual"]
    assert len(results) == 2


def test_divergence_is_a_result(tmp_path: Path) -> None:
    study = tiny_study(recipe={"optimizer__learning_rate": 1e30, "batch_size": 64, "precision": "fp32"})
    results = carry_out(study, tiny_plan(study, seeds=1), tmp_path)
    diverged = results["plain", "training", 0]
    assert "at step" in diverged["diverged"] or "step" in diverged["diverged"]
    assert diverged["metrics"]["test_error"] == pytest.approx(0.9)
    assert diverged["metrics"]["train_loss"] == pytest.approx(math.log(10))
    heard: list[dict[str, Any]] = []
    carry_out(study, tiny_plan(study, seeds=1), tmp_path, heard.append)
    assert [event["event"] for event in heard] == ["cached"]  # not tried again


def test_signals_are_measured_at_the_start_and_after_training(tmp_path: Path) -> None:
    network = "cifar-preact-resnet20:width=4,stem_width=4,shortcut_scale=0.5"
    start = measurements.measure(
        Task(arm="start", measurement="initial-signal", network=network, data="digits"), tmp_path, print, None
    )
    assert start["metrics"]["product"] == pytest.approx(0.5**3)  # the first stage's three units
    assert start["metrics"]["product_deviation"] < 1e-4
    assert len(start["units"]) == 9
    study = tiny_study(arms=(STUDY.arms[0], STUDY.arms[1].model_copy(update={"measurement": "trained-signal"})))
    results = carry_out(study, tiny_plan(study, seeds=1), tmp_path)
    trained = results["residual", "trained-signal", 0]
    assert trained["metrics"]["train_error"] == results["residual", "training", 0]["metrics"]["train_error"]
    assert trained["metrics"]["branch_ratio"] > 0


def test_counts_are_those_of_the_paper(tmp_path: Path) -> None:
    from resnets.studies import get_study
    from resnets.studies.budget import plan_study

    study = get_study("bottleneck")
    plan = plan_study(study, budget=1.0, data="digits", step_time=lambda _recipe: 1.0)
    results = carry_out(study, plan, tmp_path)
    weights = {arm: result["metrics"].get("weights") for (arm, _, _), result in results.items()}
    assert weights["bottleneck unit, 256"] == 256 * 64 + 9 * 64 * 64 + 64 * 256 == 69_632
    assert weights["basic unit, 256"] == 2 * 9 * 256 * 256 == 1_179_648
    assert results["VGG-19", "count", 0]["metrics"]["parameters"] == 143_667_240  # as torchvision prints it
