"""Folders of images, against torchvision's ImageFolder, and what does not belong in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from resnets.data.datasets.folders import find_folder
from resnets.data.datasets.user_data import find_own, is_path, is_shards
from resnets.data.errors import DataError


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_labels_and_order_are_those_of_torchvision(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "mine", "class10/b.jpg", "class10/a.PNG", "class2/x.jpeg", "class2/deep/er/y.bmp", "class2/deep-er/z.webp", "Zebra/1.tif",
        "class2/deep/10.jpg", "class2/deep/9.jpg", "class2/notes.txt", "ape/1.jpg",
    )  # fmt: skip
    (folder / "outside").mkdir()
    put(tmp_path.parent / f"{tmp_path.name}-elsewhere", "linked.jpg")
    (folder / "ape" / "link").symlink_to(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    (folder / "ape" / "2.jpg").symlink_to(folder / "ape" / "1.jpg")
    theirs = ImageFolder(str(folder), allow_empty=True)
    own = find_folder(folder)
    images = own.training
    assert [(str(folder / path), images.classes[label]) for path, label in zip(images.paths, images.labels, strict=True)] == [
        (path, theirs.classes[label]) for path, label in theirs.samples
    ]
    (folder / "outside").rmdir()
    assert find_folder(folder).classes == tuple(ImageFolder(str(folder)).classes)
    assert find_folder(folder).training.labels.tolist() == ImageFolder(str(folder)).targets
    assert own.ignored == {"no image by its name": 1}
    assert own.notes == ("folders without images, which are no classes: outside",)


@pytest.mark.parametrize("names", [("train", "val"), ("training", "valid"), ("Train", "Validation"), ("train", "test")])
def test_splits_by_name(tmp_path: Path, names: tuple[str, str]) -> None:
    first, second = names
    own = find_folder(put(tmp_path, f"{first}/a/1.jpg", f"{first}/b/1.jpg", f"{second}/a/2.jpg", f"{second}/b/2.jpg"))
    assert own.training.paths == (f"{first}/a/1.jpg", f"{first}/b/1.jpg")
    assert own.evaluation is not None
    assert own.evaluation.paths == (f"{second}/a/2.jpg", f"{second}/b/2.jpg")
    assert own.evaluation.labels.tolist() == [0, 1]


def test_val_comes_before_test_and_classes_of_that_name_are_classes(tmp_path: Path) -> None:
    own = find_folder(put(tmp_path / "x", "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "test/b/1.jpg"))
    assert own.evaluation is own.splits["val"]
    assert any("val has no images of b" in note for note in own.notes)
    assert find_folder(put(tmp_path / "y", "test/1.jpg", "other/1.jpg")).classes == ("other", "test")


def test_hidden_files_and_loose_ones_are_counted(tmp_path: Path) -> None:
    folder = put(
        tmp_path, "a/1.jpg", "b/1.jpg", "a/.hidden.jpg", "b/.git/1.jpg", ".DS_Store", "loose.jpg", "README.md", "a/list.csv"
    )
    own = find_folder(folder)
    assert len(own.training) == 2
    assert own.ignored == {"hidden": 3, "outside of a class folder": 1, "no image by its name": 2}
    assert any(message.startswith("6 files were ignored: ") for message in own.messages())


def test_a_link_that_leads_upwards_ends(tmp_path: Path) -> None:
    folder = put(tmp_path, "a/1.jpg", "b/1.jpg")
    (folder / "a" / "round").symlink_to(folder / "a")
    assert find_folder(folder).training.paths == ("a/1.jpg", "b/1.jpg")


def test_classes_that_differ_between_the_splits(tmp_path: Path) -> None:
    folder = put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg")
    with pytest.raises(DataError, match="val has images of c, of which train has none"):
        find_folder(folder)
    assert find_folder(folder, lenient=True).classes == ("a", "b", "c")
    os.rename(folder / "val" / "c", folder / "val" / "b")
    put(folder, "train/c/1.jpg")
    assert "val has no images of c, which are therefore not evaluated there" in find_folder(folder).notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "holds no images in folders of classes"),
        (("1.jpg", "2.jpg"), "holds no images in folders of classes"),
        (("train/a/1.txt", "val/a/1.jpg"), "holds no images in folders of classes"),
        (("train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"), "val/ and valid/, both for val"),
    ],
)
def test_what_is_no_data(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_folder(put(tmp_path, *files))


def test_flat_splits_are_not_used(tmp_path: Path) -> None:
    own = find_folder(put(tmp_path / "x", "train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"))
    assert own.evaluation is None
    assert own.notes == ("test/ has no images in folders of classes, and is not used",)


def test_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(put(tmp_path, "mine/a/1.jpg", "table.csv", "shards/x-0.tar"))
    assert [is_path(text) for text in ("mine", "./mine", "fashion-mnist", "hf:owner/name", "absent/x", "table.csv")] == [
        True, True, False, True, True, True,
    ]  # fmt: skip
    assert [is_shards(text) for text in ("mine", "shards", "hf:a/b", "x-*.tar", "a.parquet", "table.csv")] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    with pytest.raises(DataError, match="no folder or file absent"):
        find_own("absent")
    with pytest.raises(DataError, match=r"no folder of images and no \.csv"):
        find_own("mine/a/1.jpg")
