"""A model file may be given to anybody: it tells no folder of the machine that trained, and still finds its data from its run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resnets.classification.recipe import Recipe
from resnets.cli import main
from resnets.tasks import read_recipe, train
from resnets.training.published import known_place, published, recipe_behind
from resnets.training.run import Run
from resnets.weights.model_file import read_header

sys.path.append(str(Path(__file__).parent.parent / "data"))

from broken_images import digits_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("home-of-anna")
    digits_folder(place / "letters", per_class=6)
    recipe = Recipe(
        data=str(place / "letters"), holdout=0.2, network="cifar-resnet8", epochs=1, batch_size=20, image_size=32, report=False,
        output=place / "run", threads=1, cache_folder=place / "cache", precision="fp32",
    )  # fmt: skip
    return train(recipe, ())


def test_a_model_file_names_no_folder(run: Run) -> None:
    header = " ".join(read_header(run.model_path).values())
    assert "home-of-anna" not in header
    assert '".../letters"' in header
    assert "home-of-anna" in (run.directory / "recipe.yaml").read_text()


def test_a_run_still_finds_its_data(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run.directory)]) == 0
    assert "letters val" in (said := capsys.readouterr().out)
    assert "of 12 images" in said, "the fifth of 60 that the run held out"
    assert main(["evaluate", str(run.model_path), "--json"]) == 0


def test_a_file_that_left_its_run_says_what_it_was_trained_on(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lone = Path(shutil.copy(run.model_path, tmp_path / "model.safetensors"))
    assert main(["evaluate", str(lone)]) == 2
    assert "was trained on 'letters' and does not tell in which folder; name it with --data" in capsys.readouterr().err
    assert main(["evaluate", str(lone), "--data", str(run.directory.parent / "letters")]) == 0
    # Beside the recipe of another run it is not mistaken for that one's.
    other = (run.directory / "recipe.yaml").read_text().replace("epochs: 1", "epochs: 7")
    (tmp_path / "recipe.yaml").write_text(other)
    assert main(["evaluate", str(lone)]) == 2


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / "recipe.yaml").write_text("[1, 2]")])
def test_what_is_no_recipe_changes_nothing(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path)
    stated = {"data": ".../photos", "epochs": 3}
    assert recipe_behind(tmp_path / "model.safetensors", stated) == stated
    with pytest.raises(ValueError, match="was trained on 'photos'"):
        known_place(".../photos", tmp_path)


def test_names_stay_and_relative_paths_lose_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clients" / "acme" / "scans").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    assert published(Recipe(data="clients/acme/scans"))["data"] == ".../scans"
    assert published(Recipe(data="~/photos"))["data"] == ".../photos"
    for name in ("fashion-mnist", "hf:owner/name", "photos"):  # names, and a folder that no other leads to
        assert published(Recipe(data=name))["data"] == name
    assert published(Recipe(data="digits", weights="timm/resnet18.a1_in1k"))["weights"] == "timm/resnet18.a1_in1k"


def test_a_run_of_a_relative_path_still_finds_its_data(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From any folder the recipe beside the model is known as its own; where its data is, is known from one of them."""
    shutil.copytree(run.directory.parent / "letters", tmp_path / "of-anna" / "letters")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe(run.directory / "recipe.yaml").updated(data="of-anna/letters", output=tmp_path / "again")
    again = train(recipe, ())
    assert "of-anna" not in " ".join(read_header(again.model_path).values())
    assert main(["evaluate", "again"]) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    stated = published(recipe) | {"data": ".../letters"}
    assert recipe_behind(again.model_path, stated)["data"] == "of-anna/letters"
    capsys.readouterr()
    assert main(["evaluate", str(again.model_path)]) == 2
    assert "of-anna/letters" in capsys.readouterr().err
