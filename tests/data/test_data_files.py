"""The table of files against what others state, and the check of a file on disk."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from resnets.data.datasets.catalogue import DATASETS
from resnets.data.errors import DataError
from resnets.data.sources.files import FASHION_MNIST, FILES, find, verify
from resnets.data.sources.idx import read_idx, write_idx


def test_the_table_agrees_with_torchvision() -> None:
    official = [(file.archive_name, file.archives[0].md5) for file in FASHION_MNIST]
    assert official == FashionMNIST.resources
    assert DATASETS["fashion-mnist"].classes == tuple(FashionMNIST.classes)


def test_the_table_agrees_with_itself() -> None:
    info = DATASETS["fashion-mnist"]
    image = (info.size, info.size)
    assert [file.shape for file in FASHION_MNIST] == [
        (info.num_train, *image), (info.num_train,), (info.num_test, *image), (info.num_test,),
    ]  # fmt: skip
    assert [file.size for file in FASHION_MNIST] == [47_040_016, 60_008, 7_840_016, 10_008]
    for file in FASHION_MNIST:
        official, debian = file.archives
        # Debian's archive lacks nothing but the name of the file, and the zero byte after it, in the gzip header.
        assert official.size - debian.size == len(file.name) + 1


def test_packed_unpacked_and_packed_by_another_tool_are_the_same_file(good: Path) -> None:
    file = FILES["fashion-mnist"][0]
    packed = good / file.archive_name
    verify(packed, file)
    (good / file.name).write_bytes(gzip.decompress(packed.read_bytes()))
    verify(good / file.name, file)
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), compresslevel=1))
    verify(packed, file)


@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_pixel_another_shape_and_a_short_file_are_told_apart(good: Path, packed: bool) -> None:
    file = FILES["fashion-mnist"][0]
    path = good / (file.archive_name if packed else file.name)
    array = read_idx(good / file.archive_name)
    array[3, 2, 1] ^= 1
    write_idx(path, array)
    with pytest.raises(DataError, match=f"other content than the published {file.name} .*MNIST") as caught:
        verify(path, file)
    assert str(path) in str(caught.value)
    write_idx(path, array[:-1])
    with pytest.raises(DataError, match=r"shape \(39, 6, 5\), and train-images-idx3-ubyte is \(40, 6, 5\)"):
        verify(path, file)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut short"):
        verify(path, file)


def test_a_right_size_is_not_enough(good: Path) -> None:
    file = FILES["fashion-mnist"][1]
    path = good / file.name
    array = read_idx(good / file.archive_name)
    write_idx(path, array)
    verify(path, file)
    write_idx(path, np.roll(array, 1))
    assert path.stat().st_size == file.size
    with pytest.raises(DataError, match="other content"):
        verify(path, file)


def test_a_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        verify(tmp_path / "none.gz", FASHION_MNIST[0])


def test_find_takes_the_packed_file_first(good: Path, tmp_path: Path) -> None:
    file = FILES["fashion-mnist"][0]
    assert find(tmp_path, file) is None
    (tmp_path / file.name).touch()
    assert find(tmp_path, file) == tmp_path / file.name
    shutil.copy(good / file.archive_name, tmp_path)
    assert find(tmp_path, file) == tmp_path / file.archive_name
