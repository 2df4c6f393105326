"""The IDX format: a round trip, known bytes, and every way in which a file can be wrong."""

from __future__ import annotations

import errno
import functools
import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from resnets.data.errors import DataError
from resnets.data.sources.idx import idx_header, read_idx, write_idx

ARRAYS = arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))
# Two rows of three elements, written out by hand from the description of the format.
KNOWN = b"\x00\x00\x08\x02" + b"\x00\x00\x00\x02" + b"\x00\x00\x00\x03" + bytes([1, 2, 3, 4, 5, 255])

packed = functools.partial(gzip.compress, mtime=0)
"""The time would make each process name these cases differently."""


@settings(max_examples=60, deadline=None)
@given(array=ARRAYS, name=st.sampled_from(["array-idx", "array-idx.gz"]))
def test_what_was_written_is_read(array: np.ndarray, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_idx(Path(folder, name), array)
        back = read_idx(Path(folder, name))
        assert os.listdir(folder) == [name]
    assert back.dtype == np.uint8
    assert back.flags.writeable
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_known_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(KNOWN)
    (tmp_path / "a.gz").write_bytes(gzip.compress(KNOWN, mtime=0))
    for name in ("a", "a.gz"):
        assert read_idx(tmp_path / name).tolist() == [[1, 2, 3], [4, 5, 255]]
    write_idx(tmp_path / "b", np.array([[1, 2, 3], [4, 5, 255]], np.uint8))
    assert (tmp_path / "b").read_bytes() == KNOWN


def test_equal_arrays_give_equal_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(30, dtype=np.uint8).reshape(5, 6)
    write_idx(tmp_path / "a.gz", array)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_idx(tmp_path / "b.gz", array)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 100_001), dtype=np.uint8)
    for name in ("a", "a.gz"):
        write_idx(tmp_path / name, array)
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)


@settings(max_examples=60, deadline=None)
@given(array=ARRAYS, name=st.sampled_from(["a", "a.gz"]), data=st.data())
def test_any_truncation_is_an_error(array: np.ndarray, name: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_idx(path, array)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(DataError, match=path.name):
            read_idx(path)


@settings(max_examples=100, deadline=None)
@given(array=ARRAYS, data=st.data())
def test_a_damaged_archive_never_gives_other_numbers(array: np.ndarray, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.gz")
        write_idx(path, array)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        try:
            back = read_idx(path)
        except DataError:
            return
        np.testing.assert_array_equal(back, array)  # the time stamp or another field that means nothing to us


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"", "not an IDX file"),
        ("a", b"\x00\x00\x08", "not an IDX file"),
        ("a", b"<!DOCTYPE html>", "not an IDX file"),
        ("a", b"\x00\x00\x08\x00\x07", "not an IDX file"),  # rank 0
        ("a", KNOWN[:7], "cut short within its header"),
        ("a", KNOWN[:-1], "header promises 6 elements and it has room for 5"),
        ("a", KNOWN + b"\x00", "goes on after the 6 elements"),
        ("a", b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00", "float32 .type code 0x0d."),
        ("a", b"\x00\x00\x77\x01\x00\x00\x00\x01\x00", "unknown type .type code 0x77."),
        ("a", b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", "cut short: its header promises"),
        ("a", packed(KNOWN), "rename it to a.gz"),
        ("a.gz", KNOWN, "not a sound gzip file"),
        ("a.gz", b"<!DOCTYPE html>", "not a sound gzip file"),
        ("a.gz", b"", "not an IDX file"),
        ("a.gz", packed(KNOWN)[:-9], "damaged or cut short"),
        ("a.gz", packed(KNOWN) + b"more", "not a sound gzip file"),
        ("a.gz", packed(KNOWN + b"\x00"), "goes on after the 6 elements"),
        ("a.gz", packed(KNOWN[:-1]), "header promises 6 elements and it has room for 5"),
        ("a.gz", packed(b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff"), "cut short: its header promises"),
        ("a.gz", packed(b"PK\x03\x04"), "not an IDX file"),
        ("a", b"\x00\x00\x08\x41" + bytes(4 * 65), "65 dimensions that no array has"),
        ("a.gz", packed(b"\x00\x00\x08\x03" + bytes(4) + b"\xff" * 8), "3 dimensions that no array has"),
    ],
)
def test_each_corruption_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.gz cannot be read: No such file"):
        read_idx(tmp_path / "none.gz")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)


def test_only_unsigned_bytes_and_ranks_that_the_format_has_are_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this one is float32"):
        write_idx(tmp_path / "a", np.zeros(3, np.float32))
    with pytest.raises(DataError, match="rank is 1 to 255"):
        write_idx(tmp_path / "a", np.array(3, np.uint8))
    with pytest.raises(DataError, match=r"below 2\*\*32"):
        idx_header((1 << 32,))
    assert list(tmp_path.glob("a*")) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    write_idx(folder / "a", np.array([1], np.uint8))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_idx(folder / "a", np.array([2], np.uint8))
    assert os.listdir(folder) == ["a"]
    assert read_idx(folder / "a").tolist() == [1]
