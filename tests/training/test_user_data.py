"""Training on a folder of real images: what a run sees, what it remembers, and what broken files change."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from resnets.classification.feed import Feed, open_feed
from resnets.classification.recipe import Recipe
from resnets.classification.user_data import SPLIT, UNREADABLE
from resnets.data.errors import DataError
from resnets.tasks import resume, train

sys.path.append(str(Path(__file__).parent.parent / "data"))

from broken_images import READABLE, break_folder, digits_folder
from broken_images import UNREADABLE as BROKEN

from resnets.data.sampling.order import Share


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images in ten classes; tests copy it before they change it."""
    return digits_folder(tmp_path_factory.mktemp("own") / "digits")


@pytest.fixture
def small(digits: Path, tmp_path: Path) -> Recipe:
    """A matter of a second, on a copy of the images."""
    folder = shutil.copytree(digits, tmp_path / "digits")
    return Recipe(
        data=str(folder), holdout=0.2, network="cifar-resnet8", image_size=16, epochs=2, batch_size=16, precision="fp32", report=False,
        device="cpu", output=tmp_path / "run",
    )  # fmt: skip


def opened(recipe: Recipe, reports: list[str] | None = None) -> Feed:
    return open_feed(recipe, torch.device("cpu"), Share(), (reports if reports is not None else []).append)


def names(feed: Feed) -> tuple[list[str], list[str]]:
    return list(feed.training.names), list(feed.evaluation.names)  # type: ignore[attr-defined]


def test_the_split_is_stratified_and_the_images_are_those_of_the_files(small: Recipe) -> None:
    feed = opened(small)
    training, held = names(feed)
    assert (len(training), len(held)) == (96, 24)
    assert sorted(training + held) == sorted(p.relative_to(small.data).as_posix() for p in Path(small.data).rglob("*.jpg"))
    counts = torch.bincount(feed.evaluation.labels)
    assert counts.min() >= 2
    assert counts.max() <= 3
    assert [feed.classes[label] for label in feed.training.labels.tolist()] == [name.partition("/")[0] for name in training]
    assert feed.preprocessing.channels == 1  # scans without colours
    assert "24 images held out of 120" in feed.evaluated_on


def test_broken_files_change_the_count_and_nothing_else(small: Recipe) -> None:
    whole = train(small.updated(output=small.output.parent / "whole"))  # type: ignore[union-attr]
    broken = break_folder(Path(small.data) / "3")
    (Path(small.data) / "notes.txt").write_text("no image")
    events: list[dict[str, Any]] = []
    run = train(small, [events.append])
    start = next(event for event in events if event["event"] == "start")
    assert start["left_out"] == {"excluded": 0, "unreadable": len(broken), "ignored": 1}
    assert start["training_images"] == 96
    said = "\n".join(event["message"] for event in events if event["event"] == "message")
    assert all(f"3/{name} is left out, " in said for name in broken)
    assert run.metrics["loss"] == whole.metrics["loss"]
    assert run.metrics["confusion"] == whole.metrics["confusion"]
    weights = [torch.load(r.directory / "checkpoint.pt", weights_only=True)["network"] for r in (run, whole)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])
    assert [line.split(",")[0] for line in (run.directory / UNREADABLE).read_text().splitlines()[1:]] == sorted(
        f"3/{n}" for n in broken
    )
    assert json.loads((run.directory / "metrics.jsonl").read_text().splitlines()[-1])["left_out"]["unreadable"] == len(broken)


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_broken_files_in_given_splits(small: Recipe, tmp_path: Path, digits: Path, loading: str) -> None:
    folder = tmp_path / "given"
    for split in ("train", "val"):
        shutil.copytree(digits, folder / split)
    before = opened(small.updated(data=str(folder), holdout=0.0, loading=loading))
    assert before.unused()["unreadable"] == 0
    broken = break_folder(folder / "train" / "5")
    for name, make in READABLE.items():
        (folder / "train" / "4" / name).write_bytes(make())
    recipe = small.updated(data=str(folder), holdout=0.0, loading=loading, workers=0, drop_last=False, epochs=1)
    run = train(recipe)
    events = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    assert events[-1]["left_out"]["unreadable"] == len(broken)
    assert events[-1]["num_images"] == 120
    feed = opened(recipe)
    seen = sum(len(batch.labels) for batch in feed.training.epoch(0))
    assert seen == 120 + len(READABLE)


def test_too_many_broken_files_are_an_error(small: Recipe) -> None:
    folder = Path(small.data)
    for index in range(7):
        (folder / "0" / f"broken{index}.jpg").write_bytes(BROKEN["text.jpg"]())
    with pytest.raises(DataError, match=r"7 of 127 images .* cannot be read, more than max_unreadable=0.05"):
        opened(small)
    assert len(names(opened(small.updated(max_unreadable=0.1)))[0]) == 96
    (folder / "0" / "broken0.jpg").unlink()
    assert opened(small).unused()["unreadable"] == 6  # 6 of 126 are allowed, wherever they would have fallen


def test_a_resumed_run_sees_the_images_with_which_it_began(small: Recipe, digits: Path) -> None:
    broken = break_folder(Path(small.data) / "3")
    run = train(small.updated(max_steps=5))
    assert (run.directory / SPLIT).read_text().startswith("path,label,split\n")
    going_on = small.updated(output=run.directory)
    before = names(opened(going_on))
    shutil.copy(Path(small.data) / "1" / os.listdir(digits / "1")[0], Path(small.data) / "1" / "later.jpg")
    (Path(small.data) / "3" / "empty.jpg").write_bytes((digits / "3" / os.listdir(digits / "3")[0]).read_bytes())
    reports: list[str] = []
    assert names(opened(going_on, reports)) == before
    assert any(report.startswith("1 images came into") for report in reports)
    assert names(opened(small.updated(output=None))) != before
    assert len(broken) == opened(going_on).unused()["unreadable"]
    again = resume(run.directory)
    assert again.metrics["loss"] == run.metrics["loss"]
    (Path(small.data) / before[0][0]).unlink()
    with pytest.raises(DataError, match="1 images with which the run began cannot be read any more"):
        resume(run.directory)


def test_an_exclusion_list_is_honoured_and_counted(small: Recipe, tmp_path: Path) -> None:
    training, held = names(opened(small))
    listing = tmp_path / "leave-out.txt"
    listing.write_text("\n".join([training[0], held[0], "absent.jpg"]))
    reports: list[str] = []
    feed = opened(small.updated(exclude=listing), reports)
    assert not {training[0], held[0]} & {*feed.training.names, *feed.evaluation.names}  # type: ignore[attr-defined]
    assert feed.unused() == {"excluded": 2, "unreadable": 0, "ignored": 0}
    assert f"2 images are left out by {listing}, which lists 3" in reports
    with pytest.raises(ValueError, match="named data set"):
        opened(Recipe(data="digits", exclude=listing))


def test_balanced_sampling_and_a_table(small: Recipe, tmp_path: Path) -> None:
    folder = Path(small.data)
    rows = [
        f"digits/{p.relative_to(folder).as_posix()},{'even' if int(p.parent.name) % 2 == 0 else 'odd'}"
        for p in folder.rglob("*.jpg")
    ]
    few = [row for row in rows if row.endswith("odd")][:6]
    table = tmp_path / "list.csv"
    table.write_text("path,label\n" + "\n".join([*few, *(row for row in rows if row.endswith("even"))]))
    feed = opened(small.updated(data=str(table), sampling="balanced"))
    assert feed.classes == ("even", "odd")
    drawn = torch.cat([batch.labels for epoch in range(20) for batch in feed.training.epoch(epoch)])
    assert 0.4 < float(drawn.float().mean()) < 0.6  # 5 of 53 are odd


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"holdout": 0.0}, "nothing to evaluate on"),
        ({"data": "absent/folder"}, "no folder or file"),
        ({"data": "digitz"}, "did you mean"),
    ],
)
def test_what_cannot_be_trained_on(small: Recipe, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opened(small.updated(**fields))


def test_one_class_is_refused(small: Recipe) -> None:
    for path in Path(small.data).iterdir():
        if path.name != "7":
            shutil.rmtree(path)
    with pytest.raises(DataError, match="has the one class 7"):
        opened(small)
