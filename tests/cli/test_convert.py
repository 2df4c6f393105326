"""resnets convert, there and back; and the rows of other packages' networks in resnets models."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

import resnets
from resnets.cli import main
from resnets.training.run import Run
from resnets.weights.model_file import read_description

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the command line in this process: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        return status, output, errors

    return run


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=4).eval()


@pytest.fixture(scope="module")
def source(peer: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "peer.pth"
    torch.save(peer.state_dict(), path)
    return path


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_there_and_back_through_every_layout(call: Call, source: Path, peer: torch.nn.Module, tmp_path: Path) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("ant\nbee\ncat\ndog\n")
    model = tmp_path / "model.safetensors"
    status, output, errors = call("convert", source, "--to", "resnets", "-o", model, "--classes", classes, "--json")
    assert status == 0, errors
    line = json.loads(output)
    assert (line["from"], line["to"], line["tensors"]) == ("torchvision", "resnets", 122)
    assert line["path"] == str(model)
    assert line["spec"]["num_classes"] == 4
    assert "does not say how images are prepared" in line["notes"][0]
    assert line["notes"][0].partition(";")[0] in " ".join(errors.split())
    network = resnets.load_model(model)
    assert network.classes == ("ant", "bee", "cat", "dog")
    assert read_description(model).provenance["converted_from"] == "torchvision"
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network(images), peer(images), rtol=1e-4, atol=1e-4)
    for layout, ending in (("timm", ".pth"), ("transformers", ".safetensors"), ("detectron2", ".bin"), ("torchvision", ".pt")):
        foreign, back = tmp_path / f"{layout}{ending}", tmp_path / "back.pth"
        assert call("convert", model, "--to", layout, "--output", foreign)[0] == 0
        name = ("--network", "resnet18") if layout == "detectron2" else ()
        status, output, errors = call("convert", foreign, "--to", "torchvision", "-o", back, *name)
        assert status == 0, errors
        assert equal(torch.load(back, weights_only=True), peer.state_dict())
    timm.create_model("resnet18", num_classes=4).load_state_dict(torch.load(tmp_path / "timm.pth", weights_only=True))
    assert "res2.0.conv1.weight" in torch.load(tmp_path / "detectron2.bin", weights_only=True)
    assert "resnet.embedder.embedder.convolution.weight" in load_file(tmp_path / "transformers.safetensors")


def test_a_network_of_its_own_by_name(call: Call, tmp_path: Path) -> None:
    save_file(resnets.create_model("cifar-resnet8", num_classes=3, in_channels=1).state_dict(), tmp_path / "a.safetensors")
    arguments = ("convert", tmp_path / "a.safetensors", "--to", "resnets", "-o", tmp_path / "b.safetensors")
    status, _, errors = call(*arguments)
    assert status == 2
    assert "name the network" in errors
    assert not (tmp_path / "b.safetensors").exists()
    assert call(*arguments, "--network", "cifar-resnet8")[0] == 0
    network = resnets.load_model(tmp_path / "b.safetensors")
    assert network.classes == ("0", "1", "2")
    assert network.preprocessing is not None
    assert (network.preprocessing.size, network.preprocessing.resize, network.preprocessing.channels) == (32, None, 1)


def test_a_run_directory_and_what_a_layout_cannot_hold(call: Call, small_run: Run, tmp_path: Path) -> None:
    status, _, errors = call("convert", small_run.directory, "--to", "torchvision", "-o", tmp_path / "a.pth")
    assert status == 2
    assert "torchvision has no network with" in errors
    assert list(tmp_path.iterdir()) == []
    status, _, errors = call("convert", small_run.directory, "--to", "resnets", "-o", tmp_path / "a.safetensors")
    assert (status, errors) == (0, "")
    copy, original = resnets.load_model(tmp_path / "a.safetensors"), resnets.load_model(small_run.model_path)
    assert equal(copy.state_dict(), original.state_dict())
    assert (copy.classes, copy.preprocessing) == (original.classes, original.preprocessing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "resnets", "-o", "out.pth"], "a file for resnets ends in .safetensors"),
        (["--to", "timm", "-o", "out.onnx"], "ends in .safetensors or .pth"),
        (["--to", "timm", "-o", "out.pth", "--network", "resnet34"], "layer1.2.conv1.weight"),
        (["--to", "timm", "-o", "out.pth", "--from", "detectron2"], "no network of the zoo"),
        (["--to", "timm", "-o", "out.pth", "--classes", "c.txt"], "only --to resnets keeps class names"),
        (["--to", "timm", "-o", "out.pth", "--prefix", "backbone."], "no tensor of"),
        (["--to", "timm", "-o", "out.pth", "--netwrok", "resnet18"], "did you mean --network"),
    ],
)
def test_wrong_requests_write_nothing(call: Call, source: Path, in_folder: Path, arguments: list[str], message: str) -> None:
    status, output, errors = call("convert", source, *arguments)
    assert (status, output) == (2, "")
    assert message in errors
    assert list(in_folder.iterdir()) == []


def test_left_overs_are_listed_and_nothing_is_written(call: Call, peer: torch.nn.Module, in_folder: Path) -> None:
    torch.save({**peer.state_dict(), "aux.weight": torch.zeros(1)}, "a.pth")
    status, _, errors = call("convert", "a.pth", "--to", "resnets", "--network", "resnet18", "-o", "b.safetensors")
    assert status == 2
    assert "left over: aux.weight" in errors
    assert [path.name for path in in_folder.iterdir()] == ["a.pth"]
    status, _, errors = call("convert", "absent.pth", "--to", "resnets", "-o", "b.safetensors")
    assert status == 2
    assert "there is no file or folder absent.pth" in errors


def test_an_existing_file_survives_a_failed_write(
    call: Call, source: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("old.pth").write_bytes(b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, errors = call("convert", source, "--to", "timm", "-o", "old.pth")
    assert status == 1
    assert "could not write old.pth" in errors
    assert Path("old.pth").read_bytes() == b"old"
    assert len(list(in_folder.iterdir())) == 1


def test_a_hostile_file_does_not_run(call: Call, in_folder: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch marker",)

    for name in ("a.pkl", "a.pth"):
        Path(name).write_bytes(pickle.dumps({"a": Hostile(), "b": np.zeros(2)}, 2))
        status, _, errors = call("convert", name, "--to", "resnets", "-o", "b.safetensors")
        assert status == 2
        assert "Nothing of it was run" in errors
    assert not Path("marker").exists()


def test_models_has_rows_of_other_packages(call: Call) -> None:
    status, output, _ = call("models", "torchvision/vgg19", "--json")
    assert status == 0
    row = json.loads(output)
    assert row["name"] == "torchvision/vgg19"
    assert (row["parameters"], row["macs"], row["input_size"]) == (143_667_240, 19_632_062_464, 224)
    status, output, _ = call("models", "torchvision/vgg1[13]")
    assert status == 0
    assert "torchvision/vgg11" in output
    assert "torchvision/vgg13" in output
    status, _, errors = call("models", "torchvision/vgg18")
    assert status == 2
    assert "did you mean torchvision/vgg1" in errors
    status, _, errors = call("models", "timm/resnet5x*")
    assert status == 2
    assert "no network's name matches 'timm/resnet5x*'" in errors
