"""The words that must not come back: none is there, and the check would see one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import words


@pytest.mark.skipif(not (words.ROOT / ".git").exists(), reason="the files are listed by git")
def test_no_such_word_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert words.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "def find_pictures() -> None:",
        "A Picture of a cat",
        "the norm behind the convolution",
        "def test_it_stops_behind_a_step() -> None:",
        "500 images a second",
        "once an epoch",
        "columns = 'is \\ taken for'",
        "the file is none of ours",
        "at twice the pace",
        "the report lies beside it",
        "what stands in the file",
        "一张图片",
    ],
)
def test_the_check_sees(line: str) -> None:
    assert [number for number, *_ in words.found_in(f"good\n{line}\n")] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "nothing is left behind when the disk is full",
        "mean_picture: str",
        'aliases=["--pictures"]',
        "updates its statistics a second time",
        "the file belongs to a class",
    ],
)
def test_the_check_passes_over(line: str) -> None:
    assert not list(words.found_in(line))
