"""resnets study: what is asked is checked, and what is answered is a table, a page, or JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from resnets.cli.commands.study import seconds
from resnets.studies import STUDIES, step_time

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("90", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("0.5h", 1800)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("degredation",), "did you mean 'degradation'"),
        ((), "name a study"),
        (("degradation", "--budget", "soon"), "is no time"),
        (("degradation", "--budget", "0m"), "is no time"),
        (("degradation", "--all"), "leave them or the name"),
        (("degradation", "--data", "cifar11"), "cifar10"),
        (("degradation", "--size", "huge"), "it has 32 layers, 56 layers, paper"),
        (("degradation", "--bugdet", "1h"), "did you mean --budget"),
    ],
)
def test_wrong_requests(call: Call, in_folder: Path, arguments: tuple[str, ...], said: str) -> None:
    status, output, errors = call("study", *arguments)
    assert (status, output) == (2, "")
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert not list(in_folder.iterdir())


def test_the_bottleneck_study_as_json(call: Call, in_folder: Path) -> None:
    status, output, _ = call("study", "bottleneck", "--json", "--runs", in_folder / "runs")
    lines = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    assert {line["event"] for line in lines[:-1]} == {"run"}
    assert lines[-1].keys() >= {"study", "claim", "holds", "rows", "page"}
    assert (lines[-1]["study"], lines[-1]["holds"]) == ("bottleneck", True)
    assert Path(lines[-1]["page"]) == Path("studies/bottleneck/index.html")
    assert Path(lines[-1]["page"]).is_file()


def test_a_study_in_small_goes_on_with_its_plan(call: Call, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "measure_step", lambda _recipe: 0.01)
    options = ("--data", "digits", "--steps", "1", "--seeds", "1", "--size", "20 layers", "--runs", in_folder / "runs")
    status, output, errors = call("study", "activation-order", *options)
    assert status == 0, errors
    assert output.startswith("Not resolved at this budget.")
    assert "Optimizer steps: 64,000 in the paper, 1 here." in output
    assert "[5/5] full pre-activation, seed 0" in errors
    monkeypatch.setattr(step_time, "measure_step", lambda _recipe: 1e9)
    status, again, errors = call("study", "activation-order", *options)
    assert (status, again) == (0, output)
    assert "5 of 5 measurements are finished already" in errors
    assert "seed 0:" not in errors


def test_the_list_costs_each_from_a_measured_step(call: Call, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "measure_step", lambda _recipe: 0.01)
    monkeypatch.setattr("resnets.cli.commands.study.STUDIES", {name: STUDIES[name] for name in ("degradation", "bottleneck")})
    status, output, _ = call("study", "--list", "--json", "--runs", in_folder / "runs")
    rows = {row["study"]: row for row in map(json.loads, output.splitlines())}
    assert status == 0
    assert list(rows) == ["degradation", "bottleneck"]
    assert rows["bottleneck"]["least_seconds"] == 0
    # six networks, three seeds, 600 steps of a hundredth of a second, and what a run costs besides
    assert 108 < rows["degradation"]["least_seconds"] < 108 + 18 * 5
    # ten networks up to 110 layers at the seconds a multiply-add of the smallest
    assert rows["degradation"]["paper_seconds"] > 64_000 * 0.01 * 10
    status, output, _ = call("study", "--list", "--runs", in_folder / "runs")
    assert (status, output.count("He 2015 Fig. 1, 4, 6; Tables 2, 6")) == (0, 1)


def test_one_page_of_all(call: Call, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnets.studies.run.shares", lambda _budget: {"bottleneck": 0.0})
    status, output, _ = call("study", "--all", "--json", "--runs", in_folder / "runs")
    last = json.loads(output.splitlines()[-1])
    assert (status, last["study"], last["page"]) == (0, "all", "studies/index.html")
    assert [(row["study"], row["holds"]) for row in last["rows"]] == [("bottleneck", True)]
    text = (in_folder / "studies" / "index.html").read_text()
    assert "1 of 1 held" in text
    assert (in_folder / "studies" / "bottleneck" / "record.json").is_file()


def test_the_budget_is_shared_by_what_trains() -> None:
    from resnets.studies.run import shares

    given = shares(900.0)
    assert sum(given.values()) == pytest.approx(900.0)
    assert given["bottleneck"] == 0.0
    assert given["signal"] == given["degradation"] > 0
