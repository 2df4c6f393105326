"""Folders and locks of one process alone, whatever others do at the same moment."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from resnets.core import claims
from resnets.core.claims import Holder, InUse, hold, hold_file, new_folder

HOLDS = """
import sys
from pathlib import Path
from resnets.core import claims
if sys.argv[2] == "made":
    claims.fcntl = None
with claims.hold(Path(sys.argv[1]), Path("runs/here")):
    print("held", flush=True)
    sys.stdin.read()
"""

CLAIMS = """
import sys
from pathlib import Path
from resnets.core import claims
if sys.argv[2] == "made":
    claims.fcntl = None
for line in sys.stdin:
    number = line.strip()
    made = claims.new_folder(Path(sys.argv[1]) / number, "run").name
    try:
        with claims.hold(Path(sys.argv[1]) / f"{number}.lock", Path(number)):
            print(made, "held", flush=True)
            sys.stdin.readline()
    except claims.InUse:
        print(made, "refused", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
"""


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


KINDS = pytest.mark.parametrize("kind", ["flock", "made"])
"""With the system's locks, and as on a file system that has none."""


@pytest.fixture
def of_kind(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "made":
        monkeypatch.setattr(claims, "fcntl", None)


@KINDS
def test_of_four_that_start_at_once_each_gets_a_folder_and_one_the_lock(kind: str, tmp_path: Path) -> None:
    processes = [started(CLAIMS, str(tmp_path), kind) for _ in range(4)]
    try:
        for number in range(40):
            (tmp_path / str(number)).mkdir()
            for process in processes:
                tell(process, str(number))
            found = [heard(process).split() for process in processes]
            assert sorted(name for name, _ in found) == ["run-1", "run-2", "run-3", "run-4"]
            assert sorted(what for _, what in found) == ["held", "refused", "refused", "refused"]
            for process in processes:
                tell(process, "go on")
            assert [heard(process) for process in processes] == ["free"] * 4
        assert not list(tmp_path.glob("*.lock"))
        assert not list(tmp_path.glob(".*"))
    finally:
        for process in processes:
            process.communicate(timeout=30)


@KINDS
def test_a_second_holder_is_refused_by_name(kind: str, of_kind: None, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = started(HOLDS, str(lock), kind)
    assert heard(process) == "held"
    who = f"process {process.pid} on {platform.node()}, since 20"
    with pytest.raises(InUse, match="runs/here is in use by") as refused, hold(lock, Path("runs/here")):
        pass
    assert who in str(refused.value)
    process.communicate(timeout=30)
    with hold(lock, Path("runs/here")):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


@KINDS
def test_what_a_killed_process_left_is_taken_over_with_a_line_that_says_so(kind: str, of_kind: None, tmp_path: Path) -> None:
    lock, said = tmp_path / "lock", []
    process = started(HOLDS, str(lock), kind)
    assert heard(process) == "held"
    process.kill()
    process.communicate(timeout=30)
    with hold(lock, Path("runs/here"), said.append):
        pass
    assert len(said) == 1
    assert f"was left locked by process {process.pid} on {platform.node()}" in said[0]
    with hold(lock, Path("runs/here"), said.append):
        pass
    assert len(said) == 1, "nothing was left the second time"


@KINDS
def test_a_lock_is_refused_to_the_same_process_and_freed_by_an_error(kind: str, of_kind: None, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"

    def fails() -> None:
        with hold_file(output):
            with pytest.raises(InUse, match=f"out.parquet is in use by process {os.getpid()}"), hold_file(output):
                pass
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    with hold_file(tmp_path / "out.parquet"):
        pass
    assert not list(tmp_path.iterdir())


@KINDS
def test_who_waits_gets_the_lock_when_it_is_free(kind: str, of_kind: None, tmp_path: Path) -> None:
    process = started(HOLDS, str(tmp_path / "lock"), kind)
    assert heard(process) == "held"
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        process.communicate(timeout=30)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "time", SimpleNamespace(sleep=sleep, strftime=time.strftime))
        with hold(tmp_path / "lock", Path("runs/here"), wait=True):
            pass
    assert len(slept) == 1


def test_a_number_that_another_process_has_now_is_told_from_the_dead_one() -> None:
    here = Holder.here()
    assert here.may_live()
    if not here.begun:
        pytest.skip("the system does not say when a process began")
    assert not Holder(here.host, here.pid, here.since, begun="1").may_live()
    assert Holder("another-host", here.pid, here.since, begun="1").may_live(), "what runs there cannot be seen from here"


def test_a_clock_that_was_set_back_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "fcntl", None)
    lock = tmp_path / "lock"
    with hold(lock, Path("runs/here")):
        os.utime(lock, (4e9, 4e9))
        monkeypatch.setattr(time, "time", lambda: 0.0)
        with pytest.raises(InUse), hold(lock, Path("runs/here")):
            pass


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not list the children of a process")
def test_a_forked_process_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    program = HOLDS.replace('print("held"', 'import os, time; os.fork() or time.sleep(60)\n    print("held", os.getpid()')
    process = started(program, str(tmp_path / "lock"), "flock")
    assert heard(process) == f"held {process.pid}"
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    try:
        process.kill()
        process.wait(timeout=30)
        with hold(tmp_path / "lock", Path("runs/here")):
            os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_that_its_holder_took_away_meanwhile_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the file and locking it."""
    fcntl = pytest.importorskip("fcntl")
    lock, removed = tmp_path / "lock", []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(lock)
            lock.unlink()
        fcntl.flock(descriptor, operation)

    names = {name: getattr(fcntl, name) for name in ("LOCK_EX", "LOCK_NB")}
    monkeypatch.setattr(claims, "fcntl", SimpleNamespace(flock=flock, **names))
    with hold(lock, Path("runs/here")):
        assert lock.exists()
        with pytest.raises(InUse), hold(lock, Path("runs/here")):
            pass
    assert removed


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    names = {name: getattr(fcntl, name) for name in ("LOCK_EX", "LOCK_NB")}
    monkeypatch.setattr(claims, "fcntl", SimpleNamespace(flock=flock, **names))
    with (
        hold(tmp_path / "lock", Path("runs/here")),
        pytest.raises(InUse, match="if that process is gone, remove"),
        hold(tmp_path / "lock", Path("runs/here")),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_taken_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "runs" / "digits-1").mkdir(parents=True)
    (tmp_path / "runs" / "digits-3").write_text("a file")
    assert [new_folder(tmp_path / "runs", "digits").name for _ in range(3)] == ["digits-2", "digits-4", "digits-5"]
