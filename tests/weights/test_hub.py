"""Weights from the hub through huggingface_hub, whose files a server on this machine gives."""

import hashlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision

import resnets
from resnets.weights.download import WeightsUnavailable


class _Hub(http.server.SimpleHTTPRequestHandler):
    """The part of the hub that answers for files: OWNER/NAME/resolve/REVISION/FILE, with its headers."""

    def _send(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        file = Path(self.directory, *parts[:2], *parts[4:]) if "resolve" in parts else None
        known = file is not None and file.is_file()
        content = file.read_bytes() if file is not None and known else b""
        self.send_response(200 if known else 404)
        if known:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        else:
            repository = Path(self.directory, *parts[:2])
            self.send_header("X-Error-Code", "EntryNotFound" if repository.is_dir() and len(parts) > 2 else "RepoNotFound")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_GET = do_HEAD = _send

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder OWNER/NAME/FILE that huggingface_hub takes for the hub."""
    import huggingface_hub.constants as constants

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("RESNETS_OFFLINE", raising=False)
    folder = tmp_path / "hub"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        address = f"http://127.0.0.1:{running.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield folder
        running.shutdown()
        thread.join()


def publish(folder: Path, owner_and_name: str, config: dict[str, object], state: dict[str, torch.Tensor]) -> None:
    repository = folder / owner_and_name
    repository.mkdir(parents=True)
    (repository / "config.json").write_text(json.dumps(config))
    torch.save(state, repository / "pytorch_model.bin")


def test_weights_come_from_the_hub_and_stay_for_offline_use(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    peer = torchvision.models.resnet18(num_classes=6).eval()
    config = {"architecture": "resnet18", "num_classes": 6, "pretrained_cfg": {"input_size": [3, 64, 64], "tag": "x"}}
    publish(hub, "timm/resnet18.mine", config, peer.state_dict())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for offline in ("0", "1"):
        monkeypatch.setenv("RESNETS_OFFLINE", offline)
        network = resnets.create_model("resnet18", weights="timm/resnet18.mine")
        assert network.spec.num_classes == 6
        torch.testing.assert_close(network(images), peer(images), rtol=1e-4, atol=1e-5)
        assert network.preprocessing.size == 64


def test_what_the_hub_does_not_have_is_said(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsUnavailable, match="no repository 'microsoft/resnet-1' on the hub"):
        resnets.create_model("resnet18", weights="transformers/microsoft/resnet-1")
    with pytest.raises(ValueError, match="no name of a repository"):
        resnets.create_model("resnet18", weights="transformers/a/b/c")
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match=r"RESNETS_OFFLINE=1 forbids the network; fetch config\.json.*name the folder"):
        resnets.create_model("resnet18", weights="transformers/microsoft/resnet-18")


def test_without_huggingface_hub_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsUnavailable, match=r"pip install 'resnets\[hub\]'"):
        resnets.create_model("resnet50", weights="timm/resnet50.a1_in1k")
