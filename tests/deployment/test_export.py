"""Exported files: what is in them, that other runtimes give the same from them, and that nothing else is ever left on the disk."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

import resnets
from resnets.cli import main
from resnets.data.decoding.preprocessing import Preprocessing, encoded
from resnets.deployment.engines import openvino as openvino_form
from resnets.deployment.engines import torch_export as torch_export_form
from resnets.deployment.engines.engine import TorchEngine
from resnets.deployment.engines.torch_export import TorchExportEngine
from resnets.deployment.export import export as export
from resnets.deployment.export import parity
from resnets.deployment.export.export import Exported, export_model
from resnets.deployment.export.parity import ParityFailure
from resnets.deployment.graph.description import Description, from_strings
from resnets.deployment.graph.names import ENDINGS, Format
from resnets.networks import Network
from resnets.training.run import Run

FORMATS: tuple[Format, ...] = ("onnx", "openvino", "torch-export")
Get = Callable[..., Exported]


def run_elsewhere(format: Format, path: Path, inputs: Tensor) -> list[Tensor]:
    """What the file gives in its runtime, without a line of ours."""
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(v) for v in session.run(None, {session.get_inputs()[0].name: inputs.numpy()})]
    if format == "openvino":
        import openvino

        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled([inputs.numpy()])
        return [torch.from_numpy(numpy.array(found[output])) for output in compiled.outputs]
    outputs = torch.export.load(path).module()(inputs)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


@pytest.mark.parametrize("format", FORMATS)
def test_the_runtime_alone_gives_the_networks_logits(shipped: Network, exported: Get, format: Format) -> None:
    path = exported(format).path
    for count, height, width in ((1, 32, 32), (3, 32, 32), (16, 32, 32), (2, 40, 56)):
        images = torch.randn(count, 3, height, width)
        with torch.inference_mode():
            expected = shipped(images)
        (found,) = run_elsewhere(format, path, images)
        assert found.shape == (count, 10)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("format", FORMATS)
def test_images_to_labels(shipped: Network, exported: Get, format: Format) -> None:
    images = torch.randint(256, (5, 32, 32, 3), dtype=torch.uint8)
    # The preprocessing by hand: ((p / 255) - mean) / std.
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)
    with torch.inference_mode():
        expected = shipped((images.permute(0, 3, 1, 2) / 255 - mean) / std).softmax(1)
    labels, probabilities = run_elsewhere(format, exported(format, True).path, images)
    assert labels.dtype == torch.int64
    assert torch.equal(labels, expected.argmax(1))
    assert (probabilities - expected).abs().max() < 1e-5


@pytest.mark.parametrize("format", FORMATS)
def test_the_report_lies_beside_the_file(exported: Get, format: Format) -> None:
    made = exported(format)
    assert made.files[-1].name == f"{made.path.name}.parity.json"
    record = json.loads(made.files[-1].read_text())
    assert record["passed"] is True
    assert [(row["batch"], row["size"]) for row in record["batches"]] == [(1, 32), (3, 32), (16, 32), (3, 64)]
    assert all(row["top1_agreement"] == 1 and 0 <= row["max_rel_difference"] < 1e-4 for row in record["batches"])
    assert all(row["max_abs_difference"] > 0 or format == "torch-export" for row in record["batches"])
    assert record["environment"]["torch"] == torch.__version__.partition("+")[0]
    assert record["environment"]["processor"]
    assert record["form"]["versions"]["resnets"]


def test_the_onnx_file_says_what_it_is(shipped: Network, exported: Get) -> None:
    made = exported("onnx")
    import onnx

    model = onnx.load(made.path)
    onnx.checker.check_model(model)
    about = from_strings({entry.key: entry.value for entry in model.metadata_props}, "it")
    assert (about.spec, about.classes, about.preprocessing) == (shipped.spec, shipped.classes, shipped.preprocessing)
    assert about.form.folded_norms == 5
    assert {node.op_type for node in model.graph.node}.isdisjoint({"BatchNormalization"})
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["images", "logits"]


def test_fixed_size_and_other_precisions(shipped: Network, tmp_path: Path) -> None:
    made = export_model(shipped, tmp_path / "half.pt2", format="torch-export", precision="bf16", fixed_size=True)
    assert (made.description.form.precision, made.description.form.size) == ("bf16", 32)
    assert [(row.batch, row.size) for row in made.parity.batches] == [(1, 32), (3, 32), (16, 32)]
    assert 1e-5 < max(row.max_rel_difference for row in made.parity.batches) < 5e-2
    assert {value.dtype for value in torch.export.load(made.path).state_dict.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda logits: logits * 1.001, "largest difference"),
        (lambda logits: logits.flip(1), "largest difference"),
        (lambda logits: logits * float("nan"), "largest difference"),
        (lambda logits: logits[:, :9], "largest difference"),
    ],
)
def test_a_runtime_that_computes_something_else_leaves_nothing(
    shipped: Network,
    exported: Get,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[Tensor], Tensor],
    words: str,
) -> None:
    contents = {".pt2": exported("torch-export").path.read_bytes()}
    monkeypatch.setattr(export, "traced", lambda *_: None)  # tracing it again would give the same
    monkeypatch.setattr(torch_export_form, "serialized", lambda *_: contents)
    assert export_model(shipped, tmp_path / "model.pt2", format="torch-export").parity.passed
    for path in tmp_path.iterdir():
        path.unlink()
    right = TorchExportEngine.outputs
    monkeypatch.setattr(TorchExportEngine, "outputs", lambda self, x: (broken(right(self, x)[0]),))
    with pytest.raises(ParityFailure, match=words):
        export_model(shipped, tmp_path / "model.pt2", format="torch-export")
    assert list(tmp_path.iterdir()) == []


def test_a_difference_at_one_batch_size_alone_is_found(shipped: Network) -> None:
    class Broken(TorchEngine):
        def outputs(self, inputs: Tensor) -> tuple[Tensor, ...]:
            (logits,) = super().outputs(inputs)
            return (logits + (0.5 if len(inputs) == 16 else 0),)

    found = parity.compare(shipped, Broken(shipped))
    assert [row.passed for row in found.batches] == [True, True, False, True]
    assert found.batches[2].max_abs_difference == pytest.approx(0.5, abs=1e-4)
    assert not found.passed


def test_a_tie_may_be_broken_either_way() -> None:
    values = torch.tensor([[1.0, 1.0 + 1e-6, 0.0], [3.0, 0.0, 1.0]])
    swapped = torch.tensor([[1.0 + 1e-6, 1.0, 0.0], [3.0, 0.0, 1.0]])
    row = parity._compare((values, values.argmax(1)), (swapped,), 32, 1e-4)
    assert (row.top1_agreement, row.undecided, row.passed) == (0.5, 1, True)
    wrong = values.clone()
    labels = torch.tensor([1, 2])
    row = parity._compare((values, values.argmax(1)), (labels, wrong), 32, 1e-4)
    assert (row.max_abs_difference, row.passed) == (0, False)


def test_both_files_of_a_pair_or_none(shipped: Network, exported: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {path.name: path.read_bytes() for path in exported("openvino").files}
    old = dict.fromkeys(("images.xml", "images.bin"), b"old")
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(openvino_form, "serialized", lambda *_: {".xml": contents["images.xml"], ".bin": contents["images.bin"]})
    monkeypatch.setattr(export, "traced", lambda *_: None)
    replace = os.replace

    def full(source: str, target: str | Path) -> None:
        if str(target).endswith("images.xml") and str(source).endswith(".part"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"could not write .*images\.xml: No space left on device; nothing was changed"):
        export_model(shipped, tmp_path / "images.xml", format="openvino")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output": "m.xml"}, r"a file for torch-export ends in \.pt2"),
        ({"output": "absent/m.pt2"}, "there is no folder absent"),
        ({"precision": "int8"}, "no precision int8; choose fp32 or bf16 or fp16"),
        ({"network": "alphazero-1x8", "size": 19}, "only networks that give class logits"),
        ({"network": "cifar-resnet8:num_classes=0"}, "only networks that give class logits"),
        ({"network": "cifar-resnet8", "uint8": True}, "does not say how images are prepared"),
    ],
)
def test_what_does_not_go_is_said_before_the_work(in_folder: Path, shipped: Network, changes: dict[str, Any], words: str) -> None:
    network = resnets.create_model(changes["network"]) if "network" in changes else shipped
    settings = {key: value for key, value in changes.items() if key in ("uint8", "precision")}
    with pytest.raises((ValueError, OSError), match=words):
        export_model(network, changes.get("output", "m.pt2"), format="torch-export", **settings)
    assert list(in_folder.iterdir()) == []


def test_a_mean_picture_binds_images_to_its_size(tmp_path: Path) -> None:
    network = resnets.create_model("cifar-resnet8:blocks=[1]").eval()
    mean = encoded(torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8))
    network.preprocessing = Preprocessing(size=32, mean_picture=mean)
    with pytest.raises(ValueError, match="--size fixed"):
        export_model(network, tmp_path / "m.pt2", format="torch-export", uint8=True)
    made = export_model(network, tmp_path / "m.pt2", format="torch-export", uint8=True, fixed_size=True)
    images = torch.randint(256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(network.preprocessing(images.permute(0, 3, 1, 2))).softmax(1)
    _, probabilities = run_elsewhere("torch-export", made.path, images)
    assert (probabilities - expected).abs().max() < 1e-5


def test_description_goes_there_and_back(shipped: Network) -> None:
    about = Description(shipped.spec, shipped.classes, None, {"top1": 0.5}, {"recipe": {"data": "x"}}).in_form(precision="int8")
    assert from_strings(about.strings(), "it") == about
    with pytest.raises(ValueError, match="it was not written by `resnets export`"):
        from_strings({}, "it")
    with pytest.raises(ValueError, match="the metadata of it is damaged"):
        from_strings({**about.strings(), "spec": "{"}, "it")


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    def call(*arguments: Any) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


def test_the_command(said: Callable[..., tuple[int, str, str]], small_run: Run, tmp_path: Path) -> None:
    output = tmp_path / "digits.pt2"
    status, out, err = said("export", small_run.directory, "--format", "torch-export", "-o", output, "--json")
    assert status == 0
    answer = json.loads(out)
    assert (answer["path"], answer["parity"]["passed"], answer["form"]["folded_norms"]) == (str(output), True, 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.pt2", "digits.pt2.parity.json"]
    assert "7 norms folded" in err
    for model in (small_run.model_path, output):
        status, out, err = said("evaluate", model, "--data", "digits", "--json")
        assert status == 0
        rows = json.loads(out)
        assert rows["engine"] == ("torch-export" if model == output else "torch")
        if model != output:
            expected = rows
    assert (rows["top1"], rows["confusion"]) == (expected["top1"], expected["confusion"])
    assert rows["loss"] == pytest.approx(expected["loss"], abs=1e-5)


def test_the_command_says_what_is_missing(
    said: Callable[..., tuple[int, str, str]], in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnets.deployment.engines import engine

    monkeypatch.setattr(engine, "find_spec", lambda name: None if name in ("onnxscript", "openvino") else 1)
    status, _, err = said("export", "cifar-resnet8", "--format", "onnx")
    assert status == 2
    assert "needs the package onnxscript, which is not installed: pip install 'resnets[export]'" in err
    assert "untrained" in err
    status, _, err = said("export", "cifar-resnet8", "--format", "openvino")
    assert (status, "pip install 'resnets[openvino]'" in err) == (2, True)
    status, _, err = said("export", "cifar-resne8", "--format", "onnx")
    assert (status, "did you mean cifar-resnet" in err) == (2, True)
    status, _, err = said("export", "absent.safetensors", "--format", "onnx")
    assert (status, "there is no run directory or model file absent.safetensors" in err) == (2, True)
    assert list(in_folder.iterdir()) == []
    assert set(ENDINGS) == set(FORMATS)


@pytest.mark.parametrize("format", ["torch-export", "onnx", "openvino"])
def test_a_file_says_nothing_of_the_machine_that_made_it(exported: Get, format: Format) -> None:
    """The exporters write the traces of the code that was exported, with the paths of it."""
    path = exported(format).path
    for file in (path, path.with_suffix(".bin")):
        content = file.read_bytes() if file.exists() else b""
        for place in (str(Path(torch.__file__).parent), str(Path(resnets.__file__).parent), str(Path.home())):
            assert place.encode() not in content, file.name
