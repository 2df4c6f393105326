"""A run knows its data and its machine: what is another when it goes on is said by name, and other data is an error."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from resnets.classification.recipe import Recipe
from resnets.cli import main
from resnets.data.annotated.opening import open_annotated
from resnets.data.image_source import ImageFiles
from resnets.data.loaders.inventories import inventory_of
from resnets.data.sources import inventory
from resnets.data.sources.inventory import Inventory, Listed, compare, read_inventory, take_inventory, write_inventory
from resnets.tasks import resume, train
from resnets.training import origin
from resnets.training.run import RunDirectory

sys.path.append(str(Path(__file__).parent.parent / "data"))

from broken_images import digits_folder


class Killed(Exception):
    """Stands for a SIGKILL."""


def stopped(recipe: Recipe, step: int) -> None:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] in ("step", "progress") and event["step"] == step:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, [listen])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, `digits`, and a run on it that was killed, `run`. Tests use copies that are at its place."""
    root = tmp_path_factory.mktemp("begun")
    for number, path in enumerate(sorted(digits_folder(root / "all").rglob("*.jpg"))):
        folder = root / "digits" / ("val" if number % 4 == 0 else "train") / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    stopped(
        Recipe(
            data=str(root / "digits"), network="cifar-resnet8", image_size=16, epochs=1, batch_size=16, precision="fp32",
            report=False, device="cpu", output=root / "run", checkpoint_steps=2, log_every=1, loading="memory", workers=0,
        ),
        3,
    )  # fmt: skip
    return root


@pytest.fixture
def place(begun: Path, tmp_path: Path) -> Path:
    """A copy of them, at another place and with other times, as on another machine."""
    for name in ("digits", "run"):
        shutil.copytree(begun / name, tmp_path / name, copy_function=shutil.copyfile)
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(begun), str(tmp_path)))
    return tmp_path


def make_images(place: Path) -> list[Path]:
    return sorted((place / "digits").rglob("*.jpg"))


def add(place: Path) -> None:
    shutil.copy(make_images(place)[0], make_images(place)[0].with_name("new.jpg"))


def remove(place: Path) -> None:
    make_images(place)[5].unlink()


def exchange(place: Path) -> None:
    """One of the same size, whose content alone is another."""
    content = bytearray(make_images(place)[7].read_bytes())
    content[-20] ^= 1
    make_images(place)[7].write_bytes(content)


def test_a_copy_at_another_place_is_the_same_data(place: Path) -> None:
    said: list[str] = []
    resume(place / "run", [lambda event: said.append(event.get("message", ""))])
    assert any("has the same content" in words for words in said)


@pytest.mark.parametrize(("change", "words"), [(add, "1 added ("), (remove, "1 removed ("), (exchange, "1 changed (")])
def test_other_data_is_an_error_that_names_it(place: Path, change: Callable[[Path], None], words: str) -> None:
    name = {add: "new.jpg", remove: make_images(place)[5].name, exchange: make_images(place)[7].name}[change]
    change(place)
    with pytest.raises(ValueError, match="is not what it was") as caught:
        resume(place / "run")
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert f"resnets train --resume {place / 'run'} --changed-data" in str(caught.value)


def test_changed_data_is_taken_where_it_is_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exchange(place)
    run = str(place / "run")
    assert main(["train", "--resume", run]) == 2
    assert "1 changed" in capsys.readouterr().err
    assert main(["train", "--resume", run, "--changed-data"]) == 0
    assert "going on with it, as asked for" in " ".join(capsys.readouterr().err.split())
    assert main(["train", "--resume", run]) == 0, "the run knows the data that it went on with"


def test_a_run_of_before_that_knows_nothing_of_its_data_goes_on(place: Path) -> None:
    for name in ("data.json.gz", "environment.json"):
        (place / "run" / name).unlink()
    resume(place / "run")
    assert read_inventory(place / "run" / "data.json.gz")


def test_arrays_are_known_by_their_content(small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_recipe.updated(max_steps=6, epochs=1, checkpoint_steps=2, report=False, output=tmp_path / "run")
    stopped(recipe, 3)
    from resnets.classification import feed

    real = feed.load

    def one_pixel(*arguments: Any, **options: Any) -> Any:
        images = real(*arguments, **options)
        if arguments[1] == "train":
            images.images[0, 0, 0, 0] += 1
        return images

    monkeypatch.setattr(feed, "load", one_pixel)
    with pytest.raises(ValueError, match=r"1 changed \(train/array 0\)"):
        resume(tmp_path / "run")


def test_what_is_annotated_belongs_to_the_data(shape_scenes: Path, tmp_path: Path) -> None:
    scenes = shutil.copytree(shape_scenes, tmp_path / "scenes")

    def look() -> inventory.Inventory:
        return inventory_of({"train": open_annotated(str(scenes), "train", None, lambda words: None)})

    before = look()
    path = scenes / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(content))
    assert str(compare(before, look())).startswith("1 changed (train/")


def test_the_masks_of_voc_belong_to_the_data(tmp_path: Path) -> None:
    from resnets.data.annotations.voc import VocImages

    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / folder).mkdir()
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(b"a")
    mask = tmp_path / "SegmentationClass" / "a.png"
    mask.write_bytes(b"mask")
    voc = VocImages.__new__(VocImages)
    for name, value in (("root", tmp_path), ("paths", ("JPEGImages/a.jpg",))):
        object.__setattr__(voc, name, value)
    assert list(voc.more_files()) == [mask]


def test_another_class_of_the_same_file_is_a_change(tmp_path: Path) -> None:
    """As where a CSV was edited."""
    (tmp_path / "a.png").write_bytes(b"a")

    def look(label: int) -> inventory.Inventory:
        return inventory_of({"train": ImageFiles("x", "train", tmp_path, ("a.png",), np.array([label]), ("cat", "dog"))})

    assert not compare(look(0), look(0))
    assert compare(look(0), look(1)).changed == ("train/a.png",)


def test_shards_are_files(tmp_path: Path) -> None:
    from resnets.data.datasets.shards import Shards

    (tmp_path / "a.tar").write_bytes(b"abc")
    shards = Shards("x", "train", None, "image", "label", None, files=(str(tmp_path / "a.tar"),))
    before = inventory_of({"train": shards})
    (tmp_path / "a.tar").write_bytes(b"abcd")
    assert compare(before, inventory_of({"train": shards})).changed == ("train/a.tar",)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Listed]:
    """Files of a set that is too large for the content of all to be read."""
    monkeypatch.setattr(inventory, "READ_WHOLE", 100)
    monkeypatch.setattr(inventory, "_SAMPLE", 10)
    listed = []
    for number in range(40):
        (path := tmp_path / f"{number:02d}").write_bytes(b"0123456789")
        os.utime(path, (1_000, 1_000))
        listed.append(Listed(path.name, path))
    return listed


def test_of_a_large_set_some_contents_vouch_for_a_copy(large: list[Listed]) -> None:
    then = take_inventory(large)
    assert sum(bool(item.digest) for item in then.values()) == 10
    for entry in large:
        os.utime(entry.path, (500, 500))  # a clock that was set back
    difference = compare(then, take_inventory(large, then))
    assert (bool(difference), difference.touched) == (False, 40)
    large[4].path.write_bytes(b"9876543210")
    os.utime(large[4].path, (500, 500))
    changed = compare(then, take_inventory(large, then)).changed
    assert "04" in changed, "its content is known to be another"


def test_of_a_large_set_a_single_file_of_another_time_counts_as_changed(large: list[Listed]) -> None:
    then = take_inventory(large)
    os.utime(large[5].path, (2_000, 2_000))
    assert compare(then, take_inventory(large, then)).changed == ("05",)


def test_an_inventory_is_read_as_it_was_written_and_a_damaged_one_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    found = take_inventory([Listed("a", tmp_path / "a", "cat"), Listed("b", tmp_path / "missing")])
    write_inventory(tmp_path / "data.json.gz", found)
    assert read_inventory(tmp_path / "data.json.gz") == found
    (tmp_path / "data.json.gz").write_bytes((tmp_path / "data.json.gz").read_bytes()[:-9])
    assert read_inventory(tmp_path / "data.json.gz") is None


def test_another_machine_is_said_and_is_no_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = RunDirectory(place / "run").environment
    known = json.loads(path.read_text())
    assert {"threads", "processor", "torch", "instruction_sets", "processes"} <= known.keys()
    path.write_text(json.dumps({**known, "threads": 2, "torch": "2.0.0"}))
    said: list[str] = []
    resume(place / "run", [lambda event: said.append(event.get("message", ""))])
    now = torch.get_num_threads()
    assert f"bits may differ: 2 threads then, {now} now; torch 2.0.0 then, {known['torch']} now" in said
    assert json.loads(path.read_text())["threads"] == now
    said.clear()
    monkeypatch.setattr(origin, "instruction_sets", lambda: frozenset({"avx2"}))
    resume(place / "run", [lambda event: said.append(event.get("message", ""))])
    assert any(words.startswith("bits may differ: instruction sets") and "avx2 now" in words for words in said)


def test_a_proof_says_so_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = RunDirectory(place / "run").environment
    before = json.dumps({**json.loads(path.read_text()), "processes": 2})
    path.write_text(before)
    assert main(["train", "--resume", str(place / "run"), "--prove", "1"]) == 0
    assert "bits may differ: 2 processes then, 1 now" in capsys.readouterr().err
    assert path.read_text() == before, "a proof leaves the run as it is"


def test_a_data_set_on_the_hub_is_known_by_the_commit_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    from resnets.data.datasets.shards import find_shards

    monkeypatch.delenv("RESNETS_OFFLINE", raising=False)
    monkeypatch.setattr("resnets.data.datasets.shards.offline_reason", lambda _: None)
    asked: list[str] = []

    def at(commit: str) -> Inventory:
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, name: SimpleNamespace(sha=commit))

        def load(name: str, configuration: str | None, *, streaming: bool, revision: str) -> dict[str, Any]:
            asked.append(revision)
            image = datasets.Image(decode=False)
            features = datasets.Features({"image": image, "label": datasets.ClassLabel(names=["a", "b"])})
            stream = datasets.IterableDataset.from_generator(lambda: iter(()), features=features)
            return {"train": stream, "test": stream}

        monkeypatch.setattr(datasets, "load_dataset", load)
        return inventory_of(dict(find_shards("hf:owner/name")))

    then, same, now = at("a" * 40), at("a" * 40), at("b" * 40)
    assert asked == ["a" * 40, "a" * 40, "b" * 40]
    assert not compare(then, same)
    assert compare(then, now).changed == ("train/name", "test/name")
