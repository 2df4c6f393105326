"""One process at a time trains in a run directory, and clocks decide nothing."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from resnets.classification.recipe import Recipe
from resnets.cli import main
from resnets.core.claims import LOCK, InUse, hold
from resnets.tasks import open_session, resume, train
from resnets.training import run as run_module
from resnets.training.checkpoint import load_checkpoint, previous
from resnets.training.run import RunDirectory

QUICK = {"log_every": 1, "max_steps": 6, "epochs": 1, "checkpoint_steps": 2, "evaluation__every": 0, "report": False}


class Killed(Exception):
    """Stands for a SIGKILL."""


def test_a_run_that_trains_is_neither_resumed_nor_begun_again(
    small_recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    recipe = small_recipe.updated(**QUICK)
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(recipe.to_yaml())
    statuses: list[int] = []
    before: list[bytes] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            before.append((run / "metrics.jsonl").read_bytes())
            statuses.append(main(["train", "--resume", str(run)]))
            statuses.append(main(["train", "--recipe", str(recipe_file), "--output", str(run)]))
            before.append((run / "metrics.jsonl").read_bytes())

    train(recipe.updated(output=run), [listen])
    assert statuses == [1, 1]
    words = capsys.readouterr().err
    assert words.count(f"{run} is in use by process {os.getpid()} on ") == 2
    assert "since 20" in words
    assert before[0] == before[1], "the others have not touched the run"
    assert not (run / LOCK).exists()
    with pytest.raises(ValueError, match="holds a run already"):
        train(recipe.updated(output=run))


def test_a_directory_that_cannot_be_claimed_stays_as_it_is(small_recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with hold(run / LOCK, run):
        with ExitStack() as claims, pytest.raises(InUse):
            RunDirectory.create(small_recipe.updated(output=run), claims)
        assert [path.name for path in run.iterdir()] == [LOCK]


def test_runs_without_a_name_get_the_next_number(small_recipe: Recipe, in_folder: Path) -> None:
    with ExitStack() as claims:
        made = [RunDirectory.create(small_recipe, claims).path for _ in range(3)]
        assert [path.name for path in made] == ["digits-1", "digits-2", "digits-3"]
        assert all((path / LOCK).is_file() for path in made)
    assert not list(in_folder.rglob(LOCK))


def test_a_clock_that_was_set_back_changes_nothing_of_what_is_gone_on_with(
    small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe.updated(**QUICK, output=tmp_path / "run")

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 5:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, [stop])
    newest = RunDirectory(tmp_path / "run").checkpoint
    os.utime(newest, (1, 1))
    os.utime(previous(newest), (4e9, 4e9))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 1e8)
    said: list[str] = []
    done = resume(tmp_path / "run", [lambda event: said.append(event.get("message", ""))])
    assert "going on after step 4 of 6" in said
    assert done.metrics["training_seconds"] > 0
    assert load_checkpoint(newest, open_session(recipe, lambda message: None)).step == 6


def test_torchrun_started_anew_goes_on_with_the_last_number_and_not_by_the_clock(
    small_recipe: Recipe, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as claims:
        made = [RunDirectory.create(small_recipe, claims).path for _ in range(11)]
    for age, path in enumerate(made):
        os.utime(path / "recipe.yaml", (1_000 - age, 1_000 - age))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert run_module._restarted(small_recipe) == Path("runs/digits-11")
