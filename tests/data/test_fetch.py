"""The two sources that need a network, against a server on this machine and commands that only look like apt-get and dpkg."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from torchvision.datasets import FashionMNIST

from resnets.data.datasets.locate import locate
from resnets.data.errors import DataError
from resnets.data.sources import fetch
from resnets.data.sources.files import FILES

NAME = "fashion-mnist"
LABELS = "train-labels-idx1-ubyte.gz"
Serve = Callable[[Path], str]


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str, str], None]:
    """Put a shell script of some name on the path, which first notes how it was called in `calls`."""

    def make(name: str, body: str) -> None:
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "{name} $*" >> "{tmp_path}/calls"\n{body}\n')
        script.chmod(0o755)

    return make


@pytest.fixture
def dpkg(good: Path, tmp_path: Path, command: Callable[[str, str], None]) -> None:
    """A dpkg-deb that unpacks the good files, from an archive that says "package", to where Debian's package has them."""
    inside = str(tmp_path / "debian").lstrip("/")
    command("dpkg-deb", f'[ "$(cat "$2")" = package ] && mkdir -p "$3/{inside}" && cp "{good}"/* "$3/{inside}"')


def calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "calls"
    return path.read_text().splitlines() if path.exists() else []


def assert_is_a_copy(cache: Path, good: Path) -> None:
    assert sorted(os.listdir(cache)) == sorted(os.listdir(good))  # and no temporary folder beside them
    for path in good.iterdir():
        assert (cache / path.name).read_bytes() == path.read_bytes()


def test_the_mirror_fills_the_cache(
    good: Path, cache: Path, serve: Serve, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = serve(good)
    monkeypatch.setattr(FashionMNIST, "mirrors", [address])
    assert locate(NAME, report=reports.append) == cache
    assert_is_a_copy(cache, good)
    assert reports == [f"fetching {address}{file.archive_name}" for file in FILES[NAME]]
    assert socket.getdefaulttimeout() is None
    assert locate(NAME, offline=True, report=reports.append) == cache
    assert len(reports) == 4


def test_only_what_is_missing_or_wrong_is_fetched(
    good: Path, cache: Path, serve: Serve, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(good, cache)
    (cache / LABELS).write_bytes(b"half a fi")
    (cache / "t10k-labels-idx1-ubyte.gz").unlink()
    address = serve(good)
    monkeypatch.setattr(FashionMNIST, "mirrors", [address])
    assert locate(NAME, report=reports.append) == cache
    assert_is_a_copy(cache, good)
    assert str(cache / LABELS) in reports[0]
    assert reports[1:] == [f"fetching {address}{LABELS}", f"fetching {address}t10k-labels-idx1-ubyte.gz"]


def test_a_second_mirror_helps_where_the_first_has_a_wrong_file(
    good: Path, cache: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = shutil.copytree(good, tmp_path / "bad")
    (bad / "train-images-idx3-ubyte.gz").write_bytes(b"<html>Not what you look for</html>")
    (bad / LABELS).write_bytes((good / LABELS).read_bytes()[:-20])
    (bad / "t10k-images-idx3-ubyte.gz").unlink()
    shutil.copy(good / "t10k-labels-idx1-ubyte.gz", bad / LABELS)
    monkeypatch.setattr(FashionMNIST, "mirrors", [serve(bad), serve(good)])
    assert locate(NAME, report=lambda _: None) == cache
    assert_is_a_copy(cache, good)


def test_what_was_fetched_before_the_mirror_failed_is_kept(
    good: Path, cache: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = shutil.copytree(good, tmp_path / "bad")
    (bad / "t10k-images-idx3-ubyte.gz").write_bytes((good / "t10k-images-idx3-ubyte.gz").read_bytes()[:-20])
    monkeypatch.setattr(FashionMNIST, "mirrors", [serve(bad)])
    with pytest.raises(DataError, match=r"mirrors: http://127.*t10k-images-idx3-ubyte\.gz is damaged or cut short"):
        locate(NAME, report=lambda _: None)
    assert sorted(os.listdir(cache)) == ["train-images-idx3-ubyte.gz", LABELS]


def test_each_reason_is_given_where_no_source_answers(
    good: Path, cache: Path, tmp_path: Path, serve: Serve, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(FashionMNIST, "mirrors", [serve(tmp_path / "empty")])
    with pytest.raises(DataError) as caught:
        locate(NAME, report=reports.append)
    mirror_line = next(line for line in str(caught.value).splitlines() if "mirrors" in line)
    assert "HTTP Error 404" in mirror_line
    assert reports[1].startswith("no answer from the publisher's mirrors: http://127.0.0.1")
    assert os.listdir(cache) == []


def test_a_server_that_does_not_answer_is_given_up(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        with pytest.raises(DataError, match=r"mirrors: .*timed out"):
            locate(NAME, report=lambda _: None)
    assert socket.getdefaulttimeout() is None


def test_a_full_disk_while_fetching_ends_the_search(
    good: Path, cache: Path, tmp_path: Path, dpkg: None, command: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str, folder: str, name: str) -> None:
        Path(folder, name).write_bytes(b"the first half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    command("apt-get", "echo package > package.deb")
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:1/"])
    monkeypatch.setattr("torchvision.datasets.utils.download_url", full)
    with pytest.raises(DataError, match=f"cannot write to the cache {cache}: No space left on device; free space there or set"):
        locate(NAME, report=lambda _: None)
    assert os.listdir(cache) == []
    assert calls(tmp_path) == []


@pytest.mark.parametrize("place", ["shutil.copyfileobj", "os.fsync", "os.replace"])
def test_a_full_disk_while_keeping_leaves_no_half_file(
    good: Path, cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*arguments: object) -> None:
        if place == "shutil.copyfileobj":
            arguments[1].write(b"the first half")  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FashionMNIST, "mirrors", [serve(good)])
    # The server copies files too: only the copy into the cache is to fail.
    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", lambda _, source, target: target.write(source.read()))
    monkeypatch.setattr(place, full)
    with pytest.raises(DataError, match=f"cannot write to the cache {cache}: .*No space left on device.*set RESNETS_DATA"):
        locate(NAME, report=lambda _: None)
    assert os.listdir(cache) == []


def test_debians_package_fills_the_cache(
    good: Path, cache: Path, tmp_path: Path, dpkg: None, command: Callable[[str, str], None], reports: list[str]
) -> None:
    command("apt-get", 'for last; do :; done\necho package > "${last}_1_all.deb"')
    assert locate(NAME, report=reports.append) == cache
    assert_is_a_copy(cache, good)
    assert reports[-1] == "fetching Debian's package dataset-fashion-mnist"
    download, unpack = calls(tmp_path)
    assert download.endswith(" download dataset-fashion-mnist")
    assert "Acquire::http::Timeout=10" in download
    assert unpack.startswith("dpkg-deb -x ")
    assert "/dataset-fashion-mnist_1_all.deb " in unpack


def test_dpkg_will_do_where_there_is_no_dpkg_deb(
    good: Path, cache: Path, tmp_path: Path, dpkg: None, command: Callable[[str, str], None]
) -> None:
    (tmp_path / "bin" / "dpkg-deb").rename(tmp_path / "bin" / "dpkg")
    command("apt-get", "echo package > a.deb")
    assert locate(NAME, report=lambda _: None) == cache


def test_empty_lists_are_read_anew_apart_from_the_systems(
    good: Path, cache: Path, tmp_path: Path, dpkg: None, command: Callable[[str, str], None]
) -> None:
    command(
        "apt-get",
        'for part; do case "$part" in Dir::State::Lists=*) lists=${part#*=};; *.conf) hooks=$part;; esac; last=$part; done\n'
        'if [ "$last" = update ]; then grep -q "#clear APT::Update::Post-Invoke;" "$hooks" || exit 3\n'
        '  [ -d "$lists/partial" ] && touch "$lists/main"; exit\nfi\n'
        'if [ -z "$lists" ] || [ ! -e "$lists/main" ]; then\n'
        '  echo "W: some warning" >&2; echo "E: Unable to locate package $last" >&2; exit 100\nfi\necho package > a.deb',
    )
    assert locate(NAME, report=lambda _: None) == cache
    assert_is_a_copy(cache, good)
    assert [line.split()[-1] for line in calls(tmp_path)[:3]] == ["dataset-fashion-mnist", "update", "dataset-fashion-mnist"]
    assert "Dir::State::Lists" not in calls(tmp_path)[0]
    for line in calls(tmp_path)[:3]:
        assert f"Dir::Cache={cache}" in line  # the system's own cache of apt is left alone


def test_without_a_network_apt_is_asked_once(
    good: Path, cache: Path, tmp_path: Path, dpkg: None, command: Callable[[str, str], None]
) -> None:
    command("apt-get", 'echo "W: unsandboxed" >&2; echo "E: Temporary failure resolving the host" >&2; exit 100')
    with pytest.raises(DataError, match="installing it: apt-get failed: E: Temporary failure resolving the host\n"):
        locate(NAME, report=lambda _: None)
    assert len(calls(tmp_path)) == 1
    assert os.listdir(cache) == []


@pytest.mark.parametrize(
    ("apt", "unpack", "message"),
    [
        ("exit 0", "exit 0", "left no package"),
        ("exit 7", "exit 0", "apt-get failed: exit status 7"),
        (
            "echo x > a.deb",
            "echo 'dpkg-deb: error: not an archive' >&2; exit 2",
            "dpkg-deb failed: dpkg-deb: error: not an archive",
        ),
        ("echo x > a.deb", "exit 0", "there is no folder"),
        ("exec sleep 5", "exit 0", "apt-get was stopped after 0 seconds"),
        (None, "exit 0", "apt-get is not on this machine"),
        ("exit 0", None, "dpkg-deb is not on this machine"),
    ],
)
def test_how_debians_package_can_fail(
    good: Path, cache: Path, command: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch,
    apt: str | None, unpack: str | None, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(fetch, "APT_LIMIT", 0.3 if apt == "exec sleep 5" else 60.0)
    for name, body in (("apt-get", apt), ("dpkg-deb", unpack)):
        if body is not None:
            command(name, body)
    with pytest.raises(DataError, match=f"without installing it: .*{message}"):
        locate(NAME, report=lambda _: None)
    assert os.listdir(cache) == []


def test_a_command_that_cannot_be_run_is_a_reason(good: Path, tmp_path: Path, dpkg: None) -> None:
    script = tmp_path / "bin" / "apt-get"
    script.write_text("#!/no/such/shell\n")
    script.chmod(0o755)
    with pytest.raises(DataError, match="apt-get cannot be run: No such file or directory"):
        locate(NAME, report=lambda _: None)


def test_a_package_with_a_wrong_file_is_not_kept(
    good: Path, cache: Path, tmp_path: Path, command: Callable[[str, str], None]
) -> None:
    bad = shutil.copytree(good, tmp_path / "bad")
    (bad / LABELS).write_bytes(b"wrong")
    inside = str(tmp_path / "debian").lstrip("/")
    command("apt-get", "echo package > a.deb")
    command("dpkg-deb", f'mkdir -p "$3/{inside}" && cp "{bad}"/* "$3/{inside}"')
    with pytest.raises(DataError, match=f"the package holds a wrong file: .*{LABELS} is not a sound gzip"):
        locate(NAME, report=lambda _: None)
    assert os.listdir(cache) == []
