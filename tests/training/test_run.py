"""A run and its directory: whole, repeatable, and resumed as if it had never stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import resnets
from resnets.classification.recipe import Recipe, read_recipe
from resnets.tasks import resume, train
from resnets.training.loop import Interrupted
from resnets.training.run import Run, RunDirectory

EXACT = {"log_every": 1, "epochs": 2, "evaluation__every": 1, "max_steps": 30, "report": False}


def losses(run: Path) -> list[tuple[int, float]]:
    return [(event["step"], event["loss"]) for event in RunDirectory(run).events() if event["event"] == "step"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(resnets.load_model(run / "model.safetensors").state_dict())


def stopping_at(step: int) -> Any:
    """A listener that sends this process SIGINT after a step, as Ctrl-C does."""

    def listen(event: dict[str, Any]) -> None:
        if event["event"] in ("step", "progress") and event["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return listen


def test_the_directory_holds_everything(small_run: Run, small_recipe: Recipe) -> None:
    files = {path.name for path in small_run.directory.iterdir()}
    expected = {"recipe.yaml", "metrics.jsonl", "checkpoint.pt", "model.safetensors", "best.safetensors", "report.html"}
    assert files == expected | {"data.json.gz", "environment.json"}
    stored = read_recipe(small_run.directory / "recipe.yaml")
    assert stored == small_recipe.updated(output=small_run.directory, precision=stored.precision)
    assert stored.precision in ("fp32", "bf16")  # what auto became
    events = [json.loads(line) for line in (small_run.directory / "metrics.jsonl").read_text().splitlines()]
    assert all({"step", "epoch", "time"} <= event.keys() for event in events)
    assert events[-1]["event"] == "done"
    assert {"top1", "training_seconds", "images_per_second", "directory", "model_path"} <= events[-1].keys()
    assert small_run.metrics["num_images"] == 360


def test_the_run_learns(small_run: Run) -> None:
    steps = [event for event in RunDirectory(small_run.directory).events() if event["event"] == "step"]
    assert steps[-1]["loss"] < 0.6 * steps[0]["loss"]
    assert small_run.metrics["top1"] > 0.5


def test_best_is_the_best_evaluation(small_run: Run) -> None:
    from resnets.weights.model_file import read_description

    evaluations = [event["top1"] for event in RunDirectory(small_run.directory).events() if event["event"] == "evaluation"]
    assert len(evaluations) == 2
    assert read_description(small_run.directory / "best.safetensors").metrics["top1"] == max(evaluations)
    assert read_description(small_run.model_path).metrics["top1"] == evaluations[-1] == small_run.metrics["top1"]


def test_the_same_recipe_gives_the_same_run_and_another_seed_another(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = small_recipe.updated(**{**EXACT, "max_steps": 6})
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(recipe.updated(output=tmp_path / name, seed=seed))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


@pytest.mark.parametrize("stop", [5, 22, 25], ids=["mid-epoch", "at the epoch's end", "second epoch"])
def test_resuming_is_exact(small_recipe: Recipe, tmp_path: Path, stop: int) -> None:
    """With everything that has a state: dropout, stochastic depth, augmentation, mixup, the average."""
    recipe = small_recipe.updated(
        **EXACT,
        network="cifar-resnet8:dropout=0.2,stochastic_depth=0.3",
        averaging={"decay": 0.9, "start": 0.3},
        augmentation={"mixup": 0.2, "cutmix": 1.0, "crop_padding": 1, "erasing": 2},
    )
    whole = train(recipe.updated(output=tmp_path / "whole"))
    with pytest.raises(Interrupted, match=f"after step {stop} of 30.*--resume {tmp_path / 'parts'}"):
        train(recipe.updated(output=tmp_path / "parts"), [stopping_at(stop)])
    parts = resume(tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    kinds = [[(event["event"], event["step"]) for event in RunDirectory(tmp_path / name).events()] for name in ("whole", "parts")]
    assert kinds[0] == kinds[1]
    assert parts.metrics["top1"] == whole.metrics["top1"]
    ours = weights(tmp_path / "parts")
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, ours[name]), name


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_resuming_is_exact_for_other_optimizers(small_recipe: Recipe, tmp_path: Path, optimizer: str) -> None:
    recipe = small_recipe.updated(**{**EXACT, "max_steps": 8}, optimizer={"name": optimizer, "learning_rate": 0.01})
    train(recipe.updated(output=tmp_path / "whole"))
    with pytest.raises(Interrupted):
        train(recipe.updated(output=tmp_path / "parts"), [stopping_at(4)])
    resume(tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


@pytest.mark.parametrize("stop", [10, 24])
def test_resuming_a_pruned_run_is_exact(small_recipe: Recipe, tmp_path: Path, stop: int) -> None:
    recipe = small_recipe.updated(**EXACT, pruning=0.4)
    train(recipe.updated(output=tmp_path / "whole"))
    with pytest.raises(Interrupted):
        train(recipe.updated(output=tmp_path / "parts"), [stopping_at(stop)])
    resume(tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 30


def test_accumulation_and_memory_format_do_not_change_what_is_learned(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = small_recipe.updated(**{**EXACT, "max_steps": 5}, precision="fp32", network="cifar-resnet8:norm=group,norm_groups=4")
    train(recipe.updated(output=tmp_path / "plain"))
    train(recipe.updated(output=tmp_path / "other", accumulation=4, channels_last=False))
    for (_, a), (_, b) in zip(losses(tmp_path / "plain"), losses(tmp_path / "other"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_a_checkpoint_of_another_network_is_refused(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = small_recipe.updated(**EXACT, output=tmp_path / "run")
    with pytest.raises(Interrupted):
        train(recipe, [stopping_at(2)])
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.updated(network="cifar-resnet14").to_yaml())
    with pytest.raises(ValueError, match="another network than the recipe's 'cifar-resnet14'"):
        resume(tmp_path / "run")


def test_a_damaged_or_hostile_checkpoint_is_refused_without_running_it(small_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(small_recipe.updated(**EXACT, output=tmp_path / "run"), [stopping_at(2)])
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged"):
        resume(tmp_path / "run")

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    torch.save({"format": Hostile()}, checkpoint)
    with pytest.raises(ValueError, match="damaged or is not a checkpoint"):
        resume(tmp_path / "run")
    assert not (tmp_path / "harm").exists()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no recipe\.yaml"):
        resume(tmp_path)


def test_a_run_is_never_overwritten(small_run: Run, small_recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=r"holds a run already.*--resume"):
        train(small_recipe.updated(output=small_run.directory))


def test_sigterm_from_outside_stops_and_saves(small_recipe: Recipe, tmp_path: Path) -> None:
    """As a cluster's scheduler does it, to another process."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(small_recipe.updated(epochs=500, log_every=1, evaluation__every=0, report=False).to_yaml())
    command = [sys.executable, "-m", "resnets", "train", "--recipe", str(recipe), "--output", str(tmp_path / "run"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "step":
                process.terminate()
                break
        _, message = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nothing is lost" in message
    assert "Traceback" not in message
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "run" / "model.safetensors").exists()
