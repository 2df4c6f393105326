"""The finders: what they suggest, and that they leave everything as it was."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from resnets.classification.batch_finder import BatchSearch, Trial, find_batch_size, largest_that_fits, memory_line
from resnets.classification.learning_rate_finder import RangeTest, range_test, slope
from resnets.classification.recipe import Recipe
from resnets.cli import main
from resnets.tasks import open_session
from resnets.training.checkpoint import fingerprint

MIB = 1 << 20


def quiet(message: str) -> None:
    """Takes the messages of a session that no test reads."""


def test_a_range_test_on_the_digits_suggests_a_sane_rate(small_recipe: Recipe) -> None:
    """The recipe's own 0.1 was tuned; the suggestion is within a decade around it."""
    session = open_session(small_recipe, quiet)
    seen: list[tuple[int, float]] = []
    found = range_test(session, 1e-5, 30.0, 60, lambda step, rate, loss: seen.append((step, rate)))
    assert 0.03 < found.suggestion < 0.3
    assert found.rates[0] == pytest.approx(1e-5)
    ratios = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert ratios[0] == pytest.approx((30 / 1e-5) ** (1 / 59))
    assert seen == list(enumerate(found.rates, 1))


@pytest.mark.parametrize(
    "extra",
    [
        {"averaging": {"decay": 0.9}},
        {"pruning": 0.3, "optimizer": {"name": "adam"}},
        {"optimizer": {"name": "muon"}, "augmentation": {"mixup": 0.2}},
    ],
)
def test_the_session_comes_out_as_it_went_in(small_recipe: Recipe, extra: dict[str, Any]) -> None:
    from resnets.training.checkpoint import Position
    from resnets.training.loop import train_loop

    def train(session: Any) -> str:
        train_loop(session, Position(), lambda _: None, lambda _at, _must: None, lambda _result, _epoch: None, 0.0)
        return fingerprint(session)

    recipe = small_recipe.updated(network="cifar-resnet8:dropout=0.2", max_steps=5, evaluation__every=0, **extra)
    session, other = open_session(recipe, quiet), open_session(recipe, quiet)
    before = fingerprint(session)
    found = range_test(session, 1e-4, 1e4, 25)
    assert len(found.rates) >= 10
    find_batch_size(session, most=4)
    assert fingerprint(session) == before
    assert session.step.average is session.average
    assert session.step.accumulation == 1
    assert train(session) == train(other)


def test_divergence_ends_the_test_and_bounds_the_suggestion(small_recipe: Recipe) -> None:
    session = open_session(small_recipe.updated(network="cifar-resnet8:norm=group,norm_groups=4"), quiet)
    found = range_test(session, 1e-2, 1e8, 30)
    assert found.diverged
    assert len(found.rates) < 30
    assert found.divergence == found.rates[-1]
    assert found.suggestion <= found.rates[-1] / 10
    assert session.network.state_dict()["conv1.conv.weight"].isfinite().all()


def test_the_rule_by_hand() -> None:
    rates = tuple(10.0 ** (k / 10 - 4) for k in range(50))
    # A logistic fall around 1e-2, then a rise: steepest at its middle.
    losses = tuple(2 / (1 + math.exp(3 * (math.log10(rate) + 2))) for rate in rates)
    calm = RangeTest(rates, losses, losses, diverged=False)
    assert calm.steepest == pytest.approx(1e-2)
    assert (calm.divergence, calm.suggestion) == (None, calm.steepest)
    early = RangeTest(rates[:24], losses[:24], losses[:24], diverged=True)
    assert early.suggestion == pytest.approx(rates[23] / 10)
    line = tuple(5 - 0.7 * math.log(rate) for rate in rates)
    assert slope(rates, line, 20, list(range(50))) == pytest.approx(-0.7)
    infinite = RangeTest(rates[:25], (*losses[:24], math.inf), (*losses[:24], math.inf), diverged=True)
    assert math.isfinite(infinite.steepest)


def test_requests_that_are_no_range(small_recipe: Recipe) -> None:
    session = open_session(small_recipe, quiet)
    with pytest.raises(ValueError, match=r"from a low to a higher learning rate, both above 0, not from 1 to 0\.1"):
        range_test(session, 1.0, 0.1)
    with pytest.raises(ValueError, match="of 3 steps shows nothing"):
        range_test(session, steps=3)
    with pytest.raises(ValueError, match="needs two images or more"):
        find_batch_size(session, most=1)
    with pytest.raises(ValueError, match=r"above 0 and up to 1, not at 1\.5"):
        find_batch_size(session, share=1.5)


@pytest.mark.parametrize("limit", [2, 3, 5, 64, 100, 127, 1000])
def test_doubling_and_bisecting_come_within_an_eighth(limit: int) -> None:
    asked: list[int] = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= limit

    largest, failed = largest_that_fits(fits, 8192)
    assert largest <= limit < (failed or 0)
    assert (limit - largest) <= max(1, largest // 8)
    assert len(asked) < 16
    whole, failed = largest_that_fits(lambda size: True, 100)
    assert (92 < whole <= 100, failed) == (True, None)


def test_a_gpu_in_which_nothing_fits() -> None:
    with pytest.raises(ValueError, match="not even a batch of 2 images fits"):
        largest_that_fits(lambda size: False, 64)


def test_memory_goes_by_a_line_through_what_is_visible() -> None:
    """900 MiB were used before; a batch takes 500 MiB and 2 MiB per image."""
    peaks = [(size, max(900, 500 + 2 * size) * MIB) for size in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)]
    at_nothing, each = memory_line(peaks) or (0, 0)
    assert (at_nothing / MIB, each / MIB) == pytest.approx((500, 2))
    assert memory_line(peaks[:7]) is None
    assert memory_line(peaks[:8]) is None
    assert memory_line([(2, 900 * MIB)]) is None
    everything = [(size, (500 + 40 * size) * MIB) for size in (2, 4, 8)]
    at_nothing, each = memory_line(everything) or (0, 0)
    assert (at_nothing / MIB, each / MIB) == pytest.approx((500, 40))


def test_the_fastest_is_the_smallest_of_those_as_fast() -> None:
    trials = (Trial(2, 50, 1), Trial(8, 99, 1), Trial(16, 100, 1), Trial(4, 80, 1))
    assert BatchSearch(trials, 16, True, True, 0).fastest.batch_size == 8


def test_batches_of_a_session_on_the_cpu(small_recipe: Recipe) -> None:
    session = open_session(small_recipe.updated(batch_size=32, accumulation=4), quiet)
    seen: list[Trial] = []
    found = find_batch_size(session, most=16, listen=seen.append)
    assert [trial.batch_size for trial in found.trials] == [2, 4, 8, 16]
    assert tuple(seen) == found.trials
    assert (found.largest, found.tried, found.bounded) == (16, True, False)
    assert all(trial.images_per_second > 0 and trial.peak_memory > 50 * MIB for trial in found.trials)
    assert session.step.accumulation == 4


def test_the_commands(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["digits", "--network", "cifar-resnet8", "--json"]
    assert main(["find", "learning-rate", *small, "--steps", "20", "--low", "1e-4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suggestion"] > 0
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) <= 20
    assert (in_folder / "learning-rate.svg").read_text().lstrip().startswith("<?xml")
    assert main(["find", "batch-size", *small, "--most", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["largest"] == 4
    assert [trial["batch_size"] for trial in found["trials"]] == [2, 4]
    assert main(["find", "batch-size", *small[:-1], "--most", "4"]) == 0
    said = capsys.readouterr().out
    assert "largest         4 images, the limit of this search" in said
    for wrong, message in (
        (["find", "momentum"], "there is no command `resnets find momentum`; there are learning-rate, batch-size"),
        (["find", "learning-rate", "digits", "--steps", "many"], "--steps takes a whole number, not 'many'"),
        (["find", "learning-rate", "digits", "--plot", "curve.doc"], "end its name in .png, .svg or .pdf"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in in_folder.iterdir()) == ["learning-rate.svg"]


def test_out_of_memory_is_met_on_a_gpu(small_recipe: Recipe) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    session = open_session(small_recipe, quiet)
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 600 * MIB / total))
    try:
        found = find_batch_size(session, most=1 << 20)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert found.bounded
    assert found.tried
    assert max(trial.peak_memory for trial in found.trials) <= 600 * MIB
    assert found.largest == max(trial.batch_size for trial in found.trials)
