"""The doctor finds each thing planted, once, and nothing in a clean folder."""

import dataclasses
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from broken_images import UNREADABLE
from hostile_images import CRASHES, HANGS, HostileImages, square_but_7
from PIL import Image, ImageEnhance
from sick_folders import clean_folder, encoded, make_image, sick_folder

from resnets.data.datasets.catalogue import ImageArrays
from resnets.data.datasets.folders import OwnImages, find_folder
from resnets.data.datasets.holdout import read_exclusions, without
from resnets.data.doctor.check import check_arrays, check_images, class_findings, folder_findings, thumbnails
from resnets.data.doctor.findings import KINDS, SEVERITIES, Checkup, Finding, in_order, shown, write_exclusions
from resnets.data.doctor.image import examine
from resnets.data.image_source import ImageFiles
from resnets.data.workers.isolated import Lost, outcomes


def check(root: Path, *, workers: int = 0, near_duplicates: bool = False) -> Checkup:
    own = find_folder(root, lenient=True)
    checkup = check_images(list(own.splits.values()), name=own.name, workers=workers, near_duplicates=near_duplicates)
    return dataclasses.replace(checkup, findings=in_order((*checkup.findings, *folder_findings(own))))


def named(checkup: Checkup) -> dict[str, tuple[str, ...]]:
    """The names of each kind's only finding."""
    assert all(count == 1 for count in checkup.summary()["kinds"].values()), checkup.findings
    return {finding.kind: finding.names for finding in checkup.findings}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sick_folder(tmp_path_factory.mktemp("broken") / "pets")


@pytest.fixture(scope="module")
def checked(broken: Path) -> Checkup:
    return check(broken)


def test_a_clean_folder_has_no_findings(tmp_path: Path) -> None:
    checkup = check(clean_folder(tmp_path / "clean"), near_duplicates=True)
    assert checkup.findings == ()
    assert checkup.counts == {"train": (12, 12), "val": (4, 4)}
    assert checkup.exclusions == {}


def test_each_kind_planted_once_is_found_once(checked: Checkup) -> None:
    cat = "train/cat/"
    assert named(checked) == {
        "empty": (cat + "empty.jpg",),
        "no-image": (cat + "text.jpg",),
        "damaged": (cat + "truncated.jpg",),
        "too-large": (cat + "bomb.png",),
        "leak": ("train/dog/0.jpg", "val/dog/copy.jpg"),
        "contradiction": (cat + "both.jpg", "train/dog/2.jpg"),
        "duplicate": ("train/dog/1.jpg", "train/dog/same.png"),
        "cmyk": (cat + "cmyk.jpg",),
        "animated": (cat + "animated.gif",),
        "tiny": (cat + "tiny.jpg",),
        "sixteen-bit": (cat + "sixteen.png",),
        "palette": (cat + "palette.png",),
        "rotated": (cat + "turned.jpg",),
    }
    details = {finding.kind: finding.detail for finding in checked.findings}
    assert details["leak"] == "identical files in train and val"
    assert details["duplicate"] == "identical pixels in different files"
    assert details["contradiction"] == "identical files; of classes cat, dog"
    assert details["animated"] == "GIF, 3 frames"
    assert details["too-large"].startswith(f"3,600,000,000 pixels declared in {len(UNREADABLE['bomb.png']())} bytes")
    assert details["tiny"] == "shorter side 7 pixels; the median is 72"
    assert "'This is no image.'" in details["no-image"]


def test_left_out_is_what_cannot_be_read_and_the_training_copy_of_a_leak(checked: Checkup) -> None:
    assert set(checked.exclusions) == {*(f"train/cat/{name}" for name in UNREADABLE), "train/dog/0.jpg"}
    assert checked.exclusions["train/cat/empty.jpg"] == "empty: 0 bytes"
    assert all(finding.severity == "exclude" for finding in checked.findings if finding.excluded)


def test_processes_find_the_same_as_none(broken: Path, checked: Checkup) -> None:
    assert check(broken, workers=2).findings == checked.findings


def test_training_understands_the_list(broken: Path, checked: Checkup, tmp_path: Path) -> None:
    write_exclusions(tmp_path / "exclude.csv", checked.exclusions)
    assert (tmp_path / "exclude.csv").read_text().splitlines()[0] == "path,reason"
    names = read_exclusions(tmp_path / "exclude.csv")
    assert names == frozenset(checked.exclusions)
    own = find_folder(broken)
    rest = {split: without(images, names) for split, images in own.splits.items()}
    assert len(own.splits["train"]) - len(rest["train"]) == len(UNREADABLE) + 1
    again = check_images(list(rest.values()), name="again", workers=0)
    assert again.exclusions == {}


def test_names_that_are_no_utf8_keep_their_bytes_in_the_list_and_can_be_shown(tmp_path: Path) -> None:
    name = b"train/caf\xe9,\x1b[2J.jpg".decode("utf-8", "surrogateescape")
    write_exclusions(tmp_path / "exclude.csv", {name: "empty"})
    assert read_exclusions(tmp_path / "exclude.csv") == frozenset({name})
    assert shown(name) == "train/caf\\udce9,\\x1b[2J.jpg"
    assert shown("train/Käse 猫.jpg") == "train/Käse 猫.jpg"


def test_look_alikes_are_found_only_when_asked_for(tmp_path: Path) -> None:
    root = clean_folder(tmp_path / "near")
    with Image.open(root / "train" / "cat" / "3.jpg") as image:
        small = ImageEnhance.Brightness(image.resize((64, 48))).enhance(1.03)
    (root / "val" / "cat" / "small.jpg").write_bytes(encoded(small, quality=70))
    assert check(root).findings == ()
    (finding,) = check(root, near_duplicates=True).findings
    assert (finding.kind, finding.severity, finding.excluded) == ("near-duplicate", "warn", ())
    assert finding.names == ("train/cat/3.jpg", "val/cat/small.jpg")
    assert finding.detail == "across train and val"


def test_classes_that_differ_between_splits(tmp_path: Path) -> None:
    root = clean_folder(tmp_path / "classes")
    (root / "val" / "dog").rename(root / "val" / "Dog")
    findings = [finding for finding in check(root).findings if finding.kind == "class-missing"]
    assert [(finding.names, finding.detail) for finding in findings] == [
        (("Dog",), "no images in train, but in val; Dog is spelt dog there?"),
        (("dog",), "no images in val, but in train; dog is spelt Dog there?"),
    ]


def test_imbalance_by_hand() -> None:
    classes = ("a", "b", "c")
    found = list(class_findings(classes, {"train": (230, 20, 100), "val": (5, 1, 5)}))
    assert [(finding.kind, finding.names) for finding in found] == [("imbalance", ("a", "b"))]
    assert found[0].detail == "a has 230 images in train, b 20: 11.5 times as many"
    assert not list(class_findings(classes, {"train": (200, 20, 100)}))  # exactly ten times
    few = list(class_findings(classes, {"all": (10, 9, 90)}))
    assert [(finding.kind, finding.names, finding.detail) for finding in few] == [("few-images", ("b",), "b 9 in all")]


def test_small_images_are_not_tiny_where_all_are_small(tmp_path: Path) -> None:
    root = tmp_path / "small"
    for seed in range(24):
        path = root / "ab"[seed % 2] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_image(seed, (8, 8)).save(path)
    assert check(root).findings == ()


def test_a_blank_a_transparent_and_a_misnamed_image(tmp_path: Path) -> None:
    root = clean_folder(tmp_path / "odd")
    Image.new("RGB", (50, 40), (7, 8, 9)).save(root / "train" / "cat" / "blank.png")
    glass = make_image(70).convert("RGBA")
    glass.putalpha(128)
    glass.save(root / "train" / "cat" / "glass.png")
    (root / "val" / "dog" / "really.jpg").write_bytes(encoded(make_image(71), "PNG"))
    checkup = check(root)
    assert named(checkup) == {
        "blank": ("train/cat/blank.png",), "transparent": ("train/cat/glass.png",), "misnamed": ("val/dog/really.jpg",),
    }  # fmt: skip
    details = {finding.kind: finding.detail for finding in checkup.findings}
    assert details["blank"] == "50×40, all of colour (7, 8, 9)"
    assert details["misnamed"] == "PNG by its content, .jpg by its name"


def test_sixteen_bits_of_a_colour_png_are_seen_though_pillow_shows_eight() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.random.default_rng(0).integers(0, 1 << 16, (4, 5, 3)).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    assert examine(content, "a.png", likeness=False).remarks == (("sixteen-bit", "PNG, 5×4, 16 bits per channel"),)


def test_what_lies_beside_the_images(tmp_path: Path) -> None:
    root = clean_folder(tmp_path / "beside")
    (root / "train" / "cat" / "notes.txt").write_text("notes")
    (root / "README").write_text("words")
    (root / "train" / "stray.jpg").write_bytes(encoded(make_image(80)))
    (root / "train" / "bird").mkdir()
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"\0")
    assert [(finding.kind, finding.names) for finding in folder_findings(find_folder(root, lenient=True))] == [
        ("passed-over", ("train/stray.jpg",)),
        ("ignored", ("README",)),
        ("ignored", ("train/cat/notes.txt",)),
        ("empty-folder", ("train/bird",)),
    ]


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    root = clean_folder(tmp_path / "gone")
    own = find_folder(root)
    (root / "train" / "cat" / "5.jpg").unlink()
    checkup = check_images(list(own.splits.values()), name="gone", workers=0)
    assert named(checkup) == {"no-access": ("train/cat/5.jpg",)}
    assert checkup.exclusions == {"train/cat/5.jpg": "no-access: No such file or directory"}


def test_a_crash_and_a_hang_cost_the_file_and_nothing_else(tmp_path: Path) -> None:
    own = find_folder(clean_folder(tmp_path / "hostile"))
    values = {field.name: getattr(own.splits["train"], field.name) for field in dataclasses.fields(ImageFiles)}
    said: list[tuple[int, int]] = []
    checkup = check_images(
        [HostileImages(**values)], name="hostile", workers=2, seconds=3, progress=lambda *done: said.append(done)
    )  # fmt: skip
    assert said == [(done, 24) for done in range(1, 25)]
    names = own.splits["train"].paths
    assert {finding.names[0]: finding.detail for finding in checkup.findings} == {
        names[CRASHES]: "the decoder's process died of SIGSEGV",
        names[HANGS]: "the decoder did not finish within 3 s",
    }
    assert set(checkup.exclusions) == {names[CRASHES], names[HANGS]}


@pytest.mark.parametrize("workers", [0, 2])
def test_every_job_is_done_once_and_what_it_raises_is_its_outcome(workers: int) -> None:
    done = list(outcomes(square_but_7, 10, iter(range(100)), workers=workers))
    assert Counter(job for job, _ in done) == Counter(range(100))
    assert all(value == (Lost("MemoryError: of 7") if job == 7 else 10 * job * job) for job, value in done)


def test_jobs_are_taken_as_they_are_needed() -> None:
    taken = []
    jobs = (taken.append(job) or job for job in range(10_000))
    for _ in zip(range(5), outcomes(square_but_7, 1, jobs, workers=1), strict=False):
        pass
    assert len(taken) < 100


def test_thumbnails_of_whole_and_of_damaged_images(broken: Path) -> None:
    images = find_folder(broken).splits["train"]
    wanted = {name: (0, images.paths.index(f"train/cat/{name}")) for name in (*UNREADABLE, "turned.jpg", "0.jpg")}
    found = thumbnails([images], list(wanted.values()), workers=0)
    seen = {name for name, place in wanted.items() if place in found}
    assert seen == {"truncated.jpg", "turned.jpg", "0.jpg"}
    assert all(content.startswith(b"\xff\xd8\xff") for content in found.values())


def arrays(split: str, seed: int, count: int = 20, labels: list[int] | None = None) -> ImageArrays:
    images = torch.randint(0, 256, (count, 1, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    numbers = torch.tensor(labels) if labels else torch.arange(count) % 2
    return ImageArrays("toy", split, images, numbers, ("a", "b"), (0.5,), (0.5,))


def test_arrays_without_problems_have_no_findings() -> None:
    checkup = check_arrays([arrays("train", 1), arrays("test", 2)], name="toy", published={"train": 20, "test": 20})
    assert checkup.findings == ()
    assert checkup.counts == {"train": (10, 10), "test": (10, 10)}


def test_arrays_with_one_problem_of_each_kind() -> None:
    train, test = arrays("train", 1, 26), arrays("test", 2)
    train.images[4] = train.images[2]  # the same class
    train.images[7] = train.images[10]  # another class
    train.images[12] = 9
    test.images[5] = train.images[15]
    checkup = check_arrays([train, test], name="toy", published={"train": 25, "test": 20})
    assert named(checkup) == {
        "leak": ("train/15", "test/5"),
        "contradiction": ("train/7", "train/10"),
        "duplicate": ("train/2", "train/4"),
        "count": ("train",),
        "blank": ("train/12",),
    }
    assert list(checkup.exclusions) == ["train/15"]
    assert thumbnails([train, test], [(0, 12), (1, 5)], workers=0).keys() == {(0, 12), (1, 5)}


def test_splits_must_have_the_same_classes() -> None:
    other = dataclasses.replace(arrays("test", 2), classes=("a", "c"))
    with pytest.raises(ValueError, match="same classes"):
        check_arrays([arrays("train", 1), other], name="toy")


def test_findings_as_json_and_their_order() -> None:
    found = in_order([Finding("palette", ("p",)), Finding("leak", ("a", "b"), "x", ("a",)), Finding("empty", ("e",), "", ("e",))])
    assert [finding.kind for finding in found] == ["empty", "leak", "palette"]
    value = found[1].as_json()
    assert value["names"] == ["a", "b"]
    assert value["excluded"] == ["a"]
    assert value["what_to_do"] == KINDS["leak"].what_to_do
    assert {row.severity for row in KINDS.values()} == set(SEVERITIES)


def test_a_list_of_files_has_no_folder_to_look_around_in(tmp_path: Path) -> None:
    assert not list(folder_findings(OwnImages("list", tmp_path / "list.csv", {})))
