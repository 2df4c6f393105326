"""A dataset of four tiny IDX files in the place of Fashion-MNIST, and a machine on which no real source can be reached."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from resnets.data.datasets import locate
from resnets.data.sources.files import FASHION_MNIST, FILES, Archive, DataFile
from resnets.data.sources.idx import write_idx


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache, Debian's folder, commands and mirrors are this test's own, and at first there is nothing in any of them."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("RESNETS_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(locate, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(FashionMNIST, "mirrors", [])


def _describe(folder: Path, file: DataFile, array: np.ndarray) -> DataFile:
    write_idx(folder / file.name, array)
    write_idx(folder / file.archive_name, array)
    unpacked, packed = (folder / file.name).read_bytes(), (folder / file.archive_name).read_bytes()
    (folder / file.name).unlink()
    archive = Archive("test", len(packed), hashlib.sha256(packed).hexdigest(), "")
    return DataFile(file.name, array.shape, hashlib.sha256(unpacked).hexdigest(), (archive,))


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the four .gz files of a tiny dataset that goes by the name of fashion-mnist for this test."""
    folder = tmp_path / "good"
    folder.mkdir()
    random = np.random.default_rng(5)
    described = []
    for file in FASHION_MNIST:
        count = 40 if file.name.startswith("train") else 20
        labels = "labels" in file.name
        array = np.arange(count) % 10 if labels else random.integers(0, 256, (count, 6, 5))
        described.append(_describe(folder, file, array.astype(np.uint8)))
    monkeypatch.setitem(FILES, "fashion-mnist", tuple(described))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where fashion-mnist is cached; not made yet."""
    return tmp_path / "data" / "fashion-mnist"


@pytest.fixture
def reports() -> list[str]:
    """For `report=reports.append`."""
    return []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests are not printed between the tests."""


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve a folder on 127.0.0.1; the address."""
    servers = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
