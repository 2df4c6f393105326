"""--processes: the command in several processes of this machine, whose errors are sentences and whose exit status is a process's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnets.cli import main


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "resnets", *arguments], capture_output=True, text=True, timeout=300, check=False, env=environment
    )


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    options = ("--max-steps", "3", "--log-every", "1", "--no-report", "--output", str(tmp_path / "run"), "--json")
    done = command("train", "digits", *options, "--processes", "2")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]  # the main process reports, and nothing but this
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3]
    assert [event["event"] for event in events].count("done") == 1
    assert "2 processes, 1 threads each" in done.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()
    one = command("train", "digits", *options[:-2], str(tmp_path / "one"), "--json", "--processes=1")
    losses = [
        [event["loss"] for event in found if event["event"] == "step"]
        for found in (events, map(json.loads, one.stdout.splitlines()))
    ]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.2)  # of the same batch, but each process has the norms of its part


def test_a_process_that_fails_says_why_and_is_the_exit_status(tmp_path: Path) -> None:
    done = command("train", "cifar10-he2015", "--data-folder", str(tmp_path), "--processes", "2")
    assert done.returncode == 2  # as one process has it
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits", "--processes", "0"], "--processes takes their number, 1 or more, not 0"),
        (["digits", "--processes", "two"], "not 'two'"),
        (["digits", "--processes"], "--processes needs a value after it"),
        (["digits", "--processes", "2", "--epochs", "0"], "epochs"),
        (["--resume", "runs/any", "--prove", "--processes", "2"], "leave --processes off"),
    ],
)
def test_what_is_wrong_is_said_before_any_is_started(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *arguments]) in (1, 2)
    assert said in capsys.readouterr().err


def test_not_within_torchruns_processes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "0")
    assert main(["train", "digits", "--processes", "2"]) in (1, 2)
    assert "torchrun has started processes already" in capsys.readouterr().err
