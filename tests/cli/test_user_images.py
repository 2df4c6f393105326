"""The command on a user's own images: one folder, no option needed; a model measured on folders by the names of its classes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from resnets.classification.recipe import read_recipe

sys.path.append(str(Path(__file__).parent.parent / "data"))

from broken_images import break_folder, digits_folder

Call = Callable[..., tuple[int, str, str]]


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `mine`, 120 images of digits and some broken ones, and the run that the command made of it."""
    from resnets.cli import main

    place = tmp_path_factory.mktemp("place")
    break_folder(digits_folder(place / "mine") / "4")
    assert main(["train", str(place / "mine"), "--epochs", "12", "--output", str(place / "run"), "--no-report"]) == 0
    return place


def test_what_was_chosen_is_printed_and_can_be_overridden(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    digits_folder(tmp_path / "mine", per_class=6)
    status, output, errors = call("train", "mine", "--epochs", 1, "--optimizer.learning-rate", 0.02, "--json", "--no-report")
    assert status == 0
    done = objects(output)[-1]
    assert (done["event"], done["directory"], done["num_images"]) == ("done", "runs/mine-1", 12)
    assert "--image-size 32 " in errors
    assert "--epochs 1  " in errors
    assert "you chose it, in place of " in errors
    assert "--augmentation.horizontal-flip off" in errors
    recipe = read_recipe(tmp_path / "runs" / "mine-1" / "recipe.yaml")
    assert (recipe.epochs, recipe.optimizer.learning_rate, recipe.holdout) == (1, 0.02, 0.2)
    assert recipe.data == str(tmp_path / "mine")


def test_it_learns(trained: Path) -> None:
    last = objects((trained / "run" / "metrics.jsonl").read_text())[-1]
    assert last["top1"] > 0.5  # of ten classes
    assert last["left_out"]["unreadable"] >= 5


def test_a_run_is_measured_on_what_it_held_out(call: Call, trained: Path) -> None:
    last = objects((trained / "run" / "metrics.jsonl").read_text())[-1]
    status, output, _ = call("evaluate", trained / "run", "--json")
    evaluated = objects(output)[0]
    assert status == 0
    assert (evaluated["top1"], evaluated["num_images"]) == (last["top1"], 24)
    _, output, _ = call("evaluate", trained / "run", "--split", "train", "--json")
    assert objects(output)[0]["num_images"] == 96


def test_classes_go_by_name(call: Call, trained: Path, tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "other", per_class=5, split="test")
    status, output, _ = call("evaluate", trained / "run", "--data", folder, "--json")
    whole = objects(output)[0]
    assert (status, whole["num_images"]) == (0, 50)
    rights = {row["label"]: round(row["accuracy"] * 5) for row in whole["per_class"]}
    shutil.rmtree(folder / "0")
    shutil.rmtree(folder / "4")
    status, output, _ = call("evaluate", trained / "run", "--data", folder, "--json")
    fewer = objects(output)[0]
    assert {row["label"]: round((row["accuracy"] or 0) * 5) for row in fewer["per_class"]} == {**rights, "0": 0, "4": 0}
    table = tmp_path / "table.csv"
    rows = sorted((p.relative_to(tmp_path).as_posix(), p.parent.name) for p in folder.rglob("*.jpg"))
    table.write_text("label,path\n" + "\n".join(f"{label},{path}" for path, label in reversed(rows)))
    status, output, _ = call("evaluate", trained / "run", "--data", table, "--json")
    assert objects(output)[0]["top1"] == fewer["top1"]
    (folder / "5").rename(folder / "five")
    status, _, errors = call("evaluate", trained / "run", "--data", folder)
    assert status == 2
    assert "the model does not know the class five" in errors


def test_broken_images_are_counted_in_evaluation(call: Call, trained: Path, tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "other", per_class=1, split="test")
    broken = break_folder(folder / "1")
    status, output, _ = call("evaluate", trained / "run", "--data", folder, "--json")
    assert status == 0
    assert (objects(output)[0]["num_images"], objects(output)[0]["unreadable"]) == (10, len(broken))
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{path.relative_to(folder)}\n" for path in (folder / "2").iterdir()))
    status, output, _ = call("evaluate", trained / "run", "--data", folder, "--exclude", listing, "--json")
    assert objects(output)[0]["num_images"] == 9


def test_predict_with_such_a_model(call: Call, trained: Path) -> None:
    path = next((trained / "mine" / "7").iterdir())
    status, output, _ = call("predict", trained / "run", path, "--json")
    assert status == 0
    assert objects(output)[0]["label"] in set("0123456789")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "holds no images in folders of classes"),
        (lambda folder: (folder / "train").mkdir(), "holds no images in folders of classes"),
        (lambda folder: PIL.Image.new("L", (9, 9)).save(folder / "a.png"), "holds no images in folders of classes"),
    ],
)
def test_wrong_folders_get_one_sentence(call: Call, tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    make(folder)
    status, output, errors = call("train", folder)
    assert (status, output) == (2, "")
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_shards_end_to_end(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    files = sorted(digits_folder(tmp_path / "mine", classes="0123").rglob("*.jpg"))
    table = {"image": [{"bytes": p.read_bytes(), "path": None} for p in files], "label": [int(p.parent.name) for p in files]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("0123"))})
    (tmp_path / "shards").mkdir()
    for part in range(2):
        rows = {key: values[part::2] for key, values in table.items()}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "shards" / f"train-{part}.parquet")
    status, output, _ = call("train", tmp_path / "shards", "--epochs", 4, "--output", tmp_path / "run", "--json", "--no-report")
    assert status == 0
    done = objects(output)[-1]
    assert done["num_images"] < 48
    status, output, _ = call("evaluate", tmp_path / "run", "--data", tmp_path / "mine", "--json")
    assert objects(output)[0]["num_images"] == 48
    status, output, _ = call("evaluate", tmp_path / "run", "--data", tmp_path / "shards", "--json")
    assert objects(output)[0]["num_images"] == 48


def test_data_sets_by_name(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, output, _ = call("data", "list", "--json")
    assert {"cifar10", "cifar100", "imagenet"} <= {row["name"] for row in objects(output)}
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path / "cache"))
    status, _, errors = call("data", "get", "cifar10")
    assert status == 2
    assert "cifar-10-python.tar.gz" in errors
    for split in ("train", "val"):
        (tmp_path / "inet" / split / "n01440764").mkdir(parents=True)
    status, output, _ = call("data", "get", "imagenet", "--folder", tmp_path / "inet")
    assert (status, output.strip()) == (0, str(tmp_path / "inet"))
    assert call("data", "get", "imagenet")[0] == 2
