"""`resnets describe` of several networks and of other packages', and what the papers print, there and in `resnets models`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Call = Callable[..., tuple[int, str, str]]


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_ours_beside_torchvisions(call: Call) -> None:
    status, output, _ = call("describe", "resnet18", "torchvision/resnet18", "torchvision/vgg11")
    assert status == 0
    last = [line.split() for line in output.splitlines() if line.strip()][-3:]
    assert last[0] == ["resnet18", "11,689,512", "1,814,073,344", "1.0000", "1.0000"]
    assert last[1] == ["torchvision/resnet18", "11,689,512", "1,814,073,344", "1.0000", "1.0000"]
    assert last[2][:2] == ["torchvision/vgg11", "132,863,336"]
    assert "layer4" in output
    assert "conv5_x" in output


def test_another_packages_network_by_its_modules(call: Call) -> None:
    ours, theirs = objects(call("describe", "resnet50", "torchvision/resnet50", "--json")[1])
    of_ours, of_theirs = ({stage["name"]: stage for stage in described["stages"]} for described in (ours, theirs))
    for name, layer in (("conv2_x", "layer1"), ("conv3_x", "layer2"), ("conv4_x", "layer3"), ("conv5_x", "layer4"), ("head", "fc")):
        for quantity in ("parameters", "macs", "output"):
            assert of_ours[name][quantity] == of_theirs[layer][quantity]
    assert (theirs["parameters"], theirs["macs"]) == (ours["parameters"], ours["macs"])
    (vgg,) = objects(call("describe", "torchvision/vgg19", "--input-size", 112, "--json")[1])
    features, _, classifier = vgg["stages"]
    assert features["output"] == [512, 3, 3]
    assert (vgg["parameters"], classifier["macs"]) == (143_667_240, 25_088 * 4096 + 4096 * 4096 + 4096 * 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe"], "name at least one network"),
        (["describe", "torchvision/vgg19", "--against", "timm"], "torchvision/vgg19 has none; name a network of the zoo"),
        (["describe", "torchvision/vgg20"], "did you mean torchvision/vgg"),
        (["describe", "torchvision/vgg19", "--input-size", "8"], "cannot be counted with images of 3×8×8"),
        (["models", "alphazero*", "--against", "papers"], "no paper's numbers are kept here for 'alphazero*'"),
    ],
)
def test_wrong_requests(call: Call, arguments: list[str], message: str) -> None:
    status, output, errors = call(*arguments)
    assert (status, output) == (2, "")
    assert message in " ".join(errors.split())


def test_printed_numbers_stand_below_the_layers(call: Call) -> None:
    _, output, _ = call("describe", "resnet50")
    assert (
        "printed: 3.8e9 multiply-adds in He 2015 (1512.03385), Table 1; ours 4,089,184,256 (+7.6 %): the row subsamples in"
        in output
    )
    (described,) = objects(call("describe", "resnet50", "--json")[1])
    assert [(p["quantity"], p["printed"]) for p in described["published"]] == [
        ("macs", "3.8e9"), ("parameters", "25.5M"), ("macs", "4.1e9"),
    ]  # fmt: skip
    (described,) = objects(call("describe", "resnet50", "--input-size", 96, "--json")[1])
    assert [p["quantity"] for p in described["published"]] == ["parameters"]  # the paper's multiply-adds are at 224 pixels


def test_models_against_the_papers(call: Call) -> None:
    rows = objects(call("models", "--against", "papers", "--json")[1])
    assert len(rows) > 60
    assert all(row["agrees"] == (row["reason"] is None) for row in rows)
    _, output, _ = call("models", "cifar-resnet1001", "--against", "papers")
    assert "10,328,602" in output
    assert "+1.3 %" in output
    assert "10,178,490" in output
