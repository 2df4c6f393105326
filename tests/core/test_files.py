"""Files that are whole or absent."""

import errno
import os
from pathlib import Path

import pytest

from resnets.core.files import atomic, write_atomically


def test_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    reference = tmp_path / "b"
    reference.touch()
    assert path.stat().st_mode == reference.stat().st_mode
    write_atomically(path, b"\x00")
    assert path.read_bytes() == b"\x00"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fill() -> None:
        with atomic(path) as file:
            file.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fill()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not write .*a\.txt: No space left on device; nothing was changed"):
        write_atomically(tmp_path / "a.txt", "text")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"could not write .*absent"):
        write_atomically(tmp_path / "absent" / "a.txt", "text")
