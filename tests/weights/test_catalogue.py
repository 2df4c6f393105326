"""The catalogue agrees with torchvision, and its files are fetched, checked and kept as promised (from a server on this machine)."""

import dataclasses
import hashlib
import http.server
import os
import pickle
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models import ResNet18_Weights, ResNet50_Weights, ResNeXt101_64X4D_Weights, get_weight

import resnets
from resnets.inspection.zoo_costs import zoo_cost
from resnets.weights import catalogue, download
from resnets.weights.catalogue import find_weights, get_weights, list_weights
from resnets.weights.download import WeightsUnavailable, cache_folders, expected_hash, fetched

# What is listed -----------------------------------------------------------------------------------


def test_every_weight_of_every_residual_network_is_listed() -> None:
    ours = {catalogue._entries()[name].url for name in list_weights()}
    theirs = {
        weight.url
        for name in torchvision.models.list_models(module=torchvision.models)
        if name.startswith(("resnet", "resnext", "wide_resnet"))
        for weight in torchvision.models.get_model_weights(name)
    }
    assert len(theirs) >= 16
    assert ours == theirs


@pytest.mark.parametrize("name", list_weights())
def test_entries_say_what_torchvision_says(name: str) -> None:
    entry = get_weights(name)
    weights = get_weight(entry.provenance["weights"])
    transforms = weights.transforms()
    assert entry.preprocessing.size == transforms.crop_size[0]
    assert entry.preprocessing.resize == transforms.resize_size[0]
    assert list(entry.preprocessing.mean) == transforms.mean
    assert list(entry.preprocessing.std) == transforms.std
    assert list(entry.classes) == weights.meta["categories"]
    assert entry.metrics["top1"] * 100 == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])
    assert zoo_cost(entry.network)[0] == weights.meta["num_params"]
    digits = expected_hash(entry.url)
    assert len(digits) == 8
    assert entry.url.endswith(f"-{digits}.pth")
    assert entry.provenance["sha256"] == digits


def test_patterns_and_names() -> None:
    assert list_weights("resnet50") == ["resnet50/imagenet1k-v1", "resnet50/imagenet1k-v2"]
    assert list_weights("*v2") == [name for name in list_weights() if name.endswith("v2")]
    assert list_weights("nothing") == []
    assert get_weights("resnet50/IMAGENET1K_V2").url == ResNet50_Weights.IMAGENET1K_V2.url
    with pytest.raises(ValueError, match="did you mean resnet50/imagenet1k-v2"):
        get_weights("resnet50/imagenet-v2")
    assert resnets.list_weights is list_weights


def test_labels_are_found_for_the_network_that_fits() -> None:
    def url(label: str, name: str) -> str | None:
        entry = find_weights(label, resnets.get_spec(name))
        return None if entry is None else entry.url

    assert url("imagenet1k-v1", "resnet18") == ResNet18_Weights.IMAGENET1K_V1.url
    assert url("IMAGENET1K_V1", "resnext101-64x4d:num_classes=2,in_channels=1") == ResNeXt101_64X4D_Weights.IMAGENET1K_V1.url
    assert url("imagenet1k-v1", "resnet18:output_stride=8,norm=frozen-batch") == ResNet18_Weights.IMAGENET1K_V1.url
    assert url("imagenet1k-v1", "resnet50:blocks=[2,2,2,2],residual=basic") == ResNet18_Weights.IMAGENET1K_V1.url
    assert url("something-else", "resnet18") is None
    with pytest.raises(ValueError, match=r"resnet18 has no weights 'imagenet1k-v2'; it has imagenet1k-v1"):
        url("imagenet1k-v2", "resnet18")
    # v1.5's weights would fit a v1 network in shape, and compute nonsense
    with pytest.raises(ValueError, match=r"Those of resnet50 come nearest.*bottleneck_stride='3x3' where the network has '1x1'"):
        url("imagenet1k-v2", "resnet50-v1")
    with pytest.raises(ValueError, match=r"shortcut='B' where the network has 'A'"):
        url("imagenet1k-v1", "resnet18:shortcut=A")


# Fetching -----------------------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path.startswith(("/short/", "/slow/")):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.wfile.flush()
            if self.path.startswith("/slow/"):
                time.sleep(1)
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is what the tests look at."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Address, folder and requests of a server on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    requests: list[str] = []
    handler = partial(type("Handler", (_Quiet,), {"requests": requests}), directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder, requests
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's checkpoints folder, of this test alone; the network (this machine's) is allowed."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("RESNETS_CACHE", raising=False)
    monkeypatch.delenv("RESNETS_OFFLINE", raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


def put(folder: Path, content: bytes, digits: str | None = None) -> str:
    name = f"weights-{digits or hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    return name


def test_a_file_is_fetched_once_and_kept_where_torch_hub_looks(
    server: tuple[str, Path, list[str]], caches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, folder, requests = server
    name = put(folder, b"tensors" * 1000)
    path = fetched(f"{address}/{name}")
    assert path == caches / name
    assert path.read_bytes() == b"tensors" * 1000
    output, errors = capsys.readouterr()
    assert output == ""
    assert f"fetching {name}" in errors
    assert fetched(f"{address}/{name}") == path
    assert requests == [f"/{name}"]
    assert [p.name for p in caches.iterdir()] == [name]


def test_resnets_cache_comes_first_and_torch_hubs_files_are_used(
    server: tuple[str, Path, list[str]], caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder, requests = server
    monkeypatch.setenv("RESNETS_CACHE", str(tmp_path / "mine"))
    assert cache_folders() == [tmp_path / "mine", caches]
    caches.mkdir(parents=True)
    there = put(caches, b"already there")
    assert fetched(f"{address}/{there}") == caches / there
    assert requests == []
    new = put(folder, b"new")
    assert fetched(f"{address}/{new}") == tmp_path / "mine" / new


def test_a_wrong_file_is_not_kept(server: tuple[str, Path, list[str]], caches: Path) -> None:
    address, folder, _ = server
    name = put(folder, b"another file", digits="0123abcd")
    found = hashlib.sha256(b"another file").hexdigest()[:8]
    with pytest.raises(WeightsUnavailable, match=rf"begins with {found}, its name says 0123abcd.*put it at .*{name}"):
        fetched(f"{address}/{name}")
    assert list(caches.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [("short", "SHA-256 begins with"), ("slow", "broke off"), ("absent", "not found"), ("no server", "refused")],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(
    server: tuple[str, Path, list[str]], caches: Path, kind: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    address, _, _ = server
    where = {"short": f"{address}/short", "slow": f"{address}/slow", "absent": address, "no server": "http://127.0.0.1:9"}[kind]
    with pytest.raises(WeightsUnavailable, match=rf"weights-0123abcd\.pth.*{said}.*put it at"):
        fetched(f"{where}/weights-0123abcd.pth")
    assert list(caches.iterdir()) == []


def test_a_damaged_copy_is_replaced(server: tuple[str, Path, list[str]], caches: Path) -> None:
    address, folder, _ = server
    name = put(folder, b"whole")
    caches.mkdir(parents=True)
    (caches / name).write_bytes(b"hal")
    assert fetched(f"{address}/{name}").read_bytes() == b"whole"


def test_offline_the_message_says_which_file_goes_where(
    server: tuple[str, Path, list[str]], caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder, requests = server
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    name = put(folder, b"whole")
    with pytest.raises(WeightsUnavailable, match=r"RESNETS_OFFLINE=1 forbids the network") as caught:
        fetched(f"{address}/{name}")
    assert f"fetch {address}/{name} on a machine that can, and put it at {caches / name}" in str(caught.value)
    caches.mkdir(parents=True)
    (caches / name).write_bytes(b"hal")
    with pytest.raises(WeightsUnavailable, match="is damaged"):
        fetched(f"{address}/{name}")
    (caches / name).write_bytes(b"whole")
    assert fetched(f"{address}/{name}") == caches / name
    assert requests == []


# The whole way ------------------------------------------------------------------------------------


@pytest.fixture
def served_resnet18(
    server: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.nn.Module, dict[str, catalogue.CatalogueEntry]]:
    """torchvision's resnet18 with random weights, in the catalogue as resnet18/imagenet1k-v1."""
    address, folder, _ = server
    torch.manual_seed(0)
    peer = torchvision.models.resnet18().eval()
    torch.save(peer.state_dict(), folder / "new.pth")
    name = put(folder, (folder / "new.pth").read_bytes())
    entry = dataclasses.replace(get_weights("resnet18/imagenet1k-v1"), url=f"{address}/{name}")
    entries = {**catalogue._entries(), entry.name: entry}
    monkeypatch.setattr(catalogue, "_entries", lambda: entries)
    return peer, entries


def test_create_model_with_weights_of_the_catalogue(
    served_resnet18: tuple[torch.nn.Module, dict[str, catalogue.CatalogueEntry]],
) -> None:
    peer, _ = served_resnet18
    network = resnets.create_model("resnet18", weights="imagenet1k-v1")
    assert not network.training
    assert network.classes is not None
    assert network.classes[:2] == ("tench", "goldfish")
    assert network.preprocessing is not None
    pixels = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    # The whole way from pixels to logits is torchvision's.
    theirs = peer(ResNet18_Weights.IMAGENET1K_V1.transforms()(pixels))
    torch.testing.assert_close(network(network.preprocessing(pixels)), theirs, rtol=1e-3, atol=1e-3)


def test_preprocessing_follows_the_input_channels(
    served_resnet18: tuple[torch.nn.Module, dict[str, catalogue.CatalogueEntry]], caplog: pytest.LogCaptureFixture
) -> None:
    grey = resnets.create_model("resnet18", in_channels=1, weights="imagenet1k-v1")
    assert (grey.preprocessing.channels, grey.preprocessing.resize) == (1, 256)
    assert grey.classes is not None
    assert "preprocessing for 1 channels was adapted" in caplog.messages[-1]
    assert resnets.create_model("resnet18", in_channels=5, weights="imagenet1k-v1").preprocessing is None
    assert "preprocessing for 5 channels was left unset" in caplog.messages[-1]


def test_a_hostile_file_from_the_catalogue_does_not_run(
    server: tuple[str, Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    address, folder, _ = server
    name = put(folder, pickle.dumps({"conv1.weight": Hostile()}, 2))
    entry = dataclasses.replace(get_weights("resnet18/imagenet1k-v1"), url=f"{address}/{name}")
    monkeypatch.setattr(catalogue, "_entries", lambda: {entry.name: entry})
    with pytest.raises(ValueError, match="Nothing of it was run"):
        resnets.create_model("resnet18", weights="imagenet1k-v1")
    assert not (tmp_path / "marker").exists()
