"""INT8: what is written is an ordinary exported form that computes in integers, within its budget, or nothing."""

import copy
import importlib.util
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

import resnets
from resnets.classification.evaluate import evaluate
from resnets.cli import main
from resnets.deployment.engines import engine as engine_module
from resnets.deployment.engines.engine import Engine, EngineModule, TorchEngine
from resnets.deployment.engines.models import open_network
from resnets.deployment.engines.opening import open_engine
from resnets.deployment.graph.description import Description, description_of
from resnets.deployment.graph.names import ENDINGS
from resnets.deployment.quantization import budget as quantization
from resnets.deployment.quantization import openvino as quantization_openvino
from resnets.deployment.quantization.blame import layers_of, quantized_weight, rank_layers
from resnets.deployment.quantization.budget import (
    QuantizationFailure,
    Quantized,
    QuantizedFormat,
    quantize_model,
    quantize_unmeasured,
)
from resnets.deployment.quantization.data import QuantizationData, open_quantization_data
from resnets.deployment.quantization.graph import Convolutions, Form, Operation, kept_in_float, prepared
from resnets.networks import Network
from resnets.training.run import Run

FORMATS: tuple[QuantizedFormat, ...] = ("openvino", "onnx")
PACKAGES = {"openvino": ("openvino", "nncf"), "onnx": ("onnx", "onnxscript", "onnxruntime")}
NUM_CONVOLUTIONS = 7  # of cifar-resnet8 with option A's shortcuts


def need(format: QuantizedFormat) -> None:
    for package in PACKAGES[format]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


@pytest.fixture(scope="module")
def model(small_run: Run) -> tuple[Network, Description]:
    """The digits network and what is known of it; tests leave it as it is."""
    return open_network(small_run.directory)


@pytest.fixture(scope="module")
def data(model: tuple[Network, Description]) -> QuantizationData:
    return open_quantization_data(model[1], calibration=40)


@pytest.fixture(scope="module")
def made(
    model: tuple[Network, Description], data: QuantizationData, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[QuantizedFormat], Quantized]:
    """The digits network as int8, made once a format."""
    folder = tmp_path_factory.mktemp("int8")
    done: dict[str, Quantized] = {}

    def get(format: QuantizedFormat) -> Quantized:
        need(format)
        if format not in done:
            network, about = model
            path = folder / f"digits{ENDINGS[format]}"
            done[format] = quantize_model(network, path, data, format=format, max_drop=3, description=about)
        return done[format]

    return get


@pytest.mark.parametrize("format", FORMATS)
def test_for_speed_alone_all_layers_are_integers(
    format: QuantizedFormat, model: tuple[Network, Description], data: QuantizationData, tmp_path: Path
) -> None:
    need(format)
    network, _ = model
    path = tmp_path / f"fast{ENDINGS[format]}"
    quantize_unmeasured(network, path, data.calibration, format=format)
    assert not list(tmp_path.glob("*.json"))  # nothing was measured, and so nothing is said
    made = open_engine(path)
    assert made.precision == "int8"
    found = made.logits(data.calibration)
    expected = open_engine(network, engine="torch").logits(data.calibration)
    assert 0.001 < (found - expected).std() / expected.std() < 0.2


def damaged(network: Network, unit: str = "conv4_x.0.residual") -> tuple[Network, str]:
    """The same function with one channel very large between a unit's convolutions, which takes the others' bits there;
    and the name of the layer that then has to be blamed."""
    copied = copy.deepcopy(network).eval()
    first, second = copied.get_submodule(f"{unit}.norm1"), copied.get_submodule(f"{unit}.conv2")
    assert isinstance(first, nn.BatchNorm2d)
    assert isinstance(second, nn.Conv2d)
    with torch.no_grad():
        alive = (first.bias + 2 * first.weight.abs()).argmax()
        first.weight[alive] *= 1e3
        first.bias[alive] *= 1e3
        second.weight[:, alive] /= 1e3
    return copied, f"{unit}.conv2"


@pytest.mark.parametrize("format", FORMATS)
def test_the_file_is_an_ordinary_exported_form(
    model: tuple[Network, Description],
    data: QuantizationData,
    made: Callable[[QuantizedFormat], Quantized],
    capsys: pytest.CaptureFixture[str],
    format: QuantizedFormat,
) -> None:
    network, about = model
    done = made(format)
    engine = open_engine(done.path)
    assert engine.precision == "int8"
    assert (engine.spec, engine.classes, engine.preprocessing) == (network.spec, network.classes, network.preprocessing)
    assert engine.description.form.folded_norms == 7
    assert engine.description.provenance["recipe"] == about.provenance["recipe"]
    told = engine.description.provenance["quantization"]
    assert (told["top1"], told["top1_before"]) == (done.record["after"]["top1"], done.record["before"]["top1"])
    with torch.inference_mode():
        expected = network(data.calibration)
    found = engine.logits(data.calibration)
    error = float((found - expected).square().mean() / expected.var())
    assert 0 < error < 0.06  # rounded, and yet the same network
    measured = evaluate(EngineModule(engine), data.batches(), flips=data.flips)
    assert measured.top1 == done.record["after"]["top1"]
    assert done.record["drop"] == pytest.approx(100 * (done.record["before"]["top1"] - measured.top1))
    assert main(["evaluate", str(done.path), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["precision"], row["top1"], row["engine"]) == ("int8", measured.top1, engine.name)


@pytest.mark.parametrize("format", FORMATS)
def test_the_report_tells_what_was_lost(made: Callable[[QuantizedFormat], Quantized], format: QuantizedFormat) -> None:
    done = made(format)
    assert done.files[-1].name == f"digits{ENDINGS[format]}.quantization.json"
    record = json.loads(done.files[-1].read_text())
    assert record == json.loads(json.dumps(done.record))
    assert record["convolutions"] == {"integer": NUM_CONVOLUTIONS, "total": NUM_CONVOLUTIONS}
    assert record["drop"] <= record["max_drop"] == 3
    assert record["measured_on"] == {"images": "digits test", "num_images": 360}
    assert record["calibrated_on"] == {"images": "digits train", "num_images": 40}
    errors = [row["error"] for row in record["ranking"]["layers"]]
    assert len(errors) == NUM_CONVOLUTIONS + 1
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


def test_weights_are_bytes_by_channel(model: tuple[Network, Description], made: Callable[[QuantizedFormat], Quantized]) -> None:
    done = made("onnx")
    import onnx
    from onnx import numpy_helper

    ready, _ = prepared(model[0])
    stored = {value.name: numpy_helper.to_array(value) for value in onnx.load(done.path).graph.initializer}
    whole = stored["network.conv1.conv.weight_quantized"]
    scales = stored["network.conv1.conv.weight_scale"]
    weight = ready.get_submodule("conv1.conv").weight
    assert isinstance(weight, Tensor)
    assert whole.dtype == numpy.int8
    assert scales.shape == (len(weight),)
    assert numpy.abs(whole * scales[:, None, None, None] - weight.detach().numpy()).max() <= scales.max() * 0.51


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_layer_is_ranked_first_and_stays_in_float(
    model: tuple[Network, Description], data: QuantizationData, tmp_path: Path, format: QuantizedFormat
) -> None:
    need(format)
    network, layer = damaged(model[0])
    said: list[str] = []
    done = quantize_model(
        network, tmp_path / f"m{ENDINGS[format]}", data, format=format, max_drop=2, description=model[1], report=said.append
    )
    record = done.record
    ranking = record["ranking"]["layers"]
    assert ranking[0]["layer"] == layer
    assert ranking[0]["error"] > 10 * ranking[1]["error"]
    assert record["float_layers"] == [layer]
    assert [len(trial["float_layers"]) for trial in record["trials"]] == [0, 1]
    assert record["trials"][0]["drop"] > 2 >= record["trials"][1]["drop"] == record["drop"]
    # onnxruntime's integer convolutions put out integers only, so that the one before stays in float, too.
    assert record["convolutions"]["integer"] == NUM_CONVOLUTIONS - (2 if format == "onnx" else 1)
    assert record["convolutions"]["total"] == NUM_CONVOLUTIONS
    assert any("with 1 of 8 layers in float: conv4_x.0.residual.conv2" in words for words in said)


@pytest.mark.parametrize("format", FORMATS)
def test_a_graph_that_computes_in_float_is_not_left(
    model: tuple[Network, Description],
    data: QuantizationData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: QuantizedFormat,
) -> None:
    need(format)
    module = quantization.form_module(format)
    kind = module.OpenVinoForm if format == "openvino" else module.OnnxForm
    if format == "openvino":
        as_it_is = lambda self, _: quantization_openvino.model_contents(self.model)  # noqa: E731
    else:
        as_it_is = lambda self, _: {".onnx": self.model.SerializeToString()}  # noqa: E731
    monkeypatch.setattr(kind, "quantized", as_it_is)
    monkeypatch.setattr(quantization, "rank_layers", lambda *_, **__: ())
    with pytest.raises(QuantizationFailure, match=r"computes 0 of 7 convolutions in integers where 7 were asked for"):
        quantize_model(model[0], tmp_path / f"m{ENDINGS[format]}", data, format=format, description=model[1])
    assert list(tmp_path.iterdir()) == []


class Standin(Form):
    """A runtime of the test: eight convolutions in a row, the network right on `right[n]` of ten images with n layers in float."""

    makers = False

    def __init__(self, right: list[int]) -> None:
        self.right, self.integers = right, 0
        self.operations = tuple(Operation(f"op{i}", "layer", (f"op{i - 1}",) if i else (), f"layer{i}") for i in range(8))
        self.engine = self.opened({".onnx": b"10"}, "")

    def quantized(self, float_layers: Collection[str]) -> dict[str, bytes]:
        self.integers = 8 - len(float_layers)
        return {".onnx": str(self.right[len(float_layers)]).encode()}

    def described(self, contents: dict[str, bytes], description: Description) -> dict[str, bytes]:
        return contents

    def opened(self, contents: dict[str, bytes], file: str) -> Engine:
        right = int(contents[".onnx"])

        class Known(TorchEngine):
            def logits(self, images: Tensor) -> Tensor:
                wrong = torch.arange(len(images)) >= right
                return torch.stack([1.0 - wrong.float(), wrong.float()], 1)

        return Known(resnets.create_model("cifar-resnet8:blocks=(1),num_classes=2"))

    def convolutions(self, contents: dict[str, bytes], engine: Engine) -> Convolutions:
        return Convolutions(self.integers, 8)


def searched(right: list[int], max_drop: float) -> tuple[list[int], quantization.Trial]:
    """How many layers were in float in each trial, and the trial chosen."""
    form = Standin(right)
    images = QuantizationData(torch.zeros(1, 3, 32, 32), lambda: [(torch.zeros(10, 3, 32, 32), torch.zeros(10, dtype=torch.long))])
    ranking = tuple(quantization.Blame(f"layer{i}", 8.0 - i) for i in range(8))
    before = evaluate(EngineModule(form.engine), images.batches())
    layers = frozenset(blame.layer for blame in ranking)
    search = quantization._Search(
        form,
        description_of(resnets.create_model("cifar-resnet8")),
        images,
        before,
        ranking,
        layers,
        Path("m.onnx"),
        lambda _: None,
    )
    chosen = search.within(max_drop)
    return list(search.trials), chosen


def test_as_few_layers_as_the_budget_needs() -> None:
    assert searched([9] * 9, 10)[0] == [0]  # ten points are just allowed
    tried, chosen = searched([5, 6, 7, 9, 9, 9, 9, 9, 10], 10)
    assert (tried, chosen.float_layers, chosen.drop) == ([0, 1, 2, 4, 3], ("layer0", "layer1", "layer2"), 10)
    tried, chosen = searched([5, 5, 5, 5, 5, 5, 5, 10, 10], 0)
    assert (tried, len(chosen.float_layers)) == ([0, 1, 2, 4, 7, 5, 6], 7)
    with pytest.raises(
        QuantizationFailure, match=r"no choice of layers keeps within 5 points: with 2 of 8 layers in float .* 20\.00 points"
    ):
        searched([5, 6, 8, 7, 7, 7, 7, 7, 10], 5)


def test_what_stays_in_float_around_a_layer() -> None:
    #          a -> relu -> sum -> b -> c
    #                \______/^ \-> pool -> d
    graph = (
        Operation("a", "layer", (), "A"),
        Operation("relu", "passing", ("a",)),
        Operation("before", "layer", ("relu",), "Z"),
        Operation("sum", "other", ("before", "relu")),
        Operation("b", "layer", ("sum",), "B"),
        Operation("c", "layer", ("b",), "C"),
        Operation("pool", "passing", ("sum",)),
        Operation("d", "layer", ("pool",), "D"),
    )
    assert kept_in_float(graph, ["A"], makers=True) == {"a"}
    assert kept_in_float(graph, ["B"], makers=False) == {"b", "sum"}
    assert kept_in_float(graph, ["B"], makers=True) == {"b", "d", "sum"}
    assert kept_in_float(graph, ["D"], makers=False) == {"d", "sum"}
    assert kept_in_float(graph, ["C"], makers=True) == {"b", "c"}
    assert kept_in_float(graph, ["Z"], makers=False) == {"before", "sum"}
    assert kept_in_float(graph, [], makers=True) == frozenset()


def test_blame_by_hand() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    images = torch.randn(8, 6)
    second = network[2]
    weight, bias = second.weight.detach().double().numpy(), second.bias.detach().double().numpy()
    hidden = network[:2](images).detach().double().numpy()
    logits = hidden @ weight.T + bias
    scales = numpy.abs(weight).max(1, keepdims=True) / 127
    step = hidden.max() / 255
    rounded = (numpy.round(hidden / step) * step) @ (numpy.round(weight / scales) * scales).T + bias
    found = {blame.layer: blame.error for blame in rank_layers(network, images, batch_size=3)}
    assert found["2"] == pytest.approx(((rounded - logits) ** 2).mean() / logits.var(), rel=1e-2)
    assert list(found) == sorted(found, key=lambda name: -found[name])
    assert torch.equal(second.weight.detach().double(), torch.from_numpy(weight))  # it stays as it was
    assert set(layers_of(network)) == set(found) == {"0", "2"}
    by_channel = quantized_weight(torch.tensor([[127.0, 0.4, -63.6], [0.0, 0.0, 0.0]]))
    assert (by_channel - torch.tensor([[127.0, 0, -64], [0, 0, 0]])).abs().max() < 1e-30


def test_the_prepared_network_is_the_same_function() -> None:
    torch.manual_seed(1)
    network = resnets.create_model("resnet18:blocks=(1,1),width=8,stem_width=8,num_classes=3").eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.normal_()
    ready, folding = prepared(network)
    assert [type(module) for module in ready.pool] == [nn.ReLU, nn.MaxPool2d]
    assert len(folding.folded) == 6
    images = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        expected = network(images)
        assert (ready(images) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_images_are_drawn_the_same_way_each_time(model: tuple[Network, Description], data: QuantizationData) -> None:
    again = open_quantization_data(model[1], calibration=40, limit=50, batch_size=20)
    assert torch.equal(again.calibration, data.calibration)
    assert again.calibration.shape == (40, 1, 8, 8)
    for _ in range(2):
        batches = list(again.batches())
        assert [len(labels) for _, labels in batches] == [20, 20, 10]
        assert len(torch.cat([labels for _, labels in batches]).unique()) == 10
    whole = torch.cat([images for images, _ in data.batches()])
    assert all((whole == image).flatten(1).all(1).any() for image in batches[0][0])


def call(capfd: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def test_the_command(small_run: Run, in_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    need("openvino")
    command = ("quantize", small_run.directory, "--calibration", 16, "--limit", 120, "--max-drop", 4, "-o", "d.xml")
    status, out, err = call(capfd, *command, "--json")
    assert status == 0, err
    answer = json.loads(out)  # and nothing beside it
    assert (answer["path"], answer["format"], answer["measured_on"]["num_images"]) == ("d.xml", "openvino", 120)
    assert sorted(path.name for path in in_folder.iterdir()) == ["d.bin", "d.xml", "d.xml.quantization.json"]
    assert answer["bytes"] == sum((in_folder / name).stat().st_size for name in ("d.xml", "d.bin"))
    assert "quantizing with 0 of 8 layers in float" in err
    assert "Statistics collection" not in err  # nncf's own progress


def test_the_command_fails_over_an_impossible_budget(
    small_run: Run, in_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("onnx")

    def refuse(self: Any, max_drop: float) -> None:
        raise QuantizationFailure(f"no choice of layers keeps within {max_drop:g} points")

    monkeypatch.setattr(quantization._Search, "within", refuse)
    status, out, err = call(
        capfd, "quantize", small_run.directory, "--format", "onnx", "-o", "d.onnx", "--calibration", 2, "--limit", 20
    )
    assert (status, out) == (1, "")
    assert "resnets: no choice of layers keeps within 0.3 points" in err
    assert list(in_folder.iterdir()) == []


def test_wrong_requests_are_refused_before_the_work(
    small_run: Run, in_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("openvino")
    for arguments, words in (
        ((small_run.directory, "-o", "m.onnx"), "--output m.onnx: a file for openvino ends in .xml"),
        ((small_run.directory, "-o", "absent/m.xml"), "there is no folder absent"),
        ((small_run.directory, "-o", "m.xml", "--max-drop", "-1"), "max_drop=-1.0 are percentage points"),
        ((small_run.directory, "-o", "m.xml", "--limit", "0"), "give at least 1"),
        (("m.onnx",), "m.onnx is an exported file already"),
        (("cifar-resnet8",), "names no weights"),
        ((small_run.directory, "-o", "m.xml", "--data", "digitz"), "digits"),
    ):
        status, out, err = call(capfd, "quantize", *arguments)
        assert (status, out, words in err) == (2, "", True), err
        assert len(err.splitlines()) == 1
    monkeypatch.setattr(engine_module, "find_spec", lambda name: None if name == "nncf" else 1)
    status, _, err = call(capfd, "quantize", small_run.directory, "-o", "m.xml")
    assert (status, "needs the package nncf, which is not installed: pip install 'resnets[openvino]'" in err) == (2, True)
    assert list(in_folder.iterdir()) == []
