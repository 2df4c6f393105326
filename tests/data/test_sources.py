"""The order of the sources that need no network, the cache, and the messages where nothing answers."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from resnets.data.datasets import locate as locating
from resnets.data.datasets.locate import SOURCES, locate
from resnets.data.errors import DataError
from resnets.data.sources import request
from resnets.data.sources.files import FILES
from resnets.data.sources.request import cache_directory

NAME = "fashion-mnist"
LABELS = "train-labels-idx1-ubyte.gz"


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # in the checksum of the archive
    path.write_bytes(content)


def test_the_order() -> None:
    assert [source.title for source in SOURCES[NAME]] == [
        "a folder that you name", "the cache", "the folder of Debian's package",
        "the publisher's mirrors", "Debian's package, without installing it",
    ]  # fmt: skip
    assert [source.network for source in SOURCES[NAME]] == [False, False, False, True, True]


def test_folder_before_cache_before_debian(good: Path, cache: Path, tmp_path: Path, reports: list[str]) -> None:
    mine, debian = tmp_path / "mine", tmp_path / "debian"
    for folder in (mine, cache, debian):
        shutil.copytree(good, folder)
    assert locate(NAME, mine, report=reports.append) == mine
    assert locate(NAME, str(mine), report=reports.append) == mine
    assert locate(NAME, report=reports.append) == cache
    shutil.rmtree(cache)
    assert locate(NAME, report=reports.append) == debian
    assert reports == []
    assert not cache.exists()  # what Debian installed is used in place


@pytest.mark.parametrize("subfolder", [".", "raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_named_folder_may_be_laid_out_as_torchvision_does(good: Path, tmp_path: Path, subfolder: str, packed: bool) -> None:
    folder = tmp_path / "mine" / subfolder
    folder.mkdir(parents=True)
    for path in good.iterdir():
        if packed:
            shutil.copy(path, folder)
        else:
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    assert locate(NAME, tmp_path / "mine", offline=True).samefile(folder)


def test_a_read_only_folder_is_used_in_place(good: Path, cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in good.iterdir()}
    good.chmod(0o555)
    try:
        assert locate(NAME, good) == good
    finally:
        good.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in good.iterdir()} == before
    assert not cache.exists()


def test_a_wrong_file_in_a_named_folder_is_an_error_and_stays(good: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(good, cache)
    mine = shutil.copytree(good, tmp_path / "mine")
    damage(mine / LABELS)
    wrong = (mine / LABELS).read_bytes()
    with pytest.raises(DataError, match=f"mine/{LABELS} is not a sound gzip file"):
        locate(NAME, mine)
    assert (mine / LABELS).read_bytes() == wrong


def test_a_named_folder_without_the_files_is_passed_over_aloud(good: Path, cache: Path, tmp_path: Path, reports: list[str]) -> None:
    shutil.copytree(good, cache)
    mine = shutil.copytree(good, tmp_path / "mine")
    (mine / LABELS).unlink()
    assert locate(NAME, mine, report=reports.append) == cache
    assert reports == [f"{mine} lacks {LABELS}; looking for {NAME} elsewhere"]
    assert locate(NAME, tmp_path / "nowhere", report=reports.append) == cache
    assert reports[1:] == [f"there is no folder {tmp_path / 'nowhere'}; looking for {NAME} elsewhere"]


def test_a_wrong_file_in_the_cache_is_named_and_replaced(good: Path, cache: Path, tmp_path: Path, reports: list[str]) -> None:
    shutil.copytree(good, cache)
    shutil.copytree(good, tmp_path / "debian")
    damage(cache / LABELS)
    untouched = (cache / "train-images-idx3-ubyte.gz").stat().st_ino
    assert locate(NAME, report=reports.append) == tmp_path / "debian"
    assert len(reports) == 1
    assert str(cache / LABELS) in reports[0]
    assert "a good copy takes its place" in reports[0]
    assert (cache / LABELS).read_bytes() == (good / LABELS).read_bytes()
    assert (cache / "train-images-idx3-ubyte.gz").stat().st_ino == untouched
    assert locate(NAME, report=reports.append) == cache
    assert len(reports) == 1


def test_a_wrong_unpacked_file_in_the_cache_does_not_hide_its_good_copy(good: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(good, cache)
    shutil.copytree(good, tmp_path / "debian")
    (cache / LABELS).rename(cache / LABELS.removesuffix(".gz"))
    locate(NAME, report=lambda _: None)
    assert locate(NAME, offline=True) == cache


def test_a_cache_that_cannot_be_put_right_is_no_obstacle(
    good: Path, cache: Path, tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(good, cache)
    shutil.copytree(good, tmp_path / "debian")
    damage(cache / LABELS)

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", read_only)
    names = sorted(os.listdir(cache))
    assert locate(NAME, report=reports.append) == tmp_path / "debian"
    assert "cannot write to the cache" in reports[1]
    assert sorted(os.listdir(cache)) == names


def test_a_wrong_file_in_debians_folder_counts_as_no_answer(good: Path, tmp_path: Path) -> None:
    damage(shutil.copytree(good, tmp_path / "debian") / LABELS)
    with pytest.raises(DataError, match=f"folder of Debian's package: {tmp_path}/debian/{LABELS} is not a sound gzip"):
        locate(NAME, offline=True)


def test_a_folder_that_may_not_be_entered_counts_as_no_answer(good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(good, cache)
    is_dir = Path.is_dir

    def forbidden(path: Path) -> bool:
        if path.name == "debian":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", forbidden)
    assert locate(NAME, offline=True) == cache
    (cache / LABELS).unlink()
    with pytest.raises(DataError, match=r"folder of Debian's package: .*Permission denied"):
        locate(NAME, offline=True)


@pytest.mark.parametrize(("value", "argument"), [("1", None), ("yes", None), ("", True), ("0", True)])
def test_offline_forbids_the_network_and_says_what_to_do(
    good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, value: str, argument: bool | None
) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", value)
    with pytest.raises(DataError) as caught:
        locate(NAME, offline=argument)
    reason = f"RESNETS_OFFLINE={value}" if argument is None else "offline=True"
    lines = str(caught.value).splitlines()
    assert lines[0] == "the files of fashion-mnist were not found. Tried:"
    assert [line.split(":")[0] for line in lines[1:-1]] == [f"  - {source.title}" for source in SOURCES[NAME]]
    assert lines[4] == f"  - the publisher's mirrors: not asked, because {reason} forbids the network"
    assert lines[5].endswith(f": not asked, because {reason} forbids the network")
    assert lines[6].startswith(f"What to do: allow the network (it is forbidden by {reason})")
    assert all(file.archive_name in lines[6] for file in FILES[NAME])
    assert str(cache) in lines[6]
    assert not cache.exists()


@pytest.mark.parametrize(("value", "argument"), [("", None), ("0", None), ("false", None), ("1", False)])
def test_online_all_sources_are_asked(good: Path, monkeypatch: pytest.MonkeyPatch, value: str, argument: bool | None) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", value)
    with pytest.raises(DataError) as caught:
        locate(NAME, offline=argument, report=lambda _: None)
    assert "torchvision lists no mirror" in str(caught.value)
    assert "apt-get is not on this machine" in str(caught.value)
    assert "connect this machine to a network" in str(caught.value)


def test_a_cache_that_cannot_be_made_is_one_clear_error(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write to the cache .*: Not a directory; free space there or set RESNETS_DATA"):
        locate(NAME, report=lambda _: None)


def test_a_read_only_cache_is_one_clear_error(good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    with pytest.raises(DataError, match=f"cannot write to the cache {cache}: Read-only file system"):
        locate(NAME, report=lambda _: None)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "home/.cache/resnets/data"),
        ("linux", {"XDG_CACHE_HOME": "{root}/xdg"}, "xdg/resnets/data"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/resnets/data"),
        ("darwin", {"XDG_CACHE_HOME": "{root}/xdg"}, "home/Library/Caches/resnets/data"),
        ("win32", {"LOCALAPPDATA": "{root}/local"}, "local/resnets/data"),
        ("win32", {}, "home/AppData/Local/resnets/data"),
        ("linux", {"RESNETS_DATA": "{root}/own"}, "own"),
        ("win32", {"RESNETS_DATA": "~/own", "LOCALAPPDATA": "{root}/local"}, "home/own"),
    ],
)
def test_the_platforms_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("RESNETS_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(request.sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(root=tmp_path))
    assert cache_directory() == tmp_path / expected


def test_without_a_home_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RESNETS_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match="set RESNETS_DATA"):
        cache_directory()


def test_an_unknown_name_proposes_the_nearest() -> None:
    with pytest.raises(
        ValueError,
        match=r"no dataset 'fashion_mnist': did you mean 'fashion-mnist'\? The datasets are cifar10, cifar100, digits, fash",
    ):
        locate("fashion_mnist")
    with pytest.raises(ValueError, match=r"no dataset 'zzz': The datasets are"):
        locate("zzz")


def test_the_digits_lie_in_the_package(tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = locate("digits", offline=True, report=reports.append)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "digits.csv.gz"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 70_000
    assert reports == []
    assert locate("digits", tmp_path, report=reports.append) == folder
    assert reports == [f"digits comes with resnets, so {tmp_path} is not looked at"]
    monkeypatch.setattr(locating, "DIGITS_FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"No such file.*install resnets again"):
        locate("digits")
    (tmp_path / "digits.csv.gz").write_bytes(b"")
    with pytest.raises(DataError, match="not the file that resnets ships"):
        locate("digits")
