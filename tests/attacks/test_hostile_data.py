"""What a stranger's data set may hold besides images: devices, pipes, links and paths that lead out, other formats, bombs, escapes."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from resnets.core.reading import Refused, check_inside, read_file
from resnets.core.text import harmless, to_json
from resnets.core.yaml_file import parse_yaml
from resnets.data.decoding.decode import EncodedImage
from resnets.data.decoding.formats import FORMATS
from resnets.data.errors import Unreadable

SOURCES = Path(__file__).resolve().parents[2] / "src" / "resnets"


def make_image(path: Path, level: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(path)
    return path


@pytest.fixture(autouse=True)
def _elsewhere(in_folder: Path) -> None:
    """Commands leave what they write in a folder of the test's own."""


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Forty images of two classes: one bad file among them is less than is allowed."""
    for label in ("cat", "dog"):
        for number in range(20):
            make_image(tmp_path / "pets" / label / f"{number}.png", 10 * number)
    return tmp_path / "pets"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which an endless file would keep for ever."""
    command = [sys.executable, "-m", "resnets", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, errors="surrogateescape")


def special(path: Path, kind: str) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
def test_only_regular_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=r"is a (named pipe|folder|device)"):
        read_file(special(tmp_path / "x.png", kind))


def test_a_file_larger_than_its_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(Refused, match="larger than 512 MiB"):
        read_file(tmp_path / "sparse.png")
    (tmp_path / "small").write_bytes(bytes(1500))
    with pytest.raises(Refused, match="larger"):
        read_file(tmp_path / "small", limit=1000)
    monkeypatch.setenv("RESNETS_LIMITS", "2")
    assert len(read_file(tmp_path / "small", limit=1000)) == 1500


def test_paths_and_links_that_lead_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    folder = tmp_path / "set"
    for name in ("in.png", "../set-of-another/x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"inside")
    (folder / "link.png").symlink_to(secret)
    (folder / "sub").symlink_to(tmp_path)
    (folder / "same.png").symlink_to("in.png")
    for name in ("../secret.png", "link.png", "sub/secret.png", str(secret), "../set-of-another/x.png", "sub/../set/in.png"):
        with pytest.raises(Refused, match=r"outside of .*--allow-outside"):
            check_inside(folder / name, folder)
    assert read_file(folder / "in.png", inside=folder) == read_file(folder / "same.png", inside=folder) == b"inside"
    linked = tmp_path / "link-to-set"
    linked.symlink_to(folder)
    assert read_file(linked / "in.png", inside=linked) == b"inside"  # the named folder itself may be a link
    check_inside("/etc/hostname", "/")
    monkeypatch.setenv("RESNETS_ALLOW_OUTSIDE", "1")
    assert read_file(folder / "link.png", inside=folder) == b"secret"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_in_a_class_folder_hangs_neither_check_nor_training(pets: Path, tmp_path: Path, kind: str) -> None:
    special(pets / "cat" / "endless.png", kind)
    checked = run("data", "check", pets, "--json", "--no-page", "--workers", 0)
    assert checked.returncode == 0, checked.stderr
    assert "endless.png" in checked.stdout
    options = ["--network", "cifar-resnet8:width=4,stem_width=4", "--max-steps", 1, "--no-report", "--output", tmp_path / "run"]
    trained = run("train", pets, *options)
    assert trained.returncode == 0, trained.stderr
    assert "endless.png" in trained.stderr


def test_a_list_that_names_a_device_or_files_elsewhere(pets: Path, tmp_path: Path) -> None:
    rows = [f"pets/{label}/{number}.png,{label}" for label in ("cat", "dog") for number in range(20)]
    outside = ("/dev/zero", "../../../../../../etc/hostname", "/etc/hostname")
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows, *(f"{bad},cat" for bad in outside)]) + "\n")
    done = run("data", "check", tmp_path / "list.csv", "--json", "--no-page", "--workers", 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("outside") >= 1
    assert all(bad in done.stdout for bad in outside)
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    done = run("data", "check", tmp_path / "endless.csv")
    assert done.returncode == 2  # not even looked into


def test_a_parquet_file_reads_no_image_of_the_machine(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from resnets.deployment.prediction.image_shards import open_shard

    make_image(tmp_path / "secret.png")
    make_image(tmp_path / "shards" / "own.png")
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    names = [str(tmp_path / "secret.png"), "../secret.png", "own.png"]
    table = arrow.table({"image": arrow.array([{"bytes": None, "path": name} for name in names], kind)})
    parquet.write_table(table, tmp_path / "shards" / "set.parquet")
    shard = open_shard(str(tmp_path / "shards" / "set.parquet"))
    for number in (0, 1):
        with pytest.raises(Refused, match="outside"):
            shard.read(number)
    assert shard.read(2).startswith(b"\x89PNG")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/x) deletefile\nshowpage\n%%EOF\n"


def test_postscript_by_another_name_never_reaches_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "ran"
    fake = tmp_path / "bin" / "gs"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    naive = PIL.Image.open(io.BytesIO(POSTSCRIPT))
    with pytest.raises(subprocess.CalledProcessError):
        naive.load()
    assert marker.exists()  # the attack is real
    marker.unlink()
    with pytest.raises(Unreadable, match="no image in a known format"):
        EncodedImage(POSTSCRIPT, 3).pixels()
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "x.png").write_bytes(POSTSCRIPT)
    make_image(tmp_path / "set" / "a" / "y.png")
    make_image(tmp_path / "set" / "b" / "z.png")
    assert "x.png" in run("data", "check", tmp_path / "set", "--json", "--no-page", "--workers", 0).stdout
    assert not marker.exists()


def test_pillow_opens_files_in_one_place_and_in_formats_that_run_nothing() -> None:
    calls = [
        f"{path.relative_to(SOURCES)}"
        for path in SOURCES.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\bImage\.open\(", line)
    ]
    assert calls == ["data/decoding/formats.py"]
    assert not {"EPS", "WMF", "PDF", "FITS", "HDF5", "BUFR", "GRIB", "MIC", "FPX", "IM"} & set(FORMATS)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    """A PNG of 60,000 x 60,000 pixels in less than a kilobyte."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    side = (60_000).to_bytes(4, "big")
    parts = ((b"IHDR", side + side + bytes([8, 0, 0, 0, 0])), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b""))
    with pytest.raises(Unreadable, match="pixels"):
        EncodedImage(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts), 1)


def billions() -> str:
    """Nine levels of nine aliases: nine to the ninth values for whoever walks them."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]" for before, after in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join([*lines, *(f"j{number}: *i" for number in range(40))])


@pytest.mark.parametrize(
    "text",
    [billions(), "[" * 1000 + "]" * 1000, "a: 1\na: 2", "a: !!python/object/apply:os.system [x]", "\x00", "&a [*a]"],
    ids=["aliases", "levels", "twice", "code", "control", "itself"],
)
def test_yaml_is_data_of_a_bounded_size(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        print(parse_yaml(text))
    (tmp_path / "recipe.yaml").write_text(text)
    done = run("train", "--recipe", tmp_path / "recipe.yaml")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_escape_sequences_never_reach_a_terminal(pets: Path) -> None:
    """A name that sets the window's title, and one that no encoding has."""
    title = "\x1b]0;owned\x07\x1b[2J[red]"
    make_image(pets / f"{title}class" / "0.png")
    os.makedirs(os.fsencode(pets) + b"/\xff\xfe")
    (pets / "cat" / f"{title}.png").write_bytes(b"no image")
    done = run("data", "check", pets, "--no-page", "--workers", 0)
    assert done.returncode in (0, 1), done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert r"\x1b]0;owned" in done.stdout + done.stderr
    assert "[red]" in done.stdout + done.stderr
    assert "\x1b" not in run("train", f"{title}/no-such").stderr
    assert "\x1b" not in run("predict", "digits", pets / "cat" / f"{title}.png").stderr


def test_text_and_numbers_as_every_reader_takes_them() -> None:
    assert harmless("a\x1b[2Jb\x9d\u202ec\tcafé\n") == "a\\x1b[2Jb\\x9d\\u202ec\tcafé\n"
    assert to_json({"a": float("nan"), "b": [float("inf"), 1.5]}) == '{"a": null, "b": [null, 1.5]}'
    text = to_json("\x9b\u202e\udcff", ensure_ascii=False)
    assert text.isascii()
    assert json.loads(text) == "\x9b\u202e\udcff"
