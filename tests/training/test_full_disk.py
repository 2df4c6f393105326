"""A full disk costs nothing that is written: the run warns, trains on, tries again, and says at its end what it could not write."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from resnets.classification.recipe import Recipe
from resnets.cli import main
from resnets.core import files
from resnets.core.errors import JobError
from resnets.core.files import atomic
from resnets.tasks import open_session, resume, train
from resnets.training import run as run_module
from resnets.training.checkpoint import load_checkpoint
from resnets.training.loop import Interrupted
from resnets.training.run import RunDirectory

QUICK = {"log_every": 1, "max_steps": 12, "epochs": 1, "checkpoint_steps": 4, "evaluation__every": 0, "report": False}
Listens = Callable[[dict[str, Any]], None]


class Disk:
    """A disk that is full while `full` says so of a file's name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full: Callable[[str], bool] = lambda name: False
        real = files._Remembering.write
        disk = self

        def write(raw: Any, content: Any) -> int:
            name = Path(os.readlink(f"/proc/self/fd/{raw.fileno()}")).name
            if disk.full(name):
                try:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError as error:
                    raw.failure = error
                    raise
            return real(raw, content)

        monkeypatch.setattr(files._Remembering, "write", write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not say which file a descriptor is of")
    return Disk(monkeypatch)


def at_step(disk: Disk, steps: dict[int, Callable[[str], bool]], said: list[str]) -> Listens:
    """From each step on the disk is full of what it says."""

    def listen(event: dict[str, Any]) -> None:
        if event["event"] in ("step", "progress"):
            disk.full = steps.get(event["step"], disk.full)
        said.append(event.get("message", ""))

    return listen


def losses(run: Path) -> list[tuple[int, float]]:
    return [(event["step"], event["loss"]) for event in RunDirectory(run).events() if event["event"] == "step"]


def test_an_error_of_the_disk_within_torchs_writer_keeps_its_reason(tmp_path: Path, disk: Disk) -> None:
    disk.full = lambda name: True
    (tmp_path / "checkpoint.pt").write_bytes(b"before")
    with (
        pytest.raises(OSError, match=r"could not write .*checkpoint\.pt: No space left on device") as caught,
        atomic(tmp_path / "checkpoint.pt") as file,
    ):
        torch.save({"weights": torch.zeros(100_000)}, file)
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"before"


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a defect"), atomic(tmp_path / "x"):
        raise RuntimeError("a defect")


def test_a_checkpoint_that_the_disk_does_not_take_leaves_the_one_before_and_is_tried_again(
    small_recipe: Recipe, tmp_path: Path, disk: Disk
) -> None:
    said: list[str] = []
    recipe = small_recipe.updated(**{**QUICK, "checkpoint_steps": 2}, output=tmp_path / "run")
    newest = RunDirectory(tmp_path / "run").checkpoint
    found = []
    session = open_session(recipe, lambda message: None)

    def look(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] in (7, 11):
            found.append(load_checkpoint(newest, session).step)

    full = at_step(disk, {3: lambda name: "checkpoint" in name, 8: lambda name: False}, said)
    train(recipe, [look, full])
    assert found == [2, 10], "at step 7 those of 4 and 6 were not to be had, and after step 8 there was room"
    warnings = [words for words in said if "No space left on device" in words]
    assert len(warnings) == 1, "once, and not for each checkpoint"
    assert "MB are free in" in warnings[0]
    assert "training goes on" in warnings[0]
    assert any("checkpoint.pt is written again" in words for words in said)
    assert not list((tmp_path / "run").glob(".*.part"))


def test_a_run_whose_disk_stays_full_ends_with_the_advice_and_goes_on_when_there_is_room(
    small_recipe: Recipe, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    recipe = small_recipe.updated(**QUICK)
    train(recipe.updated(output=tmp_path / "whole"))
    said: list[str] = []
    with pytest.raises(JobError, match="training came to its end") as caught:
        train(recipe.updated(output=tmp_path / "run"), [at_step(disk, {5: lambda name: True}, said)])
    words = str(caught.value)
    assert "checkpoint.pt, best.safetensors, model.safetensors could not be written" in words
    assert "No space left on device" in words
    assert "MB are free in" in words
    assert f"resnets train --resume {tmp_path / 'run'}" in words
    assert "meanwhile" not in words, "there was no room elsewhere either"
    assert not list(elsewhere.iterdir())
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.pt", "data.json.gz", "environment.json", "metrics.jsonl", "recipe.yaml",
    ]  # fmt: skip
    disk.full = lambda name: False
    resume(tmp_path / "run")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    whole, parts = (torch.load(tmp_path / name / "checkpoint.pt")["network"] for name in ("whole", "run"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_final_model_is_saved_elsewhere_where_its_directory_has_no_room(
    small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    real = run_module.save_checkpoint

    def save(path: Path, *rest: Any) -> None:
        real(path, *rest)
        (path.parent / "model.safetensors").mkdir(exist_ok=True)  # which no file can replace

    monkeypatch.setattr(run_module, "save_checkpoint", save)
    (tmp_path / "recipe.yaml").write_text(small_recipe.updated(**QUICK).to_yaml())
    assert main(["train", "--recipe", str(tmp_path / "recipe.yaml"), "--output", str(tmp_path / "run")]) == 1
    (model,) = elsewhere.glob("resnets-run-*/model.safetensors")
    words = capsys.readouterr().err
    assert f"the model is in {model} meanwhile" in words.replace("\n", "")
    assert "looks like a defect" not in words


def test_a_log_whose_lines_found_no_room_holds_all_of_them_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(tmp_path)
    run.log({"event": "step", "step": 1})
    whole = run.metrics.read_bytes()
    real = Path.open

    class Half:
        """Takes half a line, and then no more."""

        def __init__(self, file: Any) -> None:
            self.file, self.taken = file, 0

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content: Any) -> int:
            self.taken += 1
            if self.taken > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(self.file.write(content[:10]))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *a, **k: Half(real(self, *a, **k)))
        for step in (2, 3):
            with pytest.raises(OSError, match=r"could not write .*metrics\.jsonl: No space left"):
                run.log({"event": "step", "step": step})
    assert run.metrics.read_bytes() == whole
    assert [event["step"] for event in run.events()] == [1, 2, 3]
    run.log({"event": "step", "step": 4})
    assert [event["step"] for event in RunDirectory(tmp_path).events()] == [1, 2, 3, 4]


def test_the_best_model_that_found_no_room_is_kept_until_there_is_some(small_recipe: Recipe, tmp_path: Path, disk: Disk) -> None:
    """Written late, it is the network as it was at that evaluation."""
    import resnets

    quick = {**QUICK, "epochs": 2, "max_steps": None, "evaluation__every": 1}
    recipe = small_recipe.updated(**quick)
    best: list[str] = []
    copied = tmp_path / "whole" / "first.safetensors"

    def keep(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            best.append(event["top1"])
        if event["event"] in ("step", "progress") and len(best) == 1 and not copied.exists():
            copied.write_bytes(RunDirectory(tmp_path / "whole").best.read_bytes())

    train(recipe.updated(output=tmp_path / "whole"), [keep])
    evaluated: list[int] = []
    late = tmp_path / "late.safetensors"

    def full(event: dict[str, Any]) -> None:
        disk.full = lambda name: "best" in name and not evaluated
        if event["event"] == "evaluation":
            evaluated.append(event["step"])
            disk.full = lambda name: "best" in name
        if event["event"] in ("step", "progress") and evaluated:
            disk.full = lambda name: False
            found = RunDirectory(tmp_path / "run").best
            if found.exists() and not late.exists():
                late.write_bytes(found.read_bytes())

    train(recipe.updated(output=tmp_path / "run"), [full])
    then, now = (resnets.load_model(path).state_dict() for path in (copied, late))
    assert all(torch.equal(then[name], now[name]) for name in then)


def test_a_stop_whose_checkpoint_finds_no_room_says_which_one_is_the_newest(
    small_recipe: Recipe, tmp_path: Path, disk: Disk
) -> None:
    import signal

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 6:
            disk.full = lambda name: "checkpoint" in name
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(JobError, match=r"stopped after step 6; .*the newest checkpoint is that after step 4") as caught:
        train(small_recipe.updated(**QUICK, output=tmp_path / "run"), [listen])
    assert not isinstance(caught.value, Interrupted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real one, of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_disk_that_is_full(small_recipe: Recipe, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small_disk / "run"
    recipe = small_recipe.updated(**QUICK)
    recipe_file = small_disk.parent / "recipe.yaml"
    recipe_file.write_text(recipe.to_yaml())
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize - 100_000))
    assert main(["train", "--recipe", str(recipe_file), "--output", str(run)]) == 1
    words = " ".join(capsys.readouterr().err.split())
    assert "No space left on device" in words
    assert "training came to its end" in words
    assert "defect" not in words
    filler.unlink()
    assert main(["train", "--resume", str(run)]) == 0
    assert [step for step, _ in losses(run)] == list(range(1, 13))
