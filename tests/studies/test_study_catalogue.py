"""The studies are what the papers did: their networks exist, and the numbers beside ours are the printed ones."""

import subprocess
import sys

import pytest

from resnets.inspection.zoo_costs import count
from resnets.networks.zoo import get_spec
from resnets.studies import STUDIES, get_study, published
from resnets.studies.experiment import Study
from resnets.studies.metrics import METRICS

EVERY = pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))


def test_all_ten_are_there() -> None:
    assert list(STUDIES) == [
        "degradation", "shortcut-options", "shortcut-ablation", "activation-order", "very-deep", "width", "cardinality", "inception",
        "signal", "bottleneck",
    ]  # fmt: skip


@EVERY
def test_every_network_can_be_built(study: Study) -> None:
    named = [arm.paper_network for arm in study.arms] + [network for rung in study.rungs for network in rung.networks.values()]
    assert all("/" in network or get_spec(network) for network in named if network is not None)


@EVERY
def test_the_last_size_is_the_papers(study: Study) -> None:
    theirs = {arm.name: arm.paper_network for arm in study.arms if arm.paper_network is not None and arm.time_of is None}
    assert {name: network for name, network in study.rungs[-1].networks.items() if name in theirs} == theirs


@EVERY
def test_what_is_compared_and_shown_is_measured(study: Study) -> None:
    assert {comparison.metric for comparison in study.comparisons} | set(study.metrics) <= set(METRICS)
    assert any(comparison.key for comparison in study.comparisons)


@EVERY
def test_sizes_grow(study: Study) -> None:
    steps = [rung.minimum_steps for rung in study.rungs]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("study", "arm", "printed"),
    [
        ("degradation", "residual-110", "6.61 ± 0.16"),
        ("degradation", "plain-110", "> 60"),
        ("shortcut-options", "option C", "24.19"),
        ("shortcut-ablation", "0.5 x + 0.5 F", "12.35"),
        ("shortcut-ablation", "exclusive gate, bias 0", "fail"),
        ("shortcut-ablation", "shortcut gate, bias -6", "6.91"),
        ("activation-order", "full pre-activation", "6.37"),
        ("very-deep", "pre-activation-1001", "4.92"),
        ("width", "wide and shallow", "4.81"),
        ("cardinality", "32x4d", "22.2"),
        ("inception", "Inception-ResNet-v2", "19.9"),
        ("bottleneck", "ResNet-152", "11.3 G"),
    ],
)
def test_published_numbers_are_those_that_the_papers_print(study: str, arm: str, printed: str) -> None:
    answers = get_study(study).arm(arm).answers
    assert answers is not None
    assert published.describe(answers) == printed
    assert "read in" in published.source(answers)


@EVERY
def test_every_answer_is_found(study: Study) -> None:
    for arm in study.arms:
        if arm.answers is not None:
            assert published.rows(arm.answers)[0]["model"] == arm.answers.model


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_width_compares_networks_of_as_many_parameters(size: int) -> None:
    networks = get_study("width").rungs[size].networks
    thin, wide = (count(get_spec(networks[name]))[0] for name in ("thin and deep", "wide and shallow"))
    assert wide == pytest.approx(thin, rel=0.07)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_cardinality_compares_networks_of_equal_cost(size: int) -> None:
    rung = get_study("cardinality").rungs[size]
    costs = {name: count(get_spec(network))[1] for name, network in rung.networks.items()}
    equal = [costs[name] for name in ("1x64d", "2x40d", "4x24d", "8x14d", "32x4d")]
    assert max(equal) < 1.09 * min(equal)
    if "deeper" in costs:
        twice = [costs[name] for name in ("deeper", "wider", "2x64d", "64x4d")]
        assert max(twice) < 1.15 * min(twice)
        assert min(twice) > 1.4 * max(equal)


def test_signal_and_degradation_train_the_same_networks() -> None:
    shared = {"plain-20", "plain-56", "residual-20", "residual-56"}
    degradation, signal = get_study("degradation").rungs[1].networks, get_study("signal").rungs[0].networks
    assert all(degradation[name] == signal[name] for name in shared)


def test_importing_them_loads_no_torch() -> None:
    code = "import sys; import resnets.studies; import resnets.cli.commands.study; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_study_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'degradation'"):
        get_study("degredation")
