"""Several processes train as one does."""

import datetime
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import processes
import pytest
import torch
import torch.distributed as dist

import resnets
from resnets.classification.recipe import Recipe
from resnets.classification.recipes import get_recipe
from resnets.tasks import train
from resnets.training.distributed import World, _unused_part
from resnets.training.run import Run, RunDirectory

WITHOUT_STATISTICS = "cifar-resnet8:norm=group,norm_groups=4"
EXACT = {"precision": "fp32", "log_every": 1, "epochs": 2, "max_steps": 8, "report": False, "evaluation__every": 0}


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in RunDirectory(run).events() if event["event"] == kind]


def assert_same(one: Path, several: Path, rel: float = 2e-4) -> None:
    """Losses step by step, and what was evaluated, agree within float error."""
    for a, b in zip(events(one, "step"), events(several, "step"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=rel)
    (done,), (shared,) = events(one, "done"), events(several, "done")
    assert shared["num_images"] == done["num_images"] == 360
    assert sum(map(sum, shared["confusion"])) == 360
    assert shared["loss"] == pytest.approx(done["loss"], rel=20 * rel)


@pytest.mark.parametrize("size", [2, 4])
def test_the_split_over_processes_changes_nothing(small_recipe: Recipe, tmp_path: Path, size: int) -> None:
    """1 process x 64 against 2 x 32 and 4 x 16, with random crops and erasing, on a network without batch statistics."""
    recipe = small_recipe.updated(**EXACT, network=WITHOUT_STATISTICS, augmentation={"crop_padding": 1, "erasing": 2})
    train(recipe.updated(output=tmp_path / "one"))
    processes.train_together(recipe.updated(output=tmp_path / "several"), size)
    assert_same(tmp_path / "one", tmp_path / "several")


def test_with_synchronised_statistics_it_changes_nothing_either(small_recipe: Recipe, tmp_path: Path) -> None:
    # A small rate: batch statistics amplify the last bits of a sum that is taken in another order.
    recipe = small_recipe.updated(**EXACT, distributed={"synchronized_norm": True}, optimizer={"learning_rate": 0.01})
    train(recipe.updated(output=tmp_path / "one"))
    processes.train_together(recipe.updated(output=tmp_path / "several"), 2)
    assert_same(tmp_path / "one", tmp_path / "several")
    one, several = (resnets.load_model(tmp_path / name / "model.safetensors").state_dict() for name in ("one", "several"))
    for name in (name for name in one if "running" in name):
        torch.testing.assert_close(several[name], one[name], rtol=1e-3, atol=1e-4)


def test_without_them_each_process_normalises_by_its_own_rows(small_recipe: Recipe, tmp_path: Path) -> None:
    """The check above can fail: plain batch norms see halves."""
    recipe = small_recipe.updated(**EXACT)
    train(recipe.updated(output=tmp_path / "one"))
    processes.train_together(recipe.updated(output=tmp_path / "several"), 2)
    losses = [[event["loss"] for event in events(tmp_path / name, "step")] for name in ("one", "several")]
    assert losses[0][0] != pytest.approx(losses[1][0], rel=2e-5)


def test_accumulation_pruning_and_uneven_shares(small_recipe: Recipe, tmp_path: Path) -> None:
    """Batches of 63 rows over two processes, each in three parts, and epochs that leave out learned images."""
    recipe = small_recipe.updated(
        **{**EXACT, "max_steps": 26}, network=WITHOUT_STATISTICS, batch_size=63, accumulation=3, pruning=0.4
    )
    train(recipe.updated(output=tmp_path / "one"))
    processes.train_together(recipe.updated(output=tmp_path / "several"), 2)
    losses = [[event["loss"] for event in events(tmp_path / name, "step")] for name in ("one", "several")]
    # Until the end of the first epoch; then two losses that differ in the last bits may change places in the choice.
    assert losses[0][:22] == pytest.approx(losses[1][:22], rel=1e-2)
    assert len(losses[0]) == len(losses[1]) == 26


def test_fine_tuning_is_shared_too(small_run: Run, small_recipe: Recipe, tmp_path: Path) -> None:
    """The head learns alone at first, then the stages after the frozen one, with balanced batches."""
    recipe = small_recipe.updated(
        **{**EXACT, "max_steps": 10}, weights=str(small_run.model_path), bn="stats-frozen", sampling="balanced",
        fine_tuning={"head_first": 0.5, "freeze": "conv2_x"}, optimizer={"learning_rate": 0.01},
    )  # fmt: skip
    train(recipe.updated(output=tmp_path / "one"))
    processes.train_together(recipe.updated(output=tmp_path / "several"), 2)
    assert_same(tmp_path / "one", tmp_path / "several")


def torchrun(arguments: list[str], folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "resnets", "train", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


LAUNCH = {"network": "cifar-resnet8", "epochs": 3, "checkpoint_steps": 5, "report": False, "log_every": 1}


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that torchrun has started."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the worker through /proc")
def test_a_lost_worker_is_replaced_and_training_goes_on(tmp_path: Path) -> None:
    """torchrun starts the same command; one worker is killed in the middle; the run ends as the undisturbed one did."""
    recipe = get_recipe("digits", **LAUNCH)
    processes.train_together(recipe.updated(output=tmp_path / "quiet"), 2)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    # This one takes a directory of its own choice, which the replaced workers must find again.
    options = ("--standalone", "--nproc-per-node", "2", "--max-restarts", "3")
    shaken = torchrun(["--recipe", "recipe.yaml"], tmp_path, *options)
    run = RunDirectory(tmp_path / "runs" / "digits-1")
    deadline = time.monotonic() + 200
    while not run.checkpoint.exists():
        assert time.monotonic() < deadline, "no checkpoint came"
        assert shaken.poll() is None, shaken.communicate()[1]
        time.sleep(0.02)
    os.kill(workers_of(shaken)[-1], signal.SIGKILL)
    said, errors = shaken.communicate(timeout=300)
    assert shaken.returncode == 0, errors
    assert "going on after step" in errors
    assert "accuracy " in said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits-1"]
    steps = [[(e["step"], e["loss"]) for e in events(folder, "step")] for folder in (tmp_path / "quiet", run.path)]
    assert steps[0] == steps[1]
    weights = [resnets.load_model(folder / "model.safetensors").state_dict() for folder in (tmp_path / "quiet", run.path)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert said.count("use it  ") == 1, "only the main process reports"


@pytest.mark.parametrize("first", [0, 1], ids=["first-process-early", "second-process-early"])
def test_processes_of_a_new_attempt_read_nothing_of_the_last_one(first: int) -> None:
    """torchrun keeps the store: the addresses of processes that died are in it when their successors come."""
    store, timeout = dist.HashStore(), datetime.timedelta(seconds=20)

    def parts(ranks: tuple[int, ...]) -> list[dist.Store]:
        with ThreadPoolExecutor(len(ranks)) as pool:
            jobs = []
            for rank in ranks:
                jobs.append(pool.submit(_unused_part, store, World(rank, len(ranks)), timeout))
                time.sleep(0.1)
            return [job.result() for job in jobs]

    for part in parts((0, 1)):
        part.set("address", "of a dead process")
    one, other = parts((first, 1 - first))
    assert not one.check(["address"])
    one.set("address", "of a living one")
    assert other.get("address") == b"of a living one"


def test_a_process_that_does_not_come_is_named() -> None:
    with pytest.raises(dist.DistStoreError, match="process 1 of 3 did not join within 0 s"):
        _unused_part(dist.HashStore(), World(0, 3), datetime.timedelta(seconds=0.1))


def test_a_world_of_one_needs_no_group(small_run: Run) -> None:
    assert not torch.distributed.is_initialized()
