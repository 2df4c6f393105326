"""The command line's words: any order, the names that people type, typing errors, help of one screen, completion."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from resnets.classification.recipe import Recipe
from resnets.cli import COMMANDS
from resnets.cli.commands.completion import parser
from resnets.cli.commands.evaluate import COMMAND as EVALUATE
from resnets.cli.commands.train import COMMAND as TRAIN
from resnets.cli.options import twin
from resnets.cli.words import options_of, scan
from resnets.core.errors import UserError

Call = Callable[..., tuple[int, str, str]]
OPTIONS = list(TRAIN.leaves()["train"])
QUICK = ("--network", "cifar-resnet8", "--max-steps", 2, "--no-report", "--json")


@pytest.mark.parametrize(
    ("line", "positional", "options"),
    [
        ("digits --epochs 2", ["digits"], {"epochs": ["2"]}),
        ("--epochs 2 digits", ["digits"], {"epochs": ["2"]}),
        ("--epochs=2 --json digits", ["digits"], {"epochs": ["2"], "json": []}),
        ("--lr 0.1 digits", ["digits"], {"optimizer.learning-rate": ["0.1"]}),
        ("--learning_rate 0.1 digits", ["digits"], {"optimizer.learning-rate": ["0.1"]}),
        ("digits --batch 8 -o run", ["digits"], {"batch-size": ["8"], "output": ["run"]}),
        ("digits --model resnet18 --imgsz 64", ["digits"], {"network": ["resnet18"], "image-size": ["64"]}),
        ("digits --clip-norm -1", ["digits"], {"clip-norm": ["-1"]}),
        ("--schedule.milestones 0.5 0.75 --seed 1 digits", ["digits"], {"schedule.milestones": ["0.5", "0.75"], "seed": ["1"]}),
        ("--resume run --prove", [], {"resume": ["run"], "prove": ["10"]}),
        ("--resume run --prove 3 --json", [], {"resume": ["run"], "prove": ["3"], "json": []}),
    ],
)
def test_words_in_any_order_and_by_the_names_that_people_type(
    line: str, positional: list[str], options: dict[str, list[str]]
) -> None:
    words = scan(line.split(), OPTIONS, "train")
    assert (words.positional, words.options) == (positional, options)
    assert scan(words.line(), OPTIONS, "train") == words


def test_flags_are_switched_off_by_no_or_by_a_value() -> None:
    for line in ("--no-drop-last", "--drop-last=false", "--no_drop_last"):
        assert scan([line], OPTIONS, "train").line() == ["--no-drop-last"]
    assert scan(["--evaluation.no-flips"], OPTIONS, "train").line() == ["--evaluation.no-flips"]
    assert scan(["--drop-last"], OPTIONS, "train").line() == ["--drop-last"]


def test_an_option_that_may_have_no_value_swallows_no_other_word() -> None:
    options = EVALUATE.leaves()["evaluate"]
    words = scan(["--flips", "runs/a", "--sizes", "48", "64", "--json"], options, "evaluate")
    assert words.positional == ["runs/a"]
    assert words.options == {"flips": ["True"], "sizes": ["48", "64"], "json": []}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("digits --procesess 2", "did you mean --processes?"),
        ("digits --optimiser.name sgd", "did you mean --optimizer.name?"),
        ("digits --pretrained", "--pretrained needs a value after it (--pretrained is --weights here)"),
        ("digits --epochs", "--epochs needs a value after it, such as --epochs INT"),
        ("digits --zzzzzzz", "resnets train has no option --zzzzzzz; resnets train --help lists them"),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(line: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        scan(line.split(), OPTIONS, "train")
    assert message in str(error.value)


def test_every_field_of_a_recipe_is_an_option_with_help() -> None:
    fields = list(options_of(twin(Recipe())))
    assert {"epochs", "optimizer.betas", "augmentation.crop.area", "evaluation.image-size"} <= {option.name for option in fields}
    assert all(option.help for option in fields)
    for name in COMMANDS:
        for option in next(iter(_command(name).leaves().values())):
            assert option.help, f"{name} --{option.name}"


def _command(name: str) -> object:
    from importlib import import_module

    return import_module(f"resnets.cli.commands.{name}").COMMAND  # type: ignore[no-any-return]


def test_help_fits_a_screen_and_help_all_has_the_rest(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    status, short, _ = call("train", "--help")
    assert status == 0
    assert len(short.splitlines()) <= 32
    assert all(f"--{name}" in short for name in ("epochs", "batch-size", "weights", "lr", "resume", "processes", "help-all"))
    assert "fashion-mnist" in short
    status, everything, _ = call("train", "digits", "--help-all")
    assert status == 0
    assert all(
        f"--{option.name}" in everything or f"no-{option.name.rpartition('.')[2]}" in everything
        for option in options_of(twin(Recipe()))
    )
    assert "\naugmentation.crop:" in everything
    assert "imagenet-a3" in everything
    assert "--detector" in call("train", "fashion-scenes-c4", "--help")[1]


def test_a_wrong_value_is_one_sentence_with_what_is_wanted(call: Call, in_folder: Path) -> None:
    for words, message in (
        (("train", "digits", "--epochs", "many"), "--epochs takes a whole number, not 'many'"),
        (("train", "digits", "--precision", "fp8"), "--precision takes auto, fp32, bf16, not 'fp8'"),
        (("predict", "m", "x.png", "--top", "1.5"), "--top takes a whole number, not '1.5'"),
        (("predict",), "resnets predict needs MODEL"),
        (("export", "resnet18"), "resnets export needs --format onnx|openvino|torch-export"),
        (("models", "a", "b", "c"), "does not know what to do with 'b'"),
        (("train", "digits", "fashion-mnist"), "does not know what to do with 'fashion-mnist'"),
        (("--json", "train", "digits", "--prove"), "--prove goes with --resume RUN"),
        (("--jsn", "x"), "there is no command '--jsn'"),
        (("train", "digits", "--schedule.milestones"), "--schedule.milestones needs a value after it"),
        (("train", "digits", "--detector", "resnet50-fpn"), "--detector is an option of detection, but this is classification"),
        (
            ("train", "fashion-scenes-c4", "--task", "segmentation"),
            "'fashion-scenes-c4' is a recipe of detection, not of segmentation",
        ),
    ):
        status, output, errors = call(*words)
        assert (status, output) == (2, ""), words
        assert message in errors, errors
        assert len(errors.splitlines()) == 1


def test_the_task_follows_from_the_data_and_is_said_with_its_reason(call: Call, in_folder: Path, shape_scenes: Path) -> None:
    tiny = "cifar-resnet8-c4:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],min_size=64,max_size=64,anchor_sizes=[[20]],roi_size=7"
    status, output, errors = call("train", "--max-steps", 1, shape_scenes, "--model", tiny, "--workers", 0, "--output", "run")
    assert status == 0, errors
    assert "task: detection (boxes in COCO's layout)" in errors
    assert "COCO AP" in output
    image = shape_scenes / "val2017/1.png"
    status, output, errors = call("predict", "run", image, "--score", 0, "--json")
    assert status == 0, errors
    assert "objects" in json.loads(output.splitlines()[-1])
    status, output, errors = call("evaluate", "run", "--json")
    assert status == 0, errors
    assert {"ap", "voc12"} <= json.loads(output).keys()
    for words, message in (
        (("predict", "run", image, "--top", 3), "--top is for classification, but run/model.safetensors is a detector"),
        (("predict", "run", image, "--output", "a.parquet"), "a Parquet file is for classifiers"),
        (("segment", "predict", "run", image), "is a detector, not a segmenter; use it with resnets predict"),
        (("segment", "train", "--resume", "run"), "run is a run of `resnets detect train`; use that command"),
        (("train", "--recipe", "run/recipe.yaml", "--task", "classification"), "was written for `resnets detect train`"),
    ):
        status, _, errors = call(*words)
        assert status == 2, words
        assert message in errors, errors
    status, _, errors = call("train", shape_scenes, "--task", "segmentation", "--help")
    assert status == 0
    status, output, errors = call("train", "--resume", "run")
    assert status == 0, errors


def test_a_recipe_and_a_folder_of_one_name_are_both_named(call: Call, in_folder: Path) -> None:
    Path("digits/a").mkdir(parents=True)
    status, _, errors = call("train", "digits")
    assert status == 2
    assert "'digits' is a recipe and a folder here; write ./digits for the folder" in errors


def test_data_is_taken_for_the_folder_that_it_names(call: Call, in_folder: Path) -> None:
    status, _, errors = call("train", "--data", "./nowhere", *QUICK)
    assert status == 2
    assert "nowhere" in errors


def test_completion_knows_every_command_and_the_shells_read_it(call: Call, tmp_path: Path) -> None:
    assert parser().prog == "resnets"
    for shell in ("bash", "zsh", "fish"):
        status, script, _ = call("completion", shell)
        assert status == 0
        assert "optimizer.learning-rate" in script
        assert "fashion-scenes-c4" in script
        assert all(name in script for name in COMMANDS)
        if (program := shutil.which(shell)) is not None:
            (tmp_path / shell).write_text(script)
            assert subprocess.run([program, "-n", tmp_path / shell], check=False).returncode == 0
    status, _, errors = call("completion", "tcsh")
    assert status == 2
    assert "bash, zsh, fish" in errors
