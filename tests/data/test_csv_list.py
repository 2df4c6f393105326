"""Tables of images: what is read, and where a mistake is."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.data.datasets.csv_list import find_csv
from resnets.data.errors import DataError


def table(folder: Path, content: str | bytes, *images: str) -> Path:
    for name in images or ("a.jpg",):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    file = folder / "list.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_paths_begin_at_the_table(tmp_path: Path) -> None:
    file = table(tmp_path, 'path,label\n"a, b.jpg",cat\nsub/c.jpg,"a ""dog"""\n', "a, b.jpg", "sub/c.jpg")
    own = find_csv(file)
    images = own.training
    assert images.classes == ('a "dog"', "cat")
    assert images.labels.tolist() == [1, 0]
    assert [images.read(i) for i in range(2)] == [b"x", b"x"]
    assert [images.name_of(i) for i in range(2)] == ["a, b.jpg", "sub/c.jpg"]
    assert own.evaluation is None


def test_a_spreadsheets_file(tmp_path: Path) -> None:
    own = find_csv(table(tmp_path, "\ufeffLabel;Path;note\r\nÄpfel;a.jpg;x\r\n\r\nBirnen;b.jpg;\r\n", "a.jpg", "b.jpg"))
    assert own.training.paths == ("a.jpg", "b.jpg")
    assert own.classes == ("Birnen", "Äpfel")
    (tmp_path / "c.jpg").write_bytes(b"x")
    own = find_csv(table(tmp_path, f"path,label\n{tmp_path / 'c.jpg'},x\na.jpg,y\n"))
    assert own.training.read(0) == b"x"


def test_splits(tmp_path: Path) -> None:
    own = find_csv(table(tmp_path, "path,label,split\na.jpg,x,train\nb.jpg,y,Train\nc.jpg,y,valid\nd.jpg,x,test\n"))
    assert {split: images.paths for split, images in own.splits.items()} == {
        "train": ("a.jpg", "b.jpg"), "val": ("c.jpg",), "test": ("d.jpg",),
    }  # fmt: skip
    assert own.splits["val"].labels.tolist() == [1]
    assert own.notes[0] == "val has no images of x, which are therefore not evaluated there"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: no column path"),
        ("file,label\na.jpg,x\n", r"line 1: no column path \(found: file, label\)"),
        ("path,path,label\na,b,c\n", "line 1: more than one column path"),
        ("path,label\n", "lists no images"),
        ("path,label\na.jpg,x\nb.jpg\n", "line 3: 1 value for 2 columns"),
        ("path,label\na.jpg,x,y\n", "line 2: 3 values for 2 columns"),
        ("path,label\na.jpg,\n", "line 2: the label is empty"),
        ("path,label\n,x\n", "line 2: the path is empty"),
        ("path,label\na.jpg,x\n\na.jpg,y\n", "line 4: a.jpg is listed already in line 2"),
        ("path,label,split\na.jpg,x,traning\n", "line 2: the split is 'traning'"),
        ("path,label,split\na.jpg,x,train\nb.jpg,y,val\n", "no image to train on has the label y"),
        ('path,label\n"a.jpg,x\n', "is a quotation mark left open"),
        (b"path,label\na.jpg,x\nb.jpg,\xe4\n", "line 3: not UTF-8"),
        ("path,label\nq.jpg,x\nr.jpg,y\n", r"not one of them is there; the first would be .*/q\.jpg"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_csv(table(tmp_path, content))
