"""ImageNet's official layout, made small: labels go by sorted WNIDs, whatever order the devkit numbers them in."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from resnets.data.datasets.folders import OwnImages
from resnets.data.datasets.imagenet import TRUTH, class_order, find_imagenet
from resnets.data.datasets.locate import locate
from resnets.data.datasets.mat import read_structs
from resnets.data.datasets.user_data import find_own
from resnets.data.errors import DataError

WNIDS = ("n02119789", "n01440764", "n03710637", "n02066245")
"""In the devkit's order, which is not that of their names."""
NUMBERS = [3, 1, 4, 2, 2, 1]
"""The devkit's number of each validation image."""


def write_meta(path: Path, *, compressed: bool) -> None:
    """As the devkit's: a column of structs, the last of which is no class of images but a parent of such."""
    scipy_io = pytest.importorskip("scipy.io")
    fields = [
        ("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O"), ("children", "O"),
        ("wordnet_height", "O"), ("num_train_images", "O"),
    ]  # fmt: skip
    synsets = np.zeros((len(WNIDS) + 1, 1), fields)
    for i, wnid in enumerate((*WNIDS, "n00001740")):
        parent = i == len(WNIDS)
        synsets[i, 0] = (
            float(i + 1), wnid, f"word{i}, söme", "a gloss " * 9, float(2 * parent), np.array([1.0, 2.0] if parent else []), 0.0, 1300.0,
        )  # fmt: skip
    scipy_io.savemat(path, {"synsets": synsets}, do_compression=compressed)


@pytest.fixture(params=["flat", "flat, meta.mat uncompressed"])
def imagenet(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "ilsvrc"
    for wnid in WNIDS:
        (folder / "train" / wnid).mkdir(parents=True)
        for i in (10, 2):
            (folder / "train" / wnid / f"{wnid}_{i}.JPEG").write_bytes(b"x")
    (folder / "val").mkdir()
    for i in range(len(NUMBERS)):
        (folder / "val" / f"ILSVRC2012_val_{i + 1:08d}.JPEG").write_bytes(bytes([i]))
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / TRUTH).write_text("".join(f"{number}\n" for number in NUMBERS))
    write_meta(data / "meta.mat", compressed=request.param == "flat")
    return folder


def labels_by_name(own: OwnImages) -> dict[str, int]:
    val = own.splits["val"]
    return {Path(path).name: int(label) for path, label in zip(val.paths, val.labels, strict=True)}


def sorted_into_folders(imagenet: Path) -> None:
    """As torchvision does it: classes of the devkit's numbers by scipy, images in the order of their names."""
    data = imagenet / "ILSVRC2012_devkit_t12" / "data"
    synsets = pytest.importorskip("scipy.io").loadmat(data / "meta.mat", squeeze_me=True)["synsets"]
    of_number = {row["ILSVRC2012_ID"]: row["WNID"] for row in synsets if row["num_children"] == 0}
    assert class_order(data / "meta.mat") == of_number
    images = sorted((imagenet / "val").iterdir())
    for number, path in zip((data / TRUTH).read_text().split(), images, strict=True):
        folder = imagenet / "val" / of_number[int(number)]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)


def test_labels_are_torchvisions_whether_validation_is_flat_or_in_folders(imagenet: Path) -> None:
    own = find_own(imagenet)
    assert own.classes == tuple(sorted(WNIDS))
    assert own.training.labels.tolist() == ImageFolder(str(imagenet / "train")).targets
    assert own.ignored == {}
    assert own.notes == ("passed over beside train/, val/: ILSVRC2012_devkit_t12",)
    flat = labels_by_name(own)
    sorted_into_folders(imagenet)
    shutil.rmtree(imagenet / "ILSVRC2012_devkit_t12")
    theirs = {Path(path).name: label for path, label in ImageFolder(str(imagenet / "val")).samples}
    assert flat == theirs == labels_by_name(find_own(imagenet))


def test_what_does_not_fit(imagenet: Path) -> None:
    kit = imagenet / "ILSVRC2012_devkit_t12" / "data"
    (kit / TRUTH).write_text("3\n1\n")
    with pytest.raises(DataError, match=r"val_00000003\.JPEG has no line"):
        find_imagenet(imagenet)
    (kit / TRUTH).write_text("3\n5\n")
    with pytest.raises(DataError, match="line 2: '5' is the number of no class"):
        find_imagenet(imagenet)
    (kit / TRUTH).unlink()
    with pytest.raises(DataError, match="unpack ILSVRC2012_devkit_t12"):
        find_imagenet(imagenet)
    with pytest.raises(DataError, match="not found"):
        locate("imagenet", imagenet / "val")
    assert locate("imagenet", imagenet) == imagenet


def test_part_of_imagenet(imagenet: Path) -> None:
    shutil.rmtree(imagenet / "train" / WNIDS[0])
    own = find_imagenet(imagenet)
    assert len(own.classes) == 3
    assert own.ignored == {"of classes not in train/": 2}
    assert len(own.splits["val"]) == 4


def test_damaged_files(imagenet: Path) -> None:
    meta = imagenet / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    whole = meta.read_bytes()
    assert [row["WNID"] for row in read_structs(meta, "synsets")] == [*WNIDS, "n00001740"]
    assert read_structs(meta, "synsets")[-1]["children"] == [1.0, 2.0]
    assert read_structs(meta, "synsets")[0]["words"] == "word0, söme"
    for content, message in (
        (whole[: len(whole) // 2], "is damaged"), (b"", "no MATLAB file"), (whole[:128], "has no array of structs called synsets"),
    ):  # fmt: skip
        meta.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_structs(meta, "synsets")
