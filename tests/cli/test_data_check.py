"""`resnets data check` as a person and as a program call it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnets.data.datasets.catalogue import DATASETS, load
from resnets.data.datasets.holdout import read_exclusions

sys.path.append(str(Path(__file__).parents[1] / "data"))
from sick_folders import clean_folder, sick_folder

Call = Callable[..., tuple[int, str, str]]


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def pets(in_folder: Path) -> Path:
    return sick_folder(in_folder / "pets")


def test_what_a_person_sees(call: Call, pets: Path) -> None:
    status, output, _ = call("data", "check", "pets", "--workers", 0)
    assert status == 0
    assert "pets: 45 images in 2 classes (train 36, val 9)" in output
    assert "train/cat/empty.jpg (0 bytes)" in output
    assert "5 images have to be left out" in output
    assert "--exclude checks/pets/exclude.csv" in output
    assert len(read_exclusions(Path("checks/pets/exclude.csv"))) == 5


def test_the_page_is_self_contained_and_shows_each_kind(call: Call, pets: Path) -> None:
    (pets / "train" / "cat" / "0.jpg").rename(pets / "train" / "cat" / "<b>&.jpg")
    Image.new("L", (40, 40)).save(pets / "train" / "cat" / "<i>.png")
    call("data", "check", "pets", "--workers", 0)
    page = Path("checks/pets/index.html").read_text()
    assert "&lt;i&gt;.png" in page
    assert "<i>" not in page
    for kind in ("empty", "damaged", "leak", "contradiction", "cmyk", "blank"):
        assert page.count(f'<section id="{kind}"') == 1
    assert "http" not in page
    assert page.count('src="data:image/jpeg;base64,') == page.count("<img ")
    # 3 groups of two, 6 odd ones and a blank one, and the damaged one as far as it goes; nothing of the empty one, the text and the bomb.
    assert page.count("<img ") == 3 * 2 + 6 + 1 + 1
    assert page.count("nothing to show") == 3


def test_json_is_one_object_a_finding_and_a_summary(call: Call, pets: Path) -> None:
    status, output, _ = call("data", "check", "pets", "--json", "--no-page", "--output", "out", "--workers", 1)
    *findings, summary = objects(output)
    assert status == 0
    assert {finding["event"] for finding in findings} == {"finding"}
    assert all(
        {"kind", "severity", "names", "detail", "excluded", "explanation", "what_to_do"} <= value.keys() for value in findings
    )
    assert summary["event"] == "summary"
    assert (summary["excluded"], summary["exclude"], summary["warn"], summary["note"]) == (5, 5, 5, 3)
    assert summary["splits"] == {"train": 36, "val": 9}
    assert summary["page"] is None
    assert summary["exclusions"] == str(Path("out/exclude.csv"))
    assert [path.name for path in Path("out").iterdir()] == ["exclude.csv"]


def test_strict_fails_only_where_images_have_to_be_left_out(call: Call, pets: Path) -> None:
    assert call("data", "check", "pets", "--strict", "--no-page", "--workers", 0)[0] == 1
    clean_folder(Path("clean"))
    status, output, _ = call("data", "check", "clean", "--strict", "--workers", 0)
    assert status == 0
    assert "nothing is wrong" in output
    assert "Nothing is wrong" in Path("checks/clean/index.html").read_text()
    assert read_exclusions(Path("checks/clean/exclude.csv")) == frozenset()


def test_a_list_of_files(call: Call, pets: Path) -> None:
    Path("list.csv").write_text("path,label,split\n" + "".join(
        f"pets/{split}/{label}/{number}.jpg,{label},{split}\n"
        for split in ("train", "val") for label in ("cat", "dog") for number in range(4)
    ) + "pets/train/cat/empty.jpg,cat,train\n")  # fmt: skip
    status, output, _ = call("data", "check", "list.csv", "--json", "--no-page", "--workers", 0)
    *findings, summary = objects(output)
    assert status == 0
    assert summary["splits"] == {"train": 9, "val": 8}
    kinds = {finding["kind"]: finding["names"] for finding in findings}
    assert kinds["empty"] == ["pets/train/cat/empty.jpg"]
    assert kinds.keys() == {"empty", "few-images"}


def test_the_digits(call: Call, in_folder: Path) -> None:
    """Checked against NumPy: each of the 1,797 images is another, and the classes are balanced."""
    status, output, _ = call("data", "check", "digits", "--json", "--strict")
    *findings, summary = objects(output)
    assert status == 0
    assert findings == []
    rows = np.concatenate([load("digits", split).images.numpy().reshape(-1, 64) for split in ("train", "test")])
    assert len(np.unique(rows, axis=0)) == summary["num_images"]
    assert summary["splits"] == {"train": DATASETS["digits"].num_train, "test": DATASETS["digits"].num_test}


def test_what_is_not_there(call: Call, in_folder: Path) -> None:
    status, _, errors = call("data", "check", "nowhere")
    assert status == 2
    assert "'nowhere'" in errors
    assert "fashion-mnist" in errors
    assert call("data", "check", "digits", "--workers", -1)[0] == 2
    status, output, _ = call("data", "check", "--help")
    assert status == 0
    assert "Exit status" in output
