"""Tables, plots and the page about a run."""

import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from rich.console import Console

from resnets.reports import plots
from resnets.reports.tables import confusion_rows, duration, giga, percent, print_table, table
from resnets.training.run import Run, RunDirectory


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (245.2, "4 min 05 s"), (7620, "2 h 07 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers() -> None:
    assert (percent(0.92655), percent(None), percent(0.5, 1)) == ("92.66%", "-", "50.0%")
    assert (giga(4_089_184_256), giga(25_557_032)) == ("4.09 G", "25.6 M")
    assert confusion_rows([[3, 0], [1, 2]], ["a", "b"]) == [["a", "3", "·"], ["b", "1", "2"]]


def test_a_table_in_a_pipe_is_never_cut_and_takes_no_markup() -> None:
    file = io.StringIO()
    print_table(Console(file=file, width=30), table("Title", ("name", "count"), [("[bold]long" + "x" * 60, 7), ("b", 12)]))
    lines = file.getvalue().splitlines()
    assert any("[bold]long" + "x" * 60 in line for line in lines)
    ends = [re.search(r"\d+(?= *$)", line).end() for line in lines if re.search(r"\d *$", line)]  # type: ignore[union-attr]
    assert len(ends) == 2
    assert ends[0] == ends[1]  # numbers are aligned right


class Outline(HTMLParser):
    """Collects headings and everything that a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.loaded: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag in ("h1", "h2")
        self.loaded += [value or "" for name, value in attrs if name == "src" or (name == "href" and tag in ("link", "script"))]

    def handle_data(self, data: str) -> None:
        if self.inside and data.strip():
            self.headings.append(data.strip())
        self.inside = False


def test_the_report_is_one_page_that_loads_nothing(small_run: Run) -> None:
    text = (small_run.directory / "report.html").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(text)
    assert outline.headings == ["digits", "Training", "Classes", "What was taken for what", "Recipe", "Environment"]
    assert outline.loaded == []
    assert percent(small_run.metrics["top1"]) in text
    assert text.count("<svg") == 2
    assert "network: cifar-resnet8" in text


def test_plots_are_repeatable_svg(small_run: Run) -> None:
    events = RunDirectory(small_run.directory).events()
    first, second = (plots.svg(plots.training_curves(events)) for _ in range(2))
    assert first == second
    assert ElementTree.fromstring(first).tag.endswith("svg")


def test_a_large_confusion_matrix_leaves_out_what_does_not_fit() -> None:
    classes = [f"class {i}" for i in range(50)]
    drawn = plots.confusion_matrix([[int(i == j) for j in range(50)] for i in range(50)], classes)
    assert "class 7" not in plots.svg(drawn)
