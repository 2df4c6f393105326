"""create_model(weights=...): other classes, other input channels, other networks, our own files."""

import logging
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import resnets
from resnets.networks import build, get_spec
from resnets.training.run import Run
from resnets.weights.adapt import adapted_input, adapted_preprocessing, differences
from resnets.weights.catalogue import get_weights
from resnets.weights.pretrained import load_pretrained


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


@pytest.fixture(scope="module")
def file(peer: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's resnet18 with random weights in a file."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(peer.state_dict(), path)
    return path


def make_images(channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))


def test_the_same_network_gives_the_peers_logits(file: Path, peer: torch.nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    for weights in (file, str(file)):
        network = resnets.create_model("resnet18", weights=weights)
        torch.testing.assert_close(network(make_images()), peer(make_images()), rtol=1e-4, atol=1e-4)
    assert not network.training
    assert not caplog.records


def test_another_number_of_classes_gets_a_fresh_head(file: Path, peer: torch.nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "resnets"):
        network = resnets.create_model("resnet18", num_classes=10, weights=file)
    assert network(make_images()).shape == (2, 10)
    assert network.classes is None
    said = caplog.messages[0]
    assert "the weights are for 1000 classes; the head is freshly initialised for 10, train it" in said
    body = torch.nn.Sequential(*list(peer.children())[:-2])
    torch.testing.assert_close(network.features(make_images())["conv5_x"], body(make_images()), rtol=1e-4, atol=1e-4)
    assert load_pretrained(get_spec("resnet18", num_classes=10), file).notes == (said,)
    assert resnets.create_model("resnet18:num_classes=0", weights=file)(make_images()).shape == (2, 512)
    assert resnets.create_model(get_spec("resnet18").updated(num_classes=7), weights=file)(make_images()).shape == (2, 7)


def test_classes_that_nobody_states_are_the_files(tmp_path: Path) -> None:
    save_file(torchvision.models.resnet18(num_classes=5).state_dict(), tmp_path / "a.safetensors")
    assert resnets.create_model("resnet18", weights=tmp_path / "a.safetensors").spec.num_classes == 5


@pytest.mark.parametrize(
    ("channels", "how"), [(1, None), (1, "sum"), (2, "sum"), (4, None), (6, "repeat"), (4, "sum"), (7, "repeat")]
)
def test_grey_input_gets_the_response_it_had(
    file: Path, peer: torch.nn.Module, channels: int, how: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    network = resnets.create_model("resnet18", in_channels=channels, weights=file, input_weights=how)
    grey = make_images(1)
    expected = peer(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(network(grey.expand(-1, channels, -1, -1)), expected, rtol=1e-3, atol=1e-4)
    chosen = how or ("sum" if channels < 3 else "repeat")
    assert f"takes 3 input channels; its weights were adapted to {channels} (input_weights={chosen!r})" in caplog.messages[0]


def test_the_first_layers_weights_by_arithmetic() -> None:
    weight = torch.tensor([[1.0, 2.0, 6.0]]).view(1, 3, 1, 1)
    for channels, how, expected in (
        (1, "sum", [9.0]),
        (2, "sum", [4.5, 4.5]),
        (6, "repeat", [0.5, 1, 3, 0.5, 1, 3]),  # each scaled by C / n = 1/2
        (4, "repeat", [0.5, 2, 6, 0.5]),
    ):
        adapted, used = adapted_input(weight, channels, how)  # type: ignore[arg-type]
        assert (adapted.flatten().tolist(), used) == (expected, how)
        assert adapted.sum() == weight.sum()
    with pytest.raises(ValueError, match="'repeat' cannot make 2 input channels of 3"):
        adapted_input(weight, 2, "repeat")


def test_preprocessing_follows_the_channels() -> None:
    usual = get_weights("resnet18/imagenet1k-v1").preprocessing
    grey = adapted_preprocessing(usual, 1)
    assert grey is not None
    assert grey.channels == 1
    assert grey.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    assert (grey.size, grey.resize) == (224, 256)
    assert adapted_preprocessing(usual, 4) is None
    assert adapted_preprocessing(usual, 3) is usual


def test_other_networks_are_refused_with_layer_and_shapes(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"layer1\.0\.conv1\.weight is \(64, 64, 3, 3\) where .*conv2_x\.0\.residual\.conv1\.weight.* \(64, 64, 1, 1\)",
    ):
        resnets.create_model("resnet50", weights=file)
    ours = tmp_path / "model.safetensors"
    _save_ours(ours, "resnet18:width=8,num_classes=3")
    with pytest.raises(
        ValueError,
        match=r"do not fit this network: conv2_x\.0\.residual\.conv1\.weight is \(8, 64, 3, 3\) in the weights and \(16, 64, 3, 3\) in the",
    ):
        resnets.create_model("resnet18:width=16", weights=ours)
    with pytest.raises(ValueError, match=r"conv2_x\.0\.shortcut\.match\.conv\.weight \(8, 64, 1, 1\) has no place"):
        resnets.create_model("resnet18:width=8,shortcut=none", weights=ours)
    # the same shapes, another function
    _save_ours(ours, "resnet50:width=8,stem_width=8,num_classes=3")
    with pytest.raises(ValueError, match=r"bottleneck_stride='3x3' where the network has '1x1'"):
        resnets.create_model("resnet50-v1:width=8,stem_width=8", weights=ours)
    with pytest.raises(ValueError, match=r"norm_epsilon=1e-05 where the network has 0\.001"):
        resnets.create_model("resnet50:width=8,stem_width=8,norm_epsilon=0.001", weights=ours)
    assert resnets.create_model("resnet50:width=[8,16,32,64],stem_width=8,dropout=0.5,norm=frozen-batch", weights=ours)


def _save_ours(path: Path, name: str) -> None:
    from resnets.data.decoding.preprocessing import Preprocessing
    from resnets.weights.model_file import ModelDescription, save_model

    spec = get_spec(name)
    classes = tuple(f"class {i}" for i in range(spec.num_classes))
    save_model(build(spec), path, ModelDescription(spec, classes, Preprocessing(size=64)))


def test_differences_know_spellings() -> None:
    spec = get_spec("resnet50")
    assert differences(spec, spec.updated(width=(64, 128, 256, 512), residual=("bottleneck",) * 4, stem_stride=2)) == []
    assert differences(spec, spec.updated(strides=(1, 2, 2, 2), norm_groups=8, shared_preactivation="first-unit")) == []
    assert len(differences(spec, spec.updated(widening_factor=2, base_width=32))) == 2


def test_our_own_models_and_runs(small_run: Run, caplog: pytest.LogCaptureFixture) -> None:
    trained = resnets.load_model(small_run.model_path)
    inputs = torch.randn(2, 1, trained.spec.input_size, trained.spec.input_size)
    for weights in (small_run.model_path, small_run.directory):
        network = resnets.create_model(trained.spec, weights=weights)
        torch.testing.assert_close(network(inputs), trained(inputs))
        assert (network.classes, network.preprocessing) == (trained.classes, trained.preprocessing)
    assert not caplog.records
    other = resnets.create_model(trained.spec, num_classes=3, weights=small_run.model_path)
    assert other.classes is None
    assert other.preprocessing == trained.preprocessing


def test_wrong_requests(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ValueError, match=r"'imagenet1k_v3' is neither a file or folder nor a name: did you mean 'imagenet1k-v"):
        resnets.create_model("resnet50", weights="imagenet1k_v3")
    with pytest.raises(ValueError, match=r"holds neither model\.safetensors of ours nor config\.json"):
        resnets.create_model("resnet50", weights=tmp_path)
    with pytest.raises(ValueError, match="input_weights='mean' is no way"):
        resnets.create_model("resnet18", weights=file, input_weights="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name them with weights="):
        resnets.create_model("resnet18", input_weights="sum")
