"""Images held out, the file that remembers them, and lists of images to leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resnets.data.datasets.holdout import hold_out, read_exclusions, read_split_file, split_file, without
from resnets.data.doctor.findings import write_exclusions
from resnets.data.errors import DataError
from resnets.data.image_source import ImageFiles


def make_images(*counts: int) -> ImageFiles:
    paths = tuple(f"{'abcdef'[label]}/{i}.jpg" for label, count in enumerate(counts) for i in range(count))
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return ImageFiles("some", "all", Path("/root"), paths, labels, tuple("abcdef"[: len(counts)]))


def test_each_class_gives_its_share() -> None:
    rest, held = hold_out(make_images(50, 30, 20), 0.2, seed=3)
    assert np.bincount(held.labels).tolist() == [10, 6, 4]
    assert sorted(rest.paths + held.paths) == sorted(make_images(50, 30, 20).paths)
    assert held.paths == hold_out(make_images(50, 30, 20), 0.2, seed=3)[1].paths
    assert held.paths != hold_out(make_images(50, 30, 20), 0.2, seed=4)[1].paths


def test_the_only_image_of_a_class_is_never_held_out() -> None:
    for seed in range(20):
        rest, _ = hold_out(make_images(1, 2, 3), 0.5, seed)
        assert set(rest.labels.tolist()) == {0, 1, 2}
    with pytest.raises(ValueError, match="leaves one part empty"):
        hold_out(make_images(1, 1), 0.2, 0)
    with pytest.raises(ValueError, match="no image of a, b to learn from"):
        hold_out(make_images(2, 2, 20), 0.9, 0)


def test_a_split_is_remembered_whatever_comes_later(tmp_path: Path) -> None:
    before = make_images(10, 10)
    rest, held = hold_out(before, 0.3, 1)
    file = tmp_path / "split.csv"
    file.write_bytes(split_file(rest, held))
    again = read_split_file(file, before)
    assert (again[0].paths, again[1].paths, again[2]) == (rest.paths, held.paths, 0)
    assert (again[0].labels.tolist(), again[1].labels.tolist()) == (rest.labels.tolist(), held.labels.tolist())
    later = read_split_file(file, make_images(12, 10))
    assert (later[0].paths, later[1].paths, later[2]) == (rest.paths, held.paths, 2)
    with pytest.raises(DataError, match="classes are not those with which the run began"):
        read_split_file(file, make_images(10, 10, 4))
    file.write_text("path,label\n")
    with pytest.raises(DataError, match="damaged"):
        read_split_file(file, before)


def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    odd = b'a/\xff\xe4,"1".jpg'.decode("utf-8", "surrogateescape")
    some = ImageFiles("some", "all", tmp_path, (odd, "a/2.jpg", "b/1.jpg", "b/2.jpg"), np.array([0, 0, 1, 1]), ("a", "b"))
    (tmp_path / "split.csv").write_bytes(split_file(*hold_out(some, 0.5, 0)))
    rest, held, _ = read_split_file(tmp_path / "split.csv", some)
    assert sorted(rest.paths + held.paths) == sorted(some.paths)


def test_lists_of_images_to_leave_out(tmp_path: Path) -> None:
    some = make_images(3, 3)
    plain, table, doctors = tmp_path / "plain.txt", tmp_path / "table.csv", tmp_path / "doctor.csv"
    plain.write_text("# seen by hand\na/1.jpg\n\n/root/b/2.jpg\nabsent.jpg\n")
    table.write_text("label,path\na,a/1.jpg\nb,b/2.jpg\n")
    write_exclusions(doctors, {"a/1.jpg": "damaged: x, y", "b/2.jpg": "empty"})
    for file in (plain, table, doctors):
        left = without(some, read_exclusions(file))
        assert left.paths == ("a/0.jpg", "a/2.jpg", "b/0.jpg", "b/1.jpg")
        assert left.labels.tolist() == [0, 0, 1, 1]
    assert without(some, read_exclusions(tmp_path / "plain.txt") - {"a/1.jpg", "/root/b/2.jpg"}) is some
    with pytest.raises(ValueError, match="leaves no image of a"):
        without(some, {"a/0.jpg", "a/1.jpg", "a/2.jpg"})
    (tmp_path / "none.txt").write_text("")
    assert read_exclusions(tmp_path / "none.txt") == frozenset()
