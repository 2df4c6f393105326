"""Full disks, read-only folders and damaged data: one sentence, exit status 1 or 2, nothing half written."""

import importlib
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnets.cli import main

TRAIN = ["train", "digits", "--network", "cifar-resnet8", "--epochs", "1"]


@pytest.fixture
def unprivileged_folder() -> Iterator[Path]:
    """A folder that this process may read but not write, even where the tests run as root."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "read-only"
        place.mkdir()
        os.chmod(folder, 0o755)
        place.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        is_root = os.geteuid() == 0
        importlib.import_module("colorsys")  # Python's own modules are where the other user may not read
        importlib.import_module("PIL.Image").init()

        if is_root:
            os.seteuid(65534)
        try:
            yield place
        finally:
            if is_root:
                os.seteuid(0)


def test_a_read_only_run_directory(unprivileged_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([*TRAIN, "--output", str(unprivileged_folder / "run")])
    errors = capsys.readouterr().err
    assert status == 1
    assert f"resnets: cannot make the run directory {unprivileged_folder / 'run'}: Permission denied" in errors
    assert "Traceback" not in errors
    assert list(unprivileged_folder.iterdir()) == []


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """The system itself refuses to write more than so many bytes per file, as a full disk does in the middle of one."""
    program = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        f"from resnets.cli import main; sys.exit(main({[*TRAIN, '--output', str(tmp_path / 'run')]!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000
    assert done.returncode == 1
    assert "could not write" in done.stderr
    assert "nothing was changed" in done.stderr
    assert "Traceback" not in done.stderr
    names = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert names == ["data.json.gz", "environment.json", "metrics.jsonl", "recipe.yaml"]


def test_a_plot_into_a_missing_folder(small_run: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["evaluate", str(small_run.directory), "--plot", str(tmp_path / "absent" / "plot.png")])  # type: ignore[attr-defined]
    assert status == 2
    assert "could not write" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_data(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr("resnets.data.datasets.locate.DEBIAN_FOLDER", tmp_path / "not-installed")
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    if damage == "truncated":
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (folder / f"{name}-ubyte.gz").write_bytes(b"\x1f\x8b\x08\x00" + bytes(20))
    status = main(["train", "fashion-mnist", "--data-folder", str(folder), "--output", str(tmp_path / "run")])
    errors = capsys.readouterr().err
    assert status == 2
    assert "Traceback" not in errors
    if damage == "truncated":
        assert "train-images-idx3-ubyte.gz" in errors
    else:
        assert "the files of fashion-mnist were not found. Tried:" in errors
        assert "What to do:" in errors
    assert not (tmp_path / "run").exists()
