"""The model file: it says everything about its network, and nothing in it runs."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import resnets
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.networks import Network
from resnets.weights.model_file import ModelDescription, load_model, read_description, save_model


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    made = resnets.create_model("cifar-resnet8:width=4,stem_width=4", num_classes=3)
    made.train()(torch.randn(4, 3, 8, 8))  # running statistics of its own
    return made.eval()


@pytest.fixture
def saved(network: Network, tmp_path: Path) -> Path:
    preprocessing = Preprocessing(size=8, mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    description = ModelDescription(network.spec, ("cat", "дом", "犬"), preprocessing, {"top1": 0.5}, {"network": "x"})
    save_model(network, tmp_path / "model.safetensors", description)
    return tmp_path / "model.safetensors"


def test_everything_comes_back(network: Network, saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.spec == network.spec
    assert loaded.classes == ("cat", "дом", "犬")
    assert loaded.preprocessing == Preprocessing(size=8, mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    assert not loaded.training
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(loaded(images), network(images))
    assert read_description(saved).metrics == {"top1": 0.5}


def test_a_loaded_network_trains_on(saved: Path) -> None:
    loaded = load_model(saved).train()
    loaded(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in loaded.parameters())


def test_channels_last_weights_are_saved_too(network: Network, tmp_path: Path) -> None:
    description = ModelDescription(network.spec, ("a", "b", "c"), Preprocessing(size=8))
    save_model(network.to(memory_format=torch.channels_last), tmp_path / "m.safetensors", description)
    assert torch.equal(load_model(tmp_path / "m.safetensors").conv1.conv.weight, network.conv1.conv.weight)  # type: ignore[union-attr]


def test_class_names_must_fit(network: Network, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 class names for 3 logits"):
        save_model(network, tmp_path / "m.safetensors", ModelDescription(network.spec, ("a", "b"), Preprocessing(size=8)))
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_models(saved: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("just words, just words")
    with pytest.raises(ValueError, match=r"text\.safetensors is not a model file"):
        load_model(text)
    saved.write_bytes(saved.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        load_model(saved)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(ValueError, match="not a model that `resnets train` wrote"):
        load_model(foreign)
    with pytest.raises(FileNotFoundError, match="no model file"):
        load_model(tmp_path / "absent.safetensors")


def test_weights_of_another_network_are_named(saved: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(saved, framework="pt") as file:
        header = file.metadata()
    state = load_file(saved)
    state["head.fc.weight"] = torch.zeros(3, 99)
    other = tmp_path / "other.safetensors"
    save_file(state, other, metadata=header)
    with pytest.raises(ValueError, match=r"do not fit its spec.*head\.fc\.weight"):
        load_model(other)


def test_a_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match="not a model file"):
        load_model(path)
    assert not (tmp_path / "harm").exists()
