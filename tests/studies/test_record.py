"""The record answers the question, and the page shows it."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from invented import degraded, invented, planned

from resnets.studies import get_study
from resnets.studies.page import write_audit, write_study
from resnets.studies.record import make_record

Record = dict[str, Any]


def reversed_depths(arm: str, seed: int) -> tuple[float, float]:
    family, depth = arm.split("-")
    return degraded(f"{'residual' if family == 'plain' else 'plain'}-{depth}", seed)


def record_of(errors: Any = degraded, diverged: tuple[str, ...] = (), seeds: int = 3) -> Record:
    study = get_study("degradation")
    plan = planned(study, "56 layers", seeds=seeds)
    return make_record(
        study, plan, invented(study, plan, errors, diverged), {"processor": "a machine"}, "resnets study degradation"
    )


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of()


def test_the_answer_says_whether_by_how_much_and_how_sure(record: Record) -> None:
    assert record["holds"] is True
    assert record["answer"].startswith("Yes, it held here. Plain-56 has a higher training error than plain-8: ")
    assert re.search(r"42\.\d\d points \(95 % interval 4\d\.\d\d to 4\d\.\d\d\)", record["answer"])
    assert "3 seeds, paired" in record["answer"]


def test_the_reverse_is_a_no_and_one_seed_no_answer() -> None:
    assert record_of(reversed_depths)["holds"] is False
    alone = record_of(seeds=1)
    assert alone["holds"] is None
    assert alone["answer"].startswith("Not resolved at this budget.")


def test_rows_stand_beside_the_published_numbers(record: Record) -> None:
    rows = {row["arm"]: row for row in record["rows"]}
    assert rows["residual-56"]["published"] == "6.97"
    assert rows["plain-8"]["published"] is None
    measured = rows["plain-20"]["metrics"]["train_error"]
    values = [degraded("plain-20", seed)[0] for seed in range(3)]
    assert measured["mean"] == pytest.approx(sum(values) / 3)
    assert measured["values"] == {str(seed): value for seed, value in enumerate(values)}


def test_every_difference_from_the_paper_is_stated(record: Record) -> None:
    assert set(record["differences"]) == {
        "Left out: plain-32, plain-44, plain-110, residual-32, residual-44, residual-110.",
        "Not in the paper: plain-8, residual-8.",
        "Width: 16 in the paper, 8 here (all networks).",
        "Stem width: 16 in the paper, 8 here (all networks).",
        "Stride of the stem: 1 in the paper, 2 here (all networks).",
        "Data set: CIFAR-10 in the paper, Fashion-MNIST here.",
        "Training images: 50,000 in the paper, 60,000 here.",
        "Image size in pixels: 32 in the paper, 28 here.",
        "Padding of random crops in pixels: 4 in the paper, 0 here.",
        "Mirroring of training images: random in the paper, none here.",
        "Learning rate schedule: times 0.1 at 0.5 and 0.75 of the run in the paper, linear here.",
        "Warm-up: none in the paper, from 0 for the first 100 steps here.",
        "Optimizer steps: 64,000 in the paper, 1,000 here.",
    }


def test_the_papers_own_setting_differs_in_the_data_alone() -> None:
    study = get_study("degradation")
    plan = planned(study, "paper", steps=64_000)
    record = make_record(study, plan, invented(study, plan, degraded), {}, "")
    assert record["differences"] == [
        "Data set: CIFAR-10 in the paper, Fashion-MNIST here.",
        "Training images: 50,000 in the paper, 60,000 here.",
        "Image size in pixels: 32 in the paper, 28 here.",
    ]


def test_the_record_is_json(record: Record) -> None:
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_page_is_one_file_that_begins_with_the_answer(record: Record, tmp_path: Path) -> None:
    page = write_study(record_of(diverged=("plain-56",)), tmp_path / "degradation")
    text = page.read_text()
    body = text[text.index("<h1>") :]
    assert body.index(record["question"]) < body.index("Yes, it held here.") < body.index("<svg")
    assert "(3 diverged)" in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "prefers-color-scheme: dark" in text
    assert {file.name for file in page.parent.iterdir()} == {"index.html", "record.json", "curves.svg", "series.svg"}


def test_figures_name_their_curves_and_dash_the_training_error(record: Record, tmp_path: Path) -> None:
    write_study(record, tmp_path)
    svg = (tmp_path / "curves.svg").read_text()
    ElementTree.fromstring(svg)
    for row in record["rows"]:
        assert f">{row['arm']}<" in svg
    assert svg.count("stroke-dasharray") >= 6  # a dashed training curve for each of the six networks
    assert "var(--blue" in svg


def test_many_arms_get_a_panel_each(tmp_path: Path) -> None:
    study = get_study("shortcut-ablation")
    plan = planned(study, "20 layers")
    made = make_record(study, plan, invented(study, plan, lambda arm, seed: (0.1 + 0.01 * (len(arm) + seed), 0.2)), {}, "")
    write_study(made, tmp_path)
    assert (tmp_path / "curves.svg").read_text().count("exclusive gate, bias -6") == 1
    assert ">fail<" in (tmp_path / "dots.svg").read_text()


def test_one_page_of_many_studies(record: Record, tmp_path: Path) -> None:
    page = write_audit([record, record_of(reversed_depths)], tmp_path / "index.html").read_text()
    assert "1 of 2 held, 1 did not, 0 were not resolved" in page
