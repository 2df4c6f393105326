"""Stored pixels: the right ones, found again, made anew when damaged, and nothing left behind when the disk is full."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from image_files import image_files

from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.loaders import pixel_store
from resnets.data.loaders.pixel_store import disk_store, memory_store, read_store
from resnets.data.loaders.rows import fitted, opened
from resnets.data.loaders.storage import choose_place, expected_bytes, pixel_file
from resnets.data.loaders.stored_images import Stored

SEEN = Preprocessing(size=32, resize=36)
TRAINING, EVALUATION = Stored.for_training(SEEN), Stored.for_evaluation(SEEN)


def test_what_training_keeps_by_hand() -> None:
    shapes = {
        (72, 48): (54, 36),
        (48, 72): (36, 54),
        (30, 40): (30, 40),
        (360, 36): (72, 36),
        (361, 36): (73, 36),
        (20, 200): (36, 72),
    }
    assert {shape: TRAINING.shape(*shape) for shape in shapes} == shapes
    assert Stored.for_training(Preprocessing(size=224)).side == 256


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("length", range(100, 120))
@pytest.mark.parametrize("size", [31, 32])
def test_evaluation_from_what_training_keeps_is_that_of_the_image(length: int, size: int, interpolation: str) -> None:
    """Also where the middle of a long image is kept: its centred crop is where that of the whole does, to the pixel."""
    seen = Preprocessing.model_validate({"size": size, "resize": 36, "interpolation": interpolation})
    pixels = np.random.default_rng(length).integers(0, 256, (30, length, 3)).astype(np.uint8)
    kept = Stored.for_training(seen).made(pixels)
    assert kept.shape == (*Stored.for_training(seen).shape(30, length), 3)
    assert np.array_equal(fitted(kept, seen), fitted(pixels, seen))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stored", [TRAINING, EVALUATION])
def test_memory_and_disk_hold_the_same(stored: Stored, workers: int, tmp_path: Path, reports: list[str]) -> None:
    source = image_files(tmp_path / "images", 40, broken=(4, 7), missing=(11,))
    memory = memory_store(source, stored, workers=workers, folder=None, report=reports.append)
    disk = disk_store(source, stored, workers=workers, folder=tmp_path / "cache", report=reports.append)
    for store in (memory, disk):
        assert store.kept.tolist() == [i for i in range(40) if i not in (4, 7, 11)]
        assert [name for name, _ in store.excluded] == ["004.jpg", "007.png", "011.png"]
        assert "runcated" in store.excluded[0][1]
        assert "cannot be read: No such file" in store.excluded[2][1]
        for place, index in enumerate(store.kept):
            assert np.array_equal(store.pixels(place), stored.made(opened(source, int(index), 3).pixels()))
    assert expected_bytes(source, stored) == pytest.approx(sum(memory.pixels(i).size for i in range(37)) * 40 / 37, rel=0.05)


def test_images_lie_whole_in_segments(tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source = image_files(tmp_path, 12)
    whole = memory_store(source, TRAINING, workers=0, folder=None, report=reports.append)
    monkeypatch.setattr(pixel_store, "_SEGMENT", 10_000)
    parts = memory_store(source, TRAINING, workers=0, folder=None, report=reports.append)
    assert len(whole.segments) == 1 < len(parts.segments)
    assert all(np.array_equal(whole.pixels(i), parts.pixels(i)) for i in range(12))


def test_a_file_is_found_again_and_a_changed_image_makes_another(tmp_path: Path, reports: list[str]) -> None:
    source = image_files(tmp_path / "images", 6)

    def store() -> list[str]:
        reports.clear()
        disk_store(source, TRAINING, workers=0, folder=tmp_path / "cache", report=reports.append)
        return list(reports)

    assert store() == ["shapes train: all 6 images are decoded once"]
    assert store() == []
    os.utime(tmp_path / "images" / "003.png", (1, 1))
    assert len(store()) == 1
    (tmp_path / "images" / "004.jpg").unlink()
    assert len(store()) == 1
    assert pixel_file(source, TRAINING, tmp_path) != pixel_file(source, EVALUATION, tmp_path)
    assert pixel_file(source, TRAINING, tmp_path) == pixel_file(
        source, Stored.for_training(SEEN.model_copy(update={"mean": (0.5,) * 3, "std": (0.5,) * 3})), tmp_path
    )


@pytest.mark.parametrize("harm", ["cut", "pixels", "index", "trailer", "empty", "longer"])
def test_a_damaged_file_is_named_and_made_again(harm: str, tmp_path: Path, reports: list[str]) -> None:
    source = image_files(tmp_path / "images", 8)
    expected = disk_store(source, TRAINING, workers=0, folder=tmp_path, report=reports.append)
    path = pixel_file(source, TRAINING, tmp_path)
    whole = bytearray(path.read_bytes())
    size = sum(expected.pixels(i).size for i in range(8))
    places = {"pixels": size // 2, "index": size + 5, "trailer": len(whole) - 35}
    if harm in places:
        whole[places[harm]] ^= 1
    changed = {"cut": whole[:-1000], "empty": b"", "longer": whole + b"more"}.get(harm, whole)
    path.unlink()  # what is mapped stays as it was
    path.write_bytes(changed)
    with pytest.raises(ValueError, match=path.name):
        read_store(path, 3)
    reports.clear()
    again = disk_store(source, TRAINING, workers=0, folder=tmp_path, report=reports.append)
    assert len(reports) == 2
    assert reports[0].endswith("it is made again")
    assert all(np.array_equal(again.pixels(i), expected.pixels(i)) for i in range(8))


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(
    tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = image_files(tmp_path / "images", 4)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not write .*pixels: No space left"):
        disk_store(source, TRAINING, workers=0, folder=tmp_path / "cache", report=reports.append)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_the_rest_of_a_killed_process_is_cleared_away(tmp_path: Path, reports: list[str]) -> None:
    source = image_files(tmp_path / "images", 4)
    path = pixel_file(source, TRAINING, tmp_path)
    rest = path.with_name(f".{path.name}.abc.part")
    rest.write_bytes(b"half")
    disk_store(source, TRAINING, workers=0, folder=tmp_path, report=reports.append)
    assert not rest.exists()


@pytest.mark.parametrize(
    ("memory", "room", "expected"), [(10**9, 0, "memory"), (10**5, 10**9, "disk"), (10**5, 10**5, "stream"), (0, 10**9, "disk")]
)
def test_auto_takes_what_there_is_room_for(
    memory: int, room: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = image_files(tmp_path, 20)
    monkeypatch.setattr("resnets.data.loaders.storage.free_memory", lambda: memory)
    monkeypatch.setattr("resnets.data.loaders.storage.free_room", lambda folder: room)
    place, why = choose_place(source, TRAINING, "auto", tmp_path / "cache")
    assert place == expected
    assert "quarter of the" in why
    assert choose_place(source, TRAINING, "stream", None) == ("stream", "as asked for")
