"""Predictions as Parquet files: the same rows as one image at a time gives, however the images are and however often the work is killed."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import resnets
from resnets.cli import main
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.deployment.prediction import large_sets
from resnets.deployment.prediction import output_parts as parts
from resnets.deployment.prediction.image_sets import Images, open_images
from resnets.deployment.prediction.predict import read_image
from resnets.weights.model_file import ModelDescription, load_model, save_model

sys.path.append(str(Path(__file__).parents[1]))

from kill_moments import moments

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra datasets is not installed")
import pyarrow as pa  # noqa: E402

COUNT = 22
BAD = 13
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with three classes, as it was initialised."""
    return make_model(tmp_path_factory.mktemp("models") / "small.safetensors", seed=0)


def make_model(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    network = resnets.create_model("cifar-resnet8:blocks=(1,1)", num_classes=3).eval()
    seen = Preprocessing(size=8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    save_model(network, path, ModelDescription(network.spec, ("owl", "élan", "yak"), seen, {}, {"network": "tiny"}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of noise, one of which is none. Tests read it and leave it as it is."""
    made = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(random.integers(0, 255, (12, 10, 3), dtype=np.uint8)).save(made / f"{number:02d}.png")
    (made / f"{BAD}.png").write_text("no image")
    return made


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`resnets predict` in this process, with parts of 8 rows in batches of 4: (exit status, standard output, standard error)."""
    monkeypatch.setattr(large_sets, "PART_ROWS", 8)

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main(["predict", *(str(argument) for argument in arguments), "--batch-size", "4"])
        return status, *capfd.readouterr()

    return call


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


def killed_in_the_second_part(*arguments: object) -> None:
    """Runs the command in another process, which SIGKILL ends while it writes its second part."""
    child = os.fork()
    if child == 0:
        write = parts.write_rows

        def write_or_die(path: Path, table: Any) -> None:
            if path.name != "part-000000.parquet":
                path.with_name(f".{path.name}.half.part").write_bytes(b"PAR1")
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, table)

        try:
            parts.write_rows = write_or_die
            main(["predict", *(str(argument) for argument in arguments), "--batch-size", "4"])
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_rows_are_what_json_says(command: Command, model: Path, folder: Path, tmp_path: Path) -> None:
    status, lines, _ = command(model, folder, "--top", 2, "--json")
    expected = [json.loads(line) for line in lines.splitlines()]
    output = tmp_path / "out.parquet"
    options = ("--output", output, "--top", 2, "--probabilities", "--workers", 2)
    assert status == 1
    status, said, errors = command(model, folder, *options, "--json")
    assert status == 1
    told = json.loads(said)
    assert (told["path"], told["images"], told["unreadable"], told["resumed_at"]) == (str(output), COUNT, 1, 0)
    assert f"skipped {folder / f'{BAD}.png'}: not an image, whatever its name says\n1 of 22 images could not be read\n" in errors
    found = rows(output)
    assert len(found) == len(expected) == COUNT
    for row, line in zip(found, expected, strict=True):
        shares = row.pop("probabilities")
        if "error" in line:
            assert row == {**line, "label": None, "probability": None, "top": None}
            assert shares is None
        else:
            assert row == {**line, "error": None}
            assert len(shares) == 3
            assert sum(shares) == pytest.approx(1, abs=1e-6)
            assert max(shares) == row["probability"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    about = json.loads(parquet.read_schema(output).metadata[b"resnets"])
    assert (about["classes"], about["network"], about["precision"]) == (["owl", "élan", "yak"], "tiny", "fp32")
    assert about["preprocessing"]["size"] == 8
    assert len(about["model"]["sha256"]) == 64


def test_features_are_the_pooled_maps(command: Command, model: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    assert command(model, folder, "--output", output, "--features", "conv2_x")[0] == 1
    column = parquet.read_table(output)["features"]
    assert column.type == pa.list_(pa.float32(), 16)
    network = load_model(model)
    for number, found in enumerate(column.to_pylist()):
        if number == BAD:
            assert found is None
            continue
        with torch.inference_mode():
            maps = network.features(read_image(folder / f"{number:02d}.png", network.preprocessing))
        assert found == pytest.approx(maps["conv2_x"][0].mean((1, 2)).tolist(), rel=1e-5, abs=1e-6)


def test_a_killed_prediction_goes_on(
    command: Command, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    command(model, folder, "--output", whole, "--probabilities")
    killed_in_the_second_part(model, folder, "--output", output, "--probabilities")
    left = tmp_path / "out.parquet.parts"
    assert not output.exists()
    assert {path.name for path in left.glob("*.parquet")} == {"part-000000.parquet"}
    assert len(list(left.glob(".*.part"))) == 1
    read, really = [], Images.read
    monkeypatch.setattr(Images, "read", lambda self, index: read.append(index) or really(self, index))
    status, _, errors = command(model, folder, "--output", output, "--probabilities")
    assert status == 1
    assert "8 of 22 images were done before" in errors
    assert read == list(range(8, COUNT))
    assert output.read_bytes() == whole.read_bytes()
    assert not left.exists()


def test_a_prediction_killed_at_any_moment_ends_with_the_same_bytes(
    command: Command, model: Path, folder: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.parquet", tmp_path / "out" / "out.parquet"
    assert command(model, folder, "--output", whole)[0] == 1

    def work() -> None:
        main(["predict", str(model), str(folder), "--output", str(output), "--batch-size", "4"])

    def prepare() -> None:
        shutil.rmtree(output.parent, ignore_errors=True)
        output.parent.mkdir()

    def check(moment: int) -> None:
        assert command(model, folder, "--output", output)[0] == 1
        assert output.read_bytes() == whole.read_bytes(), f"at moment {moment}"
        assert [path.name for path in output.parent.iterdir()] == ["out.parquet"]

    assert moments(work, prepare, check) >= 10


def test_work_of_another_kind_is_refused(command: Command, model: Path, folder: Path, tmp_path: Path) -> None:
    output, others = tmp_path / "out.parquet", tmp_path / "others"
    killed_in_the_second_part(model, folder, "--output", output)
    shutil.copytree(folder, others)
    other = make_model(tmp_path / "other.safetensors", seed=1)
    work = tmp_path / "out.parquet.parts" / "work.json"
    for arguments, words in (
        ((other, folder), "holds the beginning of another prediction, with another model; --restart"),
        ((model, others), "with other images; --restart"),
        ((model, folder, "--top", 2), "with top 1 and not 2; --restart"),
        ((model, folder, "--features", "conv1"), "with features None and not conv1; --restart"),
    ):
        status, _, errors = command(*arguments, "--output", output)
        assert (status, words in errors) == (2, True), errors
    with (tmp_path / ".out.parquet.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _, errors = command(model, folder, "--output", output)
    assert (status, "is in use by another process" in errors) == (1, True)
    work.write_text("{}")
    status, _, errors = command(model, folder, "--output", output)
    assert (status, "work.json is damaged" in errors) == (2, True)
    assert command(other, folder, "--output", output, "--restart")[0] == 1
    made = output.read_bytes()
    status, _, errors = command(other, folder, "--output", output)
    assert (status, "is there already, made with this model from these images" in errors) == (1, True)
    status, _, errors = command(model, folder, "--output", output)
    assert (status, "is there already; --restart replaces it" in errors, "it has another model" in errors) == (2, True, True)
    assert output.read_bytes() == made
    (tmp_path / "text.parquet").write_text("mine")
    status, _, errors = command(model, folder, "--output", tmp_path / "text.parquet")
    assert (status, "is there already" in errors, (tmp_path / "text.parquet").read_text()) == (2, True, "mine")


def test_wrong_options_get_one_sentence(command: Command, model: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    for arguments, words in (
        (("--features", "conv2_x"), "--features goes with --output FILE.parquet"),
        (("--engine", "ray"), "--engine ray goes with --output FILE.parquet"),
        (("--output", tmp_path / "out.csv"), "name a file that ends in .parquet"),
        (("--output", output, "--features", "conv9_x"), "has no stage 'conv9_x'; choose from conv1, conv2_x, conv3_x"),
        (("--output", output, "--features", "conv1", "--engine", "openvino"), "the engine openvino gives logits alone"),
    ):
        status, said, errors = command(model, folder, *arguments)
        assert (status, said, words in errors) == (2, "", True), errors
    assert list(tmp_path.iterdir()) == []


def add(bundle: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    bundle.addfile(info, io.BytesIO(content))


def test_shards_give_what_their_files_give(command: Command, model: Path, folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.iterdir())
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "a.tar", "w") as bundle:
        for path in files[:9]:
            add(bundle, f"in/{path.name}", path.read_bytes())
            add(bundle, f"in/{path.stem}.mask.png", b"another image of the same sample")
            add(bundle, f"in/{path.stem}.cls", b"1")
    images = [{"bytes": path.read_bytes(), "path": None} for path in files[9:]]
    table = pa.table({"label": list(range(len(images))), "image": images, "thumbnail": [b"x"] * len(images)})
    parquet.write_table(table, shards / "b.parquet", row_group_size=5)
    _, lines, _ = command(model, folder, "--json")
    expected = [{**json.loads(line), "path": None} for line in lines.splitlines()]
    names = [f"{shards}/a.tar:in/{path.name}" for path in files[:9]] + [f"{shards}/b.parquet:{row}" for row in range(len(images))]
    for paths in ((shards,), (shards / "a.tar", shards / "*.parquet")):
        _, lines, _ = command(model, *paths, "--json")
        found = [json.loads(line) for line in lines.splitlines()]
        assert [line["path"] for line in found] == names
        assert [{**line, "path": None} for line in found] == expected
    command(model, shards, "--output", tmp_path / "out.parquet", "--workers", 2)
    assert [row["path"] for row in rows(tmp_path / "out.parquet")] == names
    assert [row["probability"] for row in rows(tmp_path / "out.parquet")] == [line.get("probability") for line in expected]
    opened = open_images([shards])
    for index in (20, 3, 12, 9, 21, 11):  # forward and back
        assert opened.read(index) == files[index].read_bytes()
    middle = opened.part(7, 16)
    assert [middle.read(index) for index in range(9)] == [path.read_bytes() for path in files[7:16]]
    assert [middle.name_of(index) for index in range(9)] == names[7:16]
    before = opened.digest()
    os.utime(shards / "b.parquet", (1, 1))
    assert open_images([shards]).digest() != before


def test_shards_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no tar file at all")
    (tmp_path / "text.parquet").write_text("no Parquet file at all")
    with tarfile.open(tmp_path / "empty.tar", "w") as bundle:
        add(bundle, "notes.txt", b"nothing to see")
    parquet.write_table(pa.table({"words": ["a"]}), tmp_path / "words.parquet")
    for name, words in (
        ("text.tar", "is no tar file that can be read without unpacking"),
        ("text.parquet", "is no Parquet file, or it is damaged"),
        ("empty.tar", "holds no images"),
        ("words.parquet", "has no column of images; it has words"),
        ("absent.tar", "there is no file or folder"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            open_images([tmp_path / name])
        assert name in str(caught.value)


ON_TWO_WORKERS = """
import sys
import ray
from resnets.cli import main
from resnets.deployment.prediction import large_sets
from resnets.deployment.prediction.scores import Scorer

def here(self, pixels):
    raise AssertionError("the network ran here")

Scorer.__call__ = here  # the workers import it anew
large_sets.PART_ROWS = 8
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
sys.exit(main(sys.argv[1:]))
"""


def test_two_workers_of_a_ray_cluster_give_the_same_file(
    command: Command, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(folder.parent)  # what is relative here is so for the workers
    whole, output, columns = tmp_path / "whole.parquet", tmp_path / "out.parquet", ("--features", "conv3_x", "--top", "2")
    command(model, folder.name, "--output", whole, *columns)
    killed_in_the_second_part(model, folder.name, "--output", output, *columns)
    # In a process of its own, which Ray's threads and handlers do not outlive.
    words = ["predict", str(model), folder.name, "--output", str(output), *columns, "--engine", "ray", "--batch-size", "4"]
    done = subprocess.run([sys.executable, "-c", ON_TWO_WORKERS, *words], capture_output=True, text=True, timeout=300, check=False)
    status, errors = done.returncode, done.stderr
    assert status == 1, errors
    assert "8 of 22 images were done before" in errors
    assert "2 workers of a Ray cluster with 2 cores and 0 GPUs" in errors
    assert output.read_bytes() == whole.read_bytes()
    assert [row["path"] for row in rows(output)] == [f"{folder.name}/{number:02d}.png" for number in range(COUNT)]


KILLS_A_WORKER = """
import os, signal, psutil
from resnets.deployment.prediction import output_parts
really, killed = output_parts.write_rows, []

def write_rows(path, table):
    really(path, table)
    workers = []
    for process in psutil.Process().children(recursive=True):
        try:
            workers += [process] if "_Worker" in " ".join(process.cmdline()) else []
        except psutil.Error:  # it has ended, or is not waited for yet
            continue
    if workers and not killed:
        killed.append(workers[0].pid)
        os.kill(workers[0].pid, signal.SIGKILL)
        print("killed a worker", flush=True)

output_parts.write_rows = write_rows
"""


def test_a_worker_of_ray_that_is_killed_costs_no_row(
    command: Command, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray makes another one, or the command ends with an error and goes on when it is repeated."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    pytest.importorskip("psutil", reason="finds the workers")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(folder.parent)
    whole, output = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    command(model, folder.name, "--output", whole)
    words = ["predict", str(model), folder.name, "--output", str(output), "--engine", "ray", "--batch-size", "4"]
    program = KILLS_A_WORKER + ON_TWO_WORKERS
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=300, check=False)
    assert "killed a worker" in done.stdout, done.stderr
    if not output.exists():
        assert "a worker of the Ray cluster failed" in done.stderr
        command(model, folder.name, "--output", output)
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))
