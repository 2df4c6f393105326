"""Tables and plots."""

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy
import pytest
import torch
from rich.console import Console

from resnets.reports import plots
from resnets.reports.calibration import calibration
from resnets.reports.confusion import class_rows, coarse_shares, confused_pairs
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


def test_plots_are_repeatable_svg(small_run: Run) -> None:
    events = RunDirectory(small_run.directory).events()
    first, second = (plots.svg(plots.training_curves(events)["Loss (nats)"], "loss") for _ in range(2))
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.tag.endswith("svg")
    assert root.get("aria-label") == "loss"
    assert "#000000" not in first  # the page's own text colour instead, for dark pages


def test_no_two_plots_of_a_page_share_a_name(small_run: Run) -> None:
    events = RunDirectory(small_run.directory).events()
    figures = plots.training_curves(events)
    assert list(figures) == ["Loss (nats)", "Accuracy", "Learning rate"]
    names = [re.findall(r'\bid="([^"]*)"', plots.svg(drawn, title)) for title, drawn in figures.items()]
    assert all(names)
    assert len(set().union(*names)) == sum(map(len, names))


def test_curves_of_a_run_with_one_step_and_one_evaluation_or_none() -> None:
    step = {"event": "step", "epoch": 1.0, "loss": 2.0, "accuracy": 0.4, "learning_rate": 0.1}
    evaluation = {"event": "evaluation", "epoch": 1.0, "loss": 1.25, "top1": 0.5}
    figures = plots.training_curves([step, evaluation])
    assert "1.2500" in plots.svg(figures["Loss (nats)"], "loss")
    assert figures["Accuracy"].axes[0].get_xlim()[0] == 0
    assert list(plots.training_curves([evaluation])) == ["Loss (nats)", "Accuracy"]
    assert plots.training_curves([]) == {}


def test_the_reliability_diagram_shows_accuracies_confidences_and_counts() -> None:
    drawn = plots.reliability_diagram(
        calibration(torch.tensor([0.95, 0.95, 0.85, 0.28]), torch.tensor([True, False, True, False]), 10)
    )
    upper, lower = drawn.axes
    assert [bar.get_height() for bar in upper.patches] == [0, 1, 0.5]
    assert [bar.get_x() + bar.get_width() / 2 for bar in upper.patches] == pytest.approx([0.25, 0.85, 0.95])
    assert [segment[0][1] for segment in upper.collections[0].get_segments()] == pytest.approx([0.28, 0.85, 0.95])
    assert [text.get_text() for text in lower.texts] == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("count", "short"), [(0, "0"), (9999, "9999"), (10_000, "10k"), (999_499, "999k"), (999_500, "1M"), (1_281_167, "1.3M")]
)
def test_short_counts(count: int, short: str) -> None:
    assert plots.short_count(count) == short


def test_a_large_confusion_matrix_leaves_out_what_does_not_fit() -> None:
    classes = [f"class {i}" for i in range(300)]
    drawn = plots.confusion_matrix([[int(i == j) for j in range(300)] for i in range(300)], classes)
    assert "class 7" not in plots.svg(drawn, "matrix")
    assert max(drawn.get_size_inches()) < 30


def test_class_names_are_no_formulas() -> None:
    text = plots.svg(plots.confusion_matrix([[1, 0], [0, 1]], ["$\\bad", "<b>&"]), "matrix")
    assert "$\\bad" in text
    assert "&lt;b&gt;&amp;" in text


def test_rows_of_classes_and_of_confused_pairs() -> None:
    confusion, classes = [[6, 2, 0], [1, 0, 3], [0, 0, 0]], ["a", "b", "c"]
    a, b, c = class_rows(confusion, classes)
    assert (a.num_images, a.accuracy, a.precision, a.rival, a.rival_count) == (8, 6 / 8, 6 / 7, "b", 2)
    assert a.f1 == pytest.approx(2 * (6 / 8) * (6 / 7) / (6 / 8 + 6 / 7))
    assert (b.accuracy, b.precision, b.f1, b.rival) == (0, 0, 0, "c")
    assert (c.num_images, c.accuracy, c.precision, c.f1, c.rival) == (0, None, 0, 0, None)
    pairs = confused_pairs(confusion, classes, 2)
    assert [(pair.label, pair.predicted_as, pair.count, pair.share) for pair in pairs] == [
        ("b", "c", 3, 3 / 4),
        ("a", "b", 2, 2 / 8),
    ]
    assert len(confused_pairs(confusion, classes, 30)) == 3  # no pair that was never confused


def test_a_coarse_matrix_keeps_every_rare_confusion() -> None:
    confusion = numpy.diag([9] * 7)
    confusion[0, 6] = 1
    shares = coarse_shares(confusion.tolist(), 3)  # classes 0-1, 2-3 and 4-6
    assert shares.tolist() == [[1, 0, 0.1], [0, 1, 0], [0, 0, 1]]
    assert coarse_shares([[3, 1], [0, 0]], 3).tolist() == [[0.75, 0.25], [0, 0]]
