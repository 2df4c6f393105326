"""The datasets by name: the digits in full, a tiny stand-in for Fashion-MNIST, and the held-out part."""

from __future__ import annotations

import dataclasses
import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnets.data import DATASETS, ImageArrays, load, split_holdout
from resnets.data.datasets.catalogue import stratified_split
from resnets.data.datasets.locate import DIGITS_FOLDER
from resnets.data.sources.idx import read_idx


def test_knowing_the_datasets_loads_no_torch() -> None:
    code = "import sys, resnets.data.datasets.catalogue; print(sorted({'torch', 'torchvision', 'numpy'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", DATASETS)
def test_each_row_is_complete(name: str) -> None:
    info = DATASETS[name]
    assert info.name == name
    assert len(info.mean) == len(info.std) == info.channels
    assert len(set(info.classes)) == len(info.classes) == (100 if name == "cifar100" else 10)
    assert all(getattr(info, field.name) not in ("", ()) for field in dataclasses.fields(info))


def test_mirrored_digits_are_no_digits() -> None:
    assert [name for name, info in DATASETS.items() if not info.horizontal_flip] == ["digits"]


def test_the_digits_as_published() -> None:
    parts = [load("digits", split) for split in ("train", "test")]
    assert [len(part) for part in parts] == [1_437, 360]
    labels = torch.cat([part.labels for part in parts])
    # The class distribution that UCI states for its test set.
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert parts[0].labels.bincount().tolist() == [142, 145, 142, 146, 145, 146, 145, 143, 139, 144]
    assert parts[1].labels.bincount().tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    images = torch.cat([part.images for part in parts])
    assert images.shape == (1_797, 1, 8, 8)
    # round(v * 255 / 16) of 0 to 16, worked out by hand.
    scaled = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert images.unique().tolist() == scaled
    with gzip.open(DIGITS_FOLDER / "digits.csv.gz", "rt") as stream:
        rows = [[int(number) for number in line.split(",")] for line in stream]
    expected = sorted([*(scaled[number] for number in row[:64]), row[64]] for row in rows)
    found = sorted([*image, label] for image, label in zip(images.reshape(-1, 64).tolist(), labels.tolist(), strict=True))
    assert found == expected


def test_the_first_digit_is_the_zero_that_one_sees() -> None:
    # The first line of the published file, drawn by hand: a ring.
    zero = [
        [0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0], [0, 3, 15, 2, 0, 11, 8, 0], [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0], [0, 4, 11, 0, 1, 12, 7, 0], [0, 2, 14, 5, 10, 12, 0, 0], [0, 0, 6, 13, 10, 0, 0, 0],
    ]  # fmt: skip
    train = load("digits", "train")
    assert int(train.labels[0]) == 0
    torch.testing.assert_close(train.images[0, 0].double() * 16 / 255, torch.tensor(zero).double(), atol=0.04, rtol=0)


def test_the_split_of_the_digits_is_fixed() -> None:
    test = load("digits", "test")
    assert test.labels[:20].tolist() == [1, 4, 7, 0, 2, 8, 1, 9, 5, 5, 0, 7, 6, 3, 3, 6, 0, 8, 7, 6]
    assert int(test.images.long().sum()) == 1_799_628


def test_mean_and_deviation_of_the_digits() -> None:
    train, info = load("digits", "train"), DATASETS["digits"]
    pixels = train.images.double() / 255
    assert (train.mean, train.std, train.classes) == (info.mean, info.std, info.classes)
    assert float(pixels.mean()) == pytest.approx(info.mean[0], abs=1e-6)
    assert float(pixels.std(correction=0)) == pytest.approx(info.std[0], abs=1e-6)


def test_idx_splits_are_read_as_they_lie(good: Path) -> None:
    for split, prefix, count in (("train", "train", 40), ("test", "t10k", 20)):
        arrays = load("fashion-mnist", split, good, offline=True)
        assert (arrays.name, arrays.split, len(arrays)) == ("fashion-mnist", split, count)
        assert (arrays.images.dtype, arrays.labels.dtype) == (torch.uint8, torch.int64)
        assert arrays.images.shape == (count, 1, 6, 5)
        np.testing.assert_array_equal(arrays.images[:, 0].numpy(), read_idx(good / f"{prefix}-images-idx3-ubyte.gz"))
        np.testing.assert_array_equal(arrays.labels.numpy(), read_idx(good / f"{prefix}-labels-idx1-ubyte.gz"))
        assert arrays.classes[9] == "Ankle boot"


def test_unknown_names_and_splits() -> None:
    with pytest.raises(ValueError, match="no dataset 'digit': did you mean 'digits'"):
        load("digit", "train")
    with pytest.raises(ValueError, match="no split 'validation' of digits: it is one of train, test"):
        load("digits", "validation")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64), "images must be uint8"),
        (torch.zeros(2, 3, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"images must be uint8 \(N, C, H, W\)"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "one for each of 2 images"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2), "labels must be int64"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 2]), "0 to 1, the classes, but reach from 0 to 2"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([-1, 0]), "reach from -1 to 0"),
    ],
)
def test_arrays_of_the_wrong_kind(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageArrays("mine", "train", images, labels, ("a", "b"), (0.5,), (0.5,))


@settings(max_examples=80, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=200).map(np.array),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_a_stratified_split(labels: np.ndarray, share: float, seed: int) -> None:
    num_held = round(share * len(labels))
    rest, held = stratified_split(labels, num_held, seed)
    assert len(held) == num_held
    assert sorted([*rest, *held]) == list(range(len(labels)))
    assert (np.diff(rest) > 0).all()
    assert (np.diff(held) > 0).all()
    for label in set(labels):
        exact = np.count_nonzero(labels == label) * num_held / len(labels)
        assert abs(np.count_nonzero(labels[held] == label) - exact) < 1
    again = stratified_split(labels, num_held, seed)
    np.testing.assert_array_equal(again[1], held)


def test_a_held_out_part_of_a_split() -> None:
    train = load("digits", "train")
    rest, held = split_holdout(train, 0.1, seed=3)
    assert (len(rest), len(held)) == (1_293, 144)
    assert (rest.split, held.split) == ("train-rest", "train-holdout")
    assert rest.classes == held.classes == train.classes

    # Every image is in exactly one part, with its own label.
    def rows(arrays: ImageArrays) -> list[list[int]]:
        return torch.cat([arrays.images.flatten(1).long(), arrays.labels[:, None]], dim=1).tolist()

    assert sorted(rows(rest) + rows(held)) == sorted(rows(train))
    assert float((held.labels.bincount() - train.labels.bincount() * 144 / 1_437).abs().max()) < 1
    _, same = split_holdout(train, 0.1, seed=3)
    _, other = split_holdout(train, 0.1, seed=4)
    assert torch.equal(same.images, held.images)
    assert not torch.equal(other.images, held.images)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, 1e-6, 1 - 1e-6, float("nan")])
def test_a_share_that_leaves_nothing(share: float) -> None:
    with pytest.raises(ValueError, match=r"share=.* of 360 images leaves one part empty"):
        split_holdout(load("digits", "test"), share, 0)


def test_a_negative_seed() -> None:
    with pytest.raises(ValueError, match="seed=-1 is negative"):
        split_holdout(load("digits", "test"), 0.5, -1)
