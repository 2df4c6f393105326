"""`resnets benchmark`: who takes part, what is counted, how turns are taken, and the rows that come out."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy
import PIL.Image
import pytest
import torch
import torchvision

import resnets
from resnets.benchmark import contestants as benchmark_contestants
from resnets.benchmark import rounds as benchmark_rounds
from resnets.benchmark.contestants import AGAINST, Contestant, contestants, peer_names
from resnets.benchmark.files import Subject, benchmark_images, peer_network, preprocessing_of, write_subject
from resnets.benchmark.jobs import TorchJob, open_job
from resnets.benchmark.roofline import MachineRates, best_and_median, measure_rates, work_of
from resnets.benchmark.rounds import Failed, Request, Rounds, Row, agreement
from resnets.benchmark.worker import resident
from resnets.inspection.traffic import count_traffic

Call = Callable[..., tuple[int, str, str]]


# What is counted ----------------------------------------------------------------------------------------------------------------


def test_bytes_counted_by_hand() -> None:
    # One 3x3 of 16 channels; a unit of two convolutions at 32x32, at 16x16 and at 8x8; shortcuts without convolutions; ten classes.
    traffic = count_traffic(resnets.get_spec("cifar-resnet8"))
    read = 3 * 1024 + 2 * 16 * 1024 + (16 * 1024 + 32 * 256) + (32 * 256 + 64 * 64) + 64
    written = 16 * 1024 + 2 * 16 * 1024 + 2 * 32 * 256 + 2 * 64 * 64 + 10
    summed = 16 * 1024 + 32 * 256 + 64 * 64
    assert (traffic.read, traffic.written, traffic.summed, traffic.pooled) == (read, written, summed, 0)
    assert (traffic.first_read, traffic.first_written) == (3 * 1024, 16 * 1024)
    assert traffic.prediction(4, 8) == 4 * (read + written + summed + traffic.parameters / 8)
    assert traffic.training(2, epilogue=False) == 2 * (3 * read + 11 * written + 4 * summed - 3 * 1024 - 16 * 1024)
    assert traffic.training(2, epilogue=True) == 2 * (3 * read + 7 * written + summed - 3 * 1024 - 2 * 16 * 1024)


def test_a_plain_network_sums_nothing_and_a_stem_pools() -> None:
    plain, residual = count_traffic(resnets.get_spec("plain18")), count_traffic(resnets.get_spec("resnet18"))
    assert plain.summed == 0
    assert residual.summed == 2 * (64 * 56**2 + 128 * 28**2 + 256 * 14**2 + 512 * 7**2)
    assert residual.pooled == 64 * 112**2 + 64 * 56**2
    with pytest.raises(ValueError, match="try a larger size"):
        count_traffic(resnets.get_spec("inception-v4"), 32)


def test_the_limit_is_the_slower_of_arithmetic_and_copying() -> None:
    work = work_of(resnets.get_spec("resnet18"), 224)
    arithmetic = MachineRates({"bf16": 1e9}, 1e30)
    assert work.limit(arithmetic, "predict", "bf16", 1) == pytest.approx(1e9 / 1_814_073_344)
    assert work.limit(arithmetic, "train", "bf16", 1) == pytest.approx(1e9 / (3 * 1_814_073_344))
    copying = MachineRates({"bf16": 1e30}, 1e9)
    assert work.limit(copying, "predict", "bf16", 4) == pytest.approx(1e9 / work.traffic.prediction(2, 4))
    assert work.limit(copying, "train", "bf16", 4) == pytest.approx(1e9 / work.traffic.training(2, epilogue=False))
    assert work.limit(copying, "predict", "int8", 4) is None


def test_the_better_measurement_of_each_rate_counts() -> None:
    better = MachineRates({"fp32": 2.0, "bf16": 3.0}, 5.0).faster(MachineRates({"fp32": 1.0, "bf16": 4.0}, 6.0))
    assert better == MachineRates({"fp32": 2.0, "bf16": 4.0}, 6.0)
    rates = measure_rates("cpu", ("fp32",), size=64, repeats=1)
    assert rates.macs_per_second["fp32"] > 1e6
    assert rates.copied_bytes_per_second > 1e6


def test_the_first_call_is_not_timed() -> None:
    calls: list[int] = []
    rate = best_and_median(lambda: calls.append(1), 10.0, 3)
    assert len(calls) == 4
    assert rate["best"] >= rate["median"] > 0


# Who takes part -----------------------------------------------------------------------------------------------------------------


def test_peers_are_found_by_what_the_network_is() -> None:
    assert peer_names(resnets.get_spec("resnext50-32x4d")) == {"torchvision": "resnext50_32x4d", "timm": "resnext50_32x4d"}
    assert peer_names(resnets.get_spec("resnet18", num_classes=7)) == {"torchvision": "resnet18", "timm": "resnet18"}
    assert peer_names(resnets.get_spec("resnet50-d")) == {"timm": "resnet50d"}
    assert peer_names(resnets.get_spec("resnet18", in_channels=1)) == {"timm": "resnet18"}
    assert peer_names(resnets.get_spec("cifar-resnet20")) == {}


def test_everybody_takes_part_in_each_precision() -> None:
    taking_part, skipped = contestants(("predict", "train"), ("fp32", "bf16"), AGAINST, {"torchvision": "a", "timm": "b"})
    names = [(c.engine, c.mode, c.precision) for c in taking_part]
    assert len(names) == len(set(names))
    assert names[0] == ("torchvision", "predict", "fp32")
    both = {name for name, mode, _ in names if mode == "predict"}
    assert both == {
        "torchvision", "torchvision-channels-last", "torchvision-compiled", "torchvision-onnxruntime", "torchvision-openvino",
        "timm-channels-last", "timm-compiled", "resnets", "resnets-compiled", "resnets-onnxruntime", "resnets-openvino",
    }  # fmt: skip
    assert ("resnets-onnxruntime", "predict", "bf16") not in names
    assert ("resnets-openvino", "train", "fp32") not in names
    assert skipped == ["onnxruntime has no convolutions in bf16 on CPUs"]
    assert [c for c in taking_part if c.plain] == [
        Contestant("torchvision", "torch", mode, "fp32", plain=True) for mode in ("predict", "train")
    ]


def test_what_is_missing_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_contestants, "find_spec", lambda name: None if name in ("timm", "openvino") else object())
    taking_part, skipped = contestants(("predict",), ("fp32",), AGAINST, {"timm": "b"}, compiled=False)
    assert [c.engine for c in taking_part] == ["resnets-plain", "resnets", "resnets-onnxruntime"]
    assert skipped == [
        "torchvision has no such network",
        "timm is not installed",
        "openvino is not installed: pip install openvino",
    ]
    _, skipped = contestants(("predict",), ("fp32",), ("onnxruntime",), {}, device="cuda")
    assert skipped == ["onnxruntime is measured on CPUs only"]


def test_int8_is_a_precision_of_the_runtimes_that_compute_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taking_part, _ = contestants(("predict", "train"), ("int8",), AGAINST, {"torchvision": "a"})
    assert [(c.engine, c.mode, c.precision) for c in taking_part] == [
        ("torchvision", "predict", "fp32"),
        ("torchvision", "train", "fp32"),
        ("resnets-onnxruntime", "predict", "int8"),
        ("resnets-openvino", "predict", "int8"),
    ]
    monkeypatch.setattr(benchmark_contestants, "find_spec", lambda name: None if name == "nncf" else object())
    taking_part, skipped = contestants(("predict",), ("fp32", "int8"), AGAINST, {})
    assert [c.engine for c in taking_part if c.precision == "int8"] == ["resnets-onnxruntime"]
    assert "resnets-openvino" in [c.engine for c in taking_part]
    assert any("nncf, which is not installed" in note for note in skipped)


def test_quantized_files_by_their_ending(tmp_path: Path) -> None:
    taking_part, _ = contestants(("predict",), ("fp32",), (), {}, compiled=False, quantized=[tmp_path / "a.xml"])
    assert (taking_part[-1].engine, taking_part[-1].precision) == ("resnets-openvino", "int8")
    assert taking_part[-1].file == str(tmp_path / "a.xml")
    with pytest.raises(ValueError, match=r"b\.pt is no ONNX"):
        contestants(("predict",), ("fp32",), (), {}, quantized=[tmp_path / "b.pt"])


# How turns are taken ------------------------------------------------------------------------------------------------------------


class Paced:
    """A process that takes a time known beforehand, and writes down its turns."""

    turns: ClassVar[list[tuple[str, int]]] = []
    seconds: ClassVar[dict[str, Callable[[int], float]]] = {}

    def __init__(self, contestant: Contestant, _subject: Any, _request: Any, folder: Path) -> None:
        self.contestant, self.opening, self.folder = contestant, {"contestant": contestant.as_json()}, folder

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        engine = self.contestant.engine
        if do == "open":
            return {}
        if do == "answers":
            numpy.save(self.folder / f"{engine}.npy", numpy.eye(3)[:, ::-1] if engine == "timm-channels-last" else numpy.eye(3))
            return {"path": str(self.folder / f"{engine}.npy")}
        taken = self.seconds[engine](order["batch"])
        if do == "warm":
            return {"seconds": taken, "peak_memory_bytes": 1000 * order["batch"], "libraries_memory_bytes": 10}
        self.turns.append((engine, order["batch"]))
        if engine == "timm-compiled":
            raise Failed("it fell over")
        return {"seconds": [taken, taken, 3 * taken]}

    def close(self) -> None:
        pass


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> type[Paced]:
    monkeypatch.setattr(benchmark_rounds, "Process", Paced)
    Paced.turns = []
    Paced.seconds = {
        "torchvision": lambda batch: 0.1 * batch,
        "resnets": lambda batch: 0.1 + 0.01 * batch + 0.05 * max(0, batch - 8),
        "resnets-compiled": lambda batch: 0.01 * batch,
        "timm-compiled": lambda batch: 0.02 * batch,
        "timm-channels-last": lambda batch: 0.03 * batch,
    }
    return Paced


def subject() -> Subject:
    return Subject("resnet18", resnets.create_model("cifar-resnet8"), 32, {})


def test_each_row_has_its_turn_in_every_round_in_changing_order(paced: type[Paced], tmp_path: Path) -> None:
    started: list[int] = []
    rounds = Rounds(subject(), Request(rounds=6, batches=(4, 1)), tmp_path, lambda message: None)
    taking_part = [
        Contestant("torchvision", "torch", "predict", "fp32", plain=True),
        Contestant("resnets", "torch", "predict", "fp32"),
        Contestant("timm", "torch", "predict", "fp32"),
    ]
    rows = rounds.measured(taking_part, lambda: started.append(len(paced.turns)))
    assert [(row.contestant.engine, row.batch) for row in rows] == [
        (contestant.engine, batch) for contestant in taking_part for batch in (1, 4)
    ]
    assert started == [0, 6, 12, 18, 24, 30]
    orders = [paced.turns[start : start + 6] for start in started]
    assert all(sorted(order) == sorted(orders[0]) and len(set(order)) == 6 for order in orders)
    assert len({tuple(order) for order in orders}) > 3
    assert (rows[0].latency, len(rows[0].rounds)) == (0.1, 6)
    assert rows[0].peak_memory == 1000
    scorer = rounds.agreements()
    assert scorer[taking_part[1]].top1 == 1.0
    assert scorer[taking_part[2]].top1 == pytest.approx(1 / 3)


def test_the_fastest_batch_is_searched_and_compiled_ones_take_their_siblings(paced: type[Paced], tmp_path: Path) -> None:
    rounds = Rounds(subject(), Request(rounds=1, most=64), tmp_path, lambda message: None)
    rows = rounds.measured(
        [
            Contestant("resnets", "torch", "predict", "fp32"),  # 8 images in 0.18 s are its best
            Contestant("resnets", "torch", "predict", "fp32", compiled=True),
            Contestant("timm", "torch", "predict", "fp32"),  # as fast at any batch: the smallest will do
            Contestant("resnets", "torch", "train", "fp32"),  # training begins at two images
        ],
        lambda: None,
    )
    assert [(row.contestant.mode, row.contestant.engine, row.batch) for row in rows] == [
        ("predict", "resnets", 1), ("predict", "resnets", 8), ("predict", "resnets-compiled", 1), ("predict", "resnets-compiled", 8),
        ("predict", "timm-channels-last", 1), ("train", "resnets", 8),
    ]  # fmt: skip


def test_one_that_fails_is_left_out_and_the_others_go_on(paced: type[Paced], tmp_path: Path) -> None:
    rounds = Rounds(subject(), Request(rounds=3, batches=(2,)), tmp_path, lambda message: None)
    failing = Contestant("timm", "torch", "predict", "bf16", compiled=True)
    rows = rounds.measured([failing, Contestant("resnets", "torch", "predict", "bf16")], lambda: None)
    assert [row.contestant.engine for row in rows] == ["resnets"]
    assert len(rows[0].rounds) == 3
    assert rounds.notes == ["timm-compiled (predict, bf16) is left out: it fell over"]


def test_a_process_that_ends_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    rounds = Rounds(subject(), Request(rounds=1), tmp_path, lambda message: None)
    assert rounds.measured([Contestant("timm", "torch", "predict", "fp32")], lambda: None) == []
    assert rounds.notes == ["timm-channels-last (predict, fp32) is left out: its process ended with status 1"]
    assert rounds.processes == {}


def test_latencies_are_those_of_all_calls() -> None:
    calls = [float(number) for number in range(1, 101)]
    random.Random(0).shuffle(calls)
    row = Row(Contestant("resnets", "torch", "predict", "fp32"), 1, 0, 0, [calls[:40], calls[40:]])
    assert row.latency == 50.5
    assert (row.latency_at(0.95), row.latency_at(1.0), row.latency_at(0.0)) == (95.0, 100.0, 1.0)
    assert len(row.medians) == 2


def test_agreement_by_hand() -> None:
    reference = numpy.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    other = reference.copy()
    other[0] = [0.0, 1.0]
    found = agreement(other, reference)
    assert found.top1 == 0.75
    spread = numpy.sqrt((4 * 0.25 + 4 * 1.0) / 8)  # each row around its mean: +-1/2 twice, +-1 twice
    assert found.error == pytest.approx(numpy.sqrt(2 / 8) / spread)


def test_memory_is_the_processes_own(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n")
    assert (resident("VmHWM", status), resident("VmRSS", status)) == (2048 * 1024, 1024 * 1024)
    assert resident("VmHWM") > 10 << 20


# What is computed ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Path]:
    """resnet18 with five classes in all packages' layouts, and eight images."""
    folder = tmp_path_factory.mktemp("subject")
    torch.manual_seed(0)
    network = resnets.create_model("resnet18", num_classes=5)
    made = Subject("resnet18", network, 32, peer_names(network.spec))
    images = benchmark_images(preprocessing_of(network, 32), 8, ())
    write_subject(made, images, folder, fresh=True)
    return made, folder


def test_all_answer_alike(written: tuple[Subject, Path]) -> None:
    made, folder = written
    images = numpy.load(folder / "images.npy")
    peer = torchvision.models.resnet18(num_classes=5)
    peer.load_state_dict(peer_network("torchvision", "resnet18", 5, 3, folder).state_dict())
    with torch.inference_mode():
        expected = peer.eval()(torch.from_numpy(images)).numpy()
    assert len(set(expected.argmax(1))) > 1  # the statistics are the images', so that the network tells them apart
    for contestant in (
        Contestant("torchvision", "torch", "predict", "fp32", plain=True),
        Contestant("timm", "torch", "predict", "fp32"),
        Contestant("resnets", "torch", "predict", "fp32"),
        Contestant("resnets", "torch", "predict", "fp32", plain=True),
        Contestant("resnets", "torch", "predict", "bf16"),
        Contestant("timm", "torch", "predict", "bf16"),
    ):
        job = open_job(contestant, folder, threads=1, device="cpu", peers=dict(made.peers))
        found = agreement(job.logits(job.placed(images)), expected)
        assert found.error < (0.15 if contestant.precision == "bf16" else 1e-4), contestant


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("package", ["resnets", "timm"])
def test_a_training_step_trains(package: Any, plain: bool) -> None:
    torch.manual_seed(0)
    network = resnets.create_model("cifar-resnet8")
    before = {name: value.clone() for name, value in network.named_parameters()}
    job = TorchJob(network, Contestant(package, "torch", "train", "fp32" if plain else "bf16", plain=plain), "cpu", 10)
    images, labels = job.placed(numpy.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(numpy.float32))
    assert images.is_contiguous(memory_format=torch.contiguous_format if plain else torch.channels_last)
    assert labels.tolist() == [0, 1, 2, 3]
    job.run((images, labels))
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert any(not torch.equal(before[name], value) for name, value in network.named_parameters())
    assert all(torch.allclose(before[name], value, atol=1e-3) for name, value in network.named_parameters())


def test_images_of_ones_own_are_used(tmp_path: Path) -> None:
    for number in range(3):
        PIL.Image.new("RGB", (40, 30), (80 * number, 0, 0)).save(tmp_path / f"{number}.png")
    network = resnets.create_model("cifar-resnet8")
    images = benchmark_images(preprocessing_of(network, 32), 7, (tmp_path,))
    assert images.shape == (7, 3, 32, 32)
    assert torch.equal(images[0], images[3])
    assert torch.equal(images[0], images[6])
    assert images[0, 0].mean() < images[1, 0].mean() < images[2, 0].mean()
    grey = resnets.create_model("cifar-resnet8", in_channels=1)
    assert benchmark_images(preprocessing_of(grey, 16), 2, ()).shape == (2, 1, 16, 16)


# The command --------------------------------------------------------------------------------------------------------------------


def test_the_command_prints_the_contract() -> None:
    command = [
        sys.executable, "-m", "resnets", "benchmark", "cifar-resnet8", "--against", "timm", "--precision", "fp32", "--batch", "2",
        "--train", "--no-compile", "--seconds", "0.01", "--rounds", "2", "--device", "cpu", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    about, *rows = map(json.loads, done.stdout.splitlines())
    assert about["threads"] == 1
    assert about["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert about["hardware"]["processor"]
    assert about["machine"]["macs_per_second"]["fp32"] > 0
    assert about["notes"] == ["timm has no such network"]
    assert [(row["engine"], row["mode"], row["batch"]) for row in rows] == [
        ("resnets-plain", "predict", 2), ("resnets", "predict", 2), ("resnets-plain", "train", 2), ("resnets", "train", 2),
    ]  # fmt: skip
    for row in rows:
        assert (row["network"], row["precision"]) == ("cifar-resnet8", "fp32")
        assert row["images_per_second"] == pytest.approx(2 / row["latency_ms"] * 1000)
        assert row["latency_p95_ms"] >= row["latency_ms"] > 0
        assert 2**30 > row["peak_memory_bytes"] > row["libraries_memory_bytes"] > 2**20
        assert row["share_of_limit"] == pytest.approx(row["images_per_second"] / row["limit_images_per_second"])
        assert len(row["round_latencies_ms"]) == 2
        assert row["top1_agreement"] == (1.0 if row["mode"] == "predict" else None)
    assert rows[0]["ratio_to_baseline"] == rows[2]["ratio_to_baseline"] == 1.0
    assert rows[1]["ratio_to_baseline"] == pytest.approx(
        numpy.median(numpy.divide(rows[0]["round_latencies_ms"], rows[1]["round_latencies_ms"]))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "0"], "--batch is at least 1, not 0"),
        (["--rounds", "0"], "--rounds is at least 1"),
        (["resnet5"], "did you mean"),
        (["alphazero-19x256"], "alphazero-19x256 is no classifier of images"),
        (["resnet18", "--cuda-graphs", "--device", "cpu"], "--cuda-graphs needs an NVIDIA GPU"),
        (["resnet18", "resnet50", "--quantized", "a.xml"], "--quantized files are of one network"),
        (["resnet18", "--images", "nowhere"], "there is no file or folder nowhere"),
    ],
)
def test_wrong_requests(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from resnets.cli import main

    assert main(["benchmark", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in " ".join(errors.split())
