"""CIFAR's archives in the official layout, made small, against torchvision's own readers."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from resnets.data import DATASETS, load
from resnets.data.datasets import cifar
from resnets.data.datasets.cifar import ARCHIVES
from resnets.data.errors import DataError

Serve = Callable[[Path], str]
PEERS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def rows(name: str, member: str) -> tuple[np.ndarray, list[int]]:
    """The images of a member, the same whichever archive it is of."""
    stem = member.rpartition("/")[2].removesuffix(".bin")
    random = np.random.default_rng(sum(stem.encode()))
    count = 8 if "test" in stem else 12
    return random.integers(0, 256, (count, 3072), dtype=np.uint8), random.integers(0, len(DATASETS[name].classes), count).tolist()


def content_of(name: str, archive: cifar.CifarArchive, member: str) -> bytes:
    classes = list(DATASETS[name].classes)
    if member == archive.classes:
        return ("\n".join(classes) + "\n\n").encode() if archive.label_bytes else pickle.dumps({archive.names_key: classes}, 2)
    images, labels = rows(name, member)
    if archive.label_bytes:
        coarse = np.zeros((len(images), archive.label_bytes - 1), np.uint8)
        return np.hstack([coarse, np.array(labels, np.uint8)[:, None], images]).tobytes()
    return pickle.dumps({"data": images, archive.label_key: labels, "filenames": ["x.png"] * len(labels)}, 2)


def write(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as bundle:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            bundle.addfile(info, io.BytesIO(content))


def publish(
    name: str, archive: cifar.CifarArchive, folder: Path, monkeypatch: pytest.MonkeyPatch, **other: bytes
) -> cifar.CifarArchive:
    """Writes the archive and puts its hashes in the place of the official ones."""
    folder.mkdir(exist_ok=True)
    path = folder / archive.name
    write(path, {m: other.get("content", content_of(name, archive, m)) for m in (*archive.train, *archive.test, archive.classes)})
    packed = path.read_bytes()
    known = dataclasses.replace(archive, md5=hashlib.md5(packed).hexdigest(), sha256=hashlib.sha256(packed).hexdigest())
    others = tuple(known if a.name == archive.name else a for a in ARCHIVES[name])
    monkeypatch.setitem(ARCHIVES, name, others)
    return known


@pytest.mark.parametrize("name", PEERS)
def test_the_table_is_torchvisions_as_far_as_that_goes(name: str) -> None:
    archive, peer = ARCHIVES[name][0], PEERS[name]
    assert (cifar.SITE + archive.name, archive.md5) == (peer.url, peer.tgz_md5)
    assert archive.train == tuple(f"{peer.base_folder}/{file}" for file, _ in peer.train_list)
    assert archive.test == tuple(f"{peer.base_folder}/{file}" for file, _ in peer.test_list)
    assert (archive.classes, archive.names_key) == (f"{peer.base_folder}/{peer.meta['filename']}", peer.meta["key"])


@pytest.mark.parametrize("name", PEERS)
def test_both_archives_hold_what_torchvision_reads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for archive in ARCHIVES[name]:
        folder = tmp_path / archive.name
        publish(name, archive, folder, monkeypatch)
        found[archive.name] = [load(name, split, folder, offline=True) for split in ("train", "test")]
    python = ARCHIVES[name][0]
    with tarfile.open(tmp_path / python.name / python.name) as bundle:
        # Python 3.11.2, which Debian 12 has, knows no filter yet.
        bundle.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    peer = PEERS[name]
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    for number, train in enumerate((True, False)):
        theirs = peer(str(tmp_path), train=train)
        for ours in (parts[number] for parts in found.values()):
            assert torch.equal(ours.images, torch.from_numpy(theirs.data).permute(0, 3, 1, 2))
            assert ours.labels.tolist() == theirs.targets
            assert list(ours.classes) == theirs.classes


def test_from_the_site_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve, reports: list[str]) -> None:
    archive = publish("cifar10", ARCHIVES["cifar10"][0], tmp_path / "site", monkeypatch)
    monkeypatch.setattr(cifar, "SITE", serve(tmp_path / "site"))
    first = load("cifar10", "test", report=reports.append)
    kept = tmp_path / "data" / "cifar10"
    assert [path.name for path in kept.iterdir()] == [archive.name]
    assert reports == [f"fetching {cifar.SITE}{archive.name}"]
    assert torch.equal(load("cifar10", "test", offline=True).images, first.images)
    (kept / archive.name).write_bytes(b"half")
    with pytest.raises(DataError, match="is not the published"):
        load("cifar10", "test", offline=True, report=reports.append)
    assert torch.equal(load("cifar10", "test", report=reports.append).images, first.images)


def test_what_is_not_the_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve, reports: list[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    archive = ARCHIVES["cifar100"][0]
    (folder / archive.name).write_bytes(b"another file")
    with pytest.raises(DataError, match=f"is not the published {archive.name}.*MD5"):
        load("cifar100", "train", folder, offline=True)
    monkeypatch.setattr(cifar, "SITE", serve(folder))
    with pytest.raises(DataError, match="gave a wrong file"):
        load("cifar100", "train", report=reports.append)
    with pytest.raises(DataError, match=r"cifar-100-python\.tar\.gz or cifar-100-binary\.tar\.gz"):
        load("cifar100", "train", tmp_path / "nowhere", offline=True, report=reports.append)


class Evil:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_nothing_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "made"
    publish("cifar10", ARCHIVES["cifar10"][0], tmp_path / "x", monkeypatch, content=pickle.dumps(Evil(victim)))
    with pytest.raises(DataError, match=r"holds the name .*open.*Nothing of it was run"):
        load("cifar10", "train", tmp_path / "x", offline=True)
    assert not victim.exists()


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps({"data": np.zeros((2, 5), np.uint8)}), pickle.dumps({"label_names": ["a", "b"]})]
)
def test_an_archive_of_other_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    publish("cifar10", ARCHIVES["cifar10"][0], tmp_path / "x", monkeypatch, content=content)
    with pytest.raises(DataError, match="no archive of cifar10"):
        load("cifar10", "train", tmp_path / "x", offline=True)
