"""Checkpoints as other people's programs write them: each converts with no option, or is refused with what helps; the logits are the file's."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import torchvision
from torch import Tensor, nn

from resnets.networks import build
from resnets.weights.foreign_file import LoadedWeights, read_foreign, read_tables
from resnets.weights.torch_file import Inert, Name, read_torch

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    made = torchvision.models.resnet18(num_classes=5)
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    return made.eval()


NET = network()
STATE = NET.state_dict()


class Wrapped(nn.Module):
    """A class that the reader's machine has not: it is never looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = NET


def under(prefix: str, state: dict[str, Tensor] = STATE) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def changed(change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {key: change(value) if value.is_floating_point() else value for key, value in STATE.items()}


def dropped_out() -> dict[str, Tensor]:
    return {key.replace("fc.", "fc.1."): value for key, value in STATE.items()}


OPTIMIZER = torch.optim.Adam(NET.parameters())
CONTENTS: dict[str, Callable[[], Any]] = {
    "plain": lambda: STATE,
    "compiled": lambda: under("_orig_mod."),
    "both": lambda: under("_orig_mod.module."),
    "lightning": lambda: {"state_dict": under("net."), "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.6"},
    "deep": lambda: {"checkpoint": {"state": {"params": under("module.student.resnet.")}}, "epoch": 3},
    "script": lambda: {"model": STATE, "optimizer": OPTIMIZER.state_dict(), "args": argparse.Namespace(device=torch.device("cpu"))},
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(NET).state_dict(),
    "number beside": lambda: {**STATE, "epoch": 3},
    "scalars": lambda: {"net": STATE, "best": numpy.float64(0.93), "size": torch.Size([3, 4])},
    "module": lambda: NET,
    "own class": Wrapped,
    "dropout": dropped_out,
    "parameters": lambda: {key: nn.Parameter(value) if value.is_floating_point() else value for key, value in STATE.items()},
}  # fmt: skip


def logits(read: LoadedWeights) -> Tensor:
    made = build(read.spec).eval()
    made.load_state_dict(read.state)
    with torch.no_grad():
        return made(IMAGES)


@pytest.fixture(scope="module")
def expected() -> Tensor:
    with torch.no_grad():
        return NET(IMAGES)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before-1.6"])
@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.filterwarnings("ignore")
def test_it_converts_with_no_option(tmp_path: Path, expected: Tensor, name: str, legacy: bool) -> None:
    torch.save(CONTENTS[name](), tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert torch.equal(logits(read_foreign(tmp_path / "w.pth")), expected)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_sixteen_bits_become_float32(tmp_path: Path, expected: Tensor, dtype: torch.dtype, limit: float) -> None:
    torch.save(changed(lambda value: value.to(dtype)), tmp_path / "w.pth")
    read = read_foreign(tmp_path / "w.pth")
    assert (logits(read) - expected).abs().max() < limit * expected.abs().max()
    assert any("became float32" in note for note in read.notes)


def test_other_containers(tmp_path: Path, expected: Tensor) -> None:
    numpy.savez(tmp_path / "w.npz", **{key: value.numpy() for key, value in STATE.items()})
    torch.jit.trace(NET, IMAGES).save(str(tmp_path / "w.pt"))  # type: ignore[no-untyped-call]
    for name in ("w.npz", "w.pt"):
        assert torch.equal(logits(read_foreign(tmp_path / name)), expected), name


def test_of_several_networks_the_one_that_learns_is_taken_and_others_by_name(tmp_path: Path, expected: Tensor) -> None:
    other = network(1)
    torch.save({"model": STATE, "model_ema": torch.optim.swa_utils.AveragedModel(other).state_dict()}, tmp_path / "w.pth")
    read = read_foreign(tmp_path / "w.pth")
    assert torch.equal(logits(read), expected)
    assert any("model_ema" in note and "--which" in note for note in read.notes)
    with torch.no_grad():
        assert torch.equal(logits(read_foreign(tmp_path / "w.pth", which="ema")), other(IMAGES))
    with pytest.raises(ValueError, match=r"--which teacher.*model_ema"):
        read_foreign(tmp_path / "w.pth", which="teacher")


def test_a_head_of_two_layers_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    head = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 5)).state_dict()
    state = {key: value for key, value in STATE.items() if not key.startswith("fc.")} | under("fc.", head)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"2 layers \(fc\.0, fc\.2\); --without-head"):
        read_foreign(tmp_path / "w.pth")
    assert read_foreign(tmp_path / "w.pth", without_head=True).spec.num_classes == 0


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"), (b"\x08\x08\x12\x07pytorch" + bytes(99), "ONNX"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(99), "TFLite"),
        (b"<!DOCTYPE html>", "web page"), (b"\x1f\x8b" + bytes(99), "gunzip"), (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"", "empty"), (pickle.dumps(Inert), "no tensors"),
    ],
)  # fmt: skip
def test_other_formats_are_named_with_what_helps(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match=named) as refused:
        read_foreign(tmp_path / "w.pth")
    assert "weights_only" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_container_that_holds_itself_ends(tmp_path: Path, expected: Tensor) -> None:
    cyclic: dict[str, Any] = {"model": dict(STATE)}
    cyclic["state_dict"] = cyclic
    torch.save(cyclic, tmp_path / "w.pth")
    assert torch.equal(logits(read_foreign(tmp_path / "w.pth")), expected)
    alone: dict[str, Any] = {}
    alone["model"] = alone
    torch.save(alone, tmp_path / "alone.pth")
    with pytest.raises(ValueError, match="no tensors"):
        read_tables(tmp_path / "alone.pth")


def test_a_view_beyond_its_bytes_is_refused(tmp_path: Path) -> None:
    """A pickle may claim any shape of a storage of four bytes."""
    torch.save({"layer1.0.conv1.weight": torch.zeros(1).expand(10**12)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="reaches beyond"):
        read_tables(tmp_path / "w.pth")


def test_every_name_is_an_inert_record() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    found = read_torch(pickle.dumps({"x": Evil()}))
    assert found["x"].made_by == Name("builtins", "exec")
    assert found["x"].arguments == ("raise SystemExit('ran')",)


def test_a_stem_for_small_images_in_torchvisions_names(tmp_path: Path) -> None:
    small = network(2)
    small.conv1, small.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    torch.save(small.eval().state_dict(), tmp_path / "w.pth")
    read = read_foreign(tmp_path / "w.pth")
    assert read.spec.stem == "cifar"
    with torch.no_grad():
        torch.testing.assert_close(logits(read), small(IMAGES))
