"""`resnets inspect`, and what `resnets describe` says beyond layers: tables, JSON, plots and wrong requests."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from resnets.cli.commands.inspect import chosen_rows
from resnets.training.run import Run
from resnets.weights.model_file import load_model, read_description, save_model

Call = Callable[..., tuple[int, str, str]]


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_networks_side_by_side(call: Call) -> None:
    status, output, _ = call("inspect", "cifar-plain20", "cifar-resnet20")
    assert status == 0
    assert "cifar-plain20, initialisation: 16 images (digits, 32 pixels, seed 0)" in output.replace("\n", " ")
    assert output.count("conv4_x.2") == 2
    assert "|F|/|h|" in output


def test_json_has_every_unit_and_the_same_seed_gives_the_same_numbers(call: Call) -> None:
    arguments = ("inspect", "cifar-preact-resnet32:shortcut_scale=0.5", "--json", "--batch-size", 4, "--seed", 3)
    status, output, _ = call(*arguments)
    assert status == 0
    (found,) = objects(output)
    assert (found["state"], found["data"], found["batch_size"], found["input_size"], found["seed"]) == (
        "initialisation", "digits", 4, 32, 3,
    )  # fmt: skip
    assert len(found["units"]) == 15
    first = found["units"][0]
    assert first["shortcut_product"] == 0.5**5
    assert first["shortcut_gradient"] == pytest.approx(0.5**5, rel=1e-3)
    assert [layer["name"] for layer in first["layers"]] == ["conv1", "conv2"]
    before = torch.random.get_rng_state()
    assert call(*arguments)[1] == output
    assert torch.equal(torch.random.get_rng_state(), before)
    assert call(*arguments[:-1], 4)[1] != output


def test_a_trained_model_by_run_and_by_file(call: Call, small_run: Run) -> None:
    status, output, _ = call("inspect", small_run.directory, "--json", "--evaluation")
    assert status == 0
    (found,) = objects(output)
    assert (found["state"], found["mode"]) == ("trained", "running statistics")
    network = load_model(small_run.model_path)
    assert found["input_size"] == network.preprocessing.size
    assert found["loss"] < 1.5  # it has learnt something: chance is 2.3
    again = call("inspect", small_run.model_path, "--json", "--evaluation")[1]
    assert objects(again)[0]["units"] == found["units"]


def test_a_trained_model_is_measured_on_its_own_data(
    call: Call, small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is in the recipe, in the file; where the data is not on this machine, a message says so."""
    from resnets.data.datasets import catalogue

    network, description = load_model(small_run.model_path), read_description(small_run.model_path)
    asked = []

    def other_data(name: str, split: str, *rest: object, **options: object) -> catalogue.ImageArrays:
        asked.append((name, options.get("offline")))
        arrays = original("digits", split)
        return arrays if name == "digits" else dataclasses.replace(arrays, name=name, images=255 - arrays.images)

    original = catalogue.load
    monkeypatch.setattr(catalogue, "load", other_data)

    def inspected(**recipe: object) -> tuple[dict[str, Any], str]:
        file = tmp_path / "model.safetensors"
        provenance = {**description.provenance, "recipe": recipe} if recipe else {}
        save_model(network, file, dataclasses.replace(description, provenance=provenance))
        status, output, errors = call("inspect", file, "--json", "--evaluation")
        assert status == 0
        return objects(output)[0], " ".join(errors.split())

    on_digits, errors = inspected(data="digits")
    assert (on_digits["data"], errors) == ("digits", "")
    on_others, errors = inspected(data="fashion-mnist")
    assert (on_others["data"], errors, asked[-1]) == ("fashion-mnist", "", ("fashion-mnist", True))
    assert on_others["loss"] > on_digits["loss"]  # negatives of what it has learnt
    for recipe, message in (
        ({"data": "/images"}, "trained on /images, but it is none of the data sets by name; measured on the digits"),
        ({}, "does not say what the network was trained on"),
    ):
        found, errors = inspected(**recipe)
        assert found["data"] == "digits"
        assert message in errors
    monkeypatch.setattr(catalogue, "load", original)
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path))
    found, errors = inspected(data="cifar100")
    assert found["data"] == "digits"
    assert "trained on cifar100, but it is not on this machine (resnets data get cifar100)" in errors


def test_other_images(call: Call) -> None:
    _, output, _ = call("inspect", "alphazero-2x8", "cifar-resnet8:in_channels=1,num_classes=4", "--json", "--batch-size", 2)
    assert [found["data"] for found in objects(output)] == ["normal", "digits"]
    _, output, _ = call("inspect", "cifar-resnet8", "--data", "normal", "--input-size", 16, "--json")
    assert (objects(output)[0]["data"], objects(output)[0]["input_size"]) == ("normal", 16)


def test_long_networks_are_summarised(call: Call) -> None:
    stages = ["conv2_x"] * 111 + ["conv3_x"] * 111 + ["conv4_x"] * 111
    rows = chosen_rows(stages)
    assert rows == sorted(set(rows))
    assert 18 <= len(rows) <= 22
    assert {0, 110, 111, 221, 222, 332} <= set(rows)
    assert max(b - a for a, b in pairwise(rows)) < 30
    assert chosen_rows(["conv2_x"] * 5) == [0, 1, 2, 3, 4]
    _, output, _ = call("inspect", "cifar-resnet62", "--batch-size", 2)
    assert "of 30 units; --all shows every one" in output
    _, output, _ = call("inspect", "cifar-resnet62", "--batch-size", 2, "--all")
    assert "--all" not in output
    assert sum(line.strip().startswith("conv") for line in output.splitlines()) == 30


def test_plots(call: Call, in_folder: Path) -> None:
    status, output, _ = call("inspect", "cifar-plain20", "cifar-resnet20", "--plot", "signal.svg", "--batch-size", 2)
    assert status == 0
    assert "curves drawn into signal.svg" in output
    ElementTree.parse("signal.svg")
    assert call("inspect", "cifar-plain8", "--plot", "plain.png", "--batch-size", 2)[0] == 0
    with PIL.Image.open("plain.png") as drawn, PIL.Image.open("plain.png") as again:
        assert drawn.width > 1000
        assert len(again.convert("RGB").getcolors(1 << 20) or []) > 10  # something is drawn


def test_describe_says_memory_and_receptive_field(call: Call) -> None:
    _, output, _ = call("describe", "resnet50", "--json")
    (found,) = objects(output)
    assert {"name", "paper", "input", "parameters", "macs", "stages", "spec"} <= found.keys()
    fields = {stage["name"]: stage["receptive_field"] for stage in found["stages"]}
    assert fields == {"conv1": 7, "pool": 11, "conv2_x": 35, "conv3_x": 91, "conv4_x": 267, "conv5_x": 427, "head": None}
    assert found["receptive_field"] == 427
    assert found["activation_bytes"] == sum(stage["activation_bytes"] for stage in found["stages"])
    # the image and the convolution's output, in fp32; the norm's, and with int64 places what the pool and its ReLU give
    assert found["stages"][0]["activation_bytes"] == 4 * (3 * 224 * 224 + 64 * 112 * 112)
    assert found["stages"][1]["activation_bytes"] == 4 * (64 * 112 * 112 + 64 * 56 * 56) + 8 * 64 * 56 * 56
    _, output, _ = call("describe", "resnet50")
    assert "activation bytes" in output
    assert f"{found['activation_bytes']:,}" in output
    _, output, _ = call("describe", "resnet18", "--input-size", 448, "--json")
    assert objects(output)[0]["stages"][0]["activation_bytes"] == 4 * found["stages"][0]["activation_bytes"]


def test_describe_against_a_reference(call: Call) -> None:
    status, output, _ = call("describe", "resnet50", "--against", "he2015")
    assert status == 0
    row = next(line for line in output.splitlines() if "where a bottleneck subsamples" in line)
    assert row.split("subsamples")[1].split()[:2] == ["3x3", "1x1"]
    assert "Table 1" in row
    _, output, _ = call("describe", "resnet50", "--against", "torchvision")
    assert output.strip().endswith("no deviations")
    _, output, _ = call("describe", "resnet50", "--against", "timm", "--json")
    (found,) = objects(output)
    assert (found["reference"], found["network"]) == ("timm", "resnet50")
    (deviation,) = found["deviations"]
    assert (deviation["field"], deviation["ours"], deviation["theirs"]) == ("zero_init_residual", False, True)
    assert "init" in deviation["source"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect"], "name at least one network"),
        (["inspect", "cifar-resnt20"], "did you mean"),
        (["inspect", "runs/absent"], "no run directory or model file runs/absent"),
        (["inspect", "absent.safetensors"], "no run directory or model file absent.safetensors"),
        (["inspect", "cifar-resnet20", "--batch-size", "1"], "--batch-size is at least 2"),
        (["inspect", "cifar-resnet20", "--batch-size", "100000"], "more than the 1437 images of digits"),
        (["inspect", "cifar-resnet20", "--input-size", "0"], "--input-size"),
        (["inspect", "inception-v4", "--input-size", "20", "--batch-size", "2"], "cannot take images of 20 pixels"),
        (["inspect", "cifar-resnet20", "--seed", "-1"], "--seed"),
        (["inspect", "alphazero-2x8", "--data", "digits"], "use --data normal"),
        (["inspect", "cifar-resnet20:num_classes=0"], "num_classes=0 has no loss"),
        (["inspect", "cifar-resnet8", "--plot", "curves.txt"], "end its name in .png, .svg or .pdf"),
        (["describe", "cifar-resnet20", "--against", "torchvision"], "torchvision defines no network with 3, 3, 3 units"),
        (["describe", "resnet50", "--against", "timm", "--input-size", "96"], "leave one of the two out"),
    ],
)
def test_wrong_requests_get_one_clear_sentence(call: Call, in_folder: Path, arguments: list[str], message: str) -> None:
    status, output, errors = call(*arguments)
    assert status == 2
    assert output == ""
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert list(in_folder.iterdir()) == []
