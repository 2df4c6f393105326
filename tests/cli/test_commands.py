"""Every command, as a person calls it: what it prints, where, and its exit status."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from resnets.cli import COMMANDS, main
from resnets.data.datasets.catalogue import load
from resnets.training.run import Run

Call = Callable[..., tuple[int, str, str]]


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_help_names_every_command(call: Call) -> None:
    status, output, _ = call("--help")
    assert status == 0
    assert all(f"\n  {name} " in output for name in COMMANDS)
    for name in COMMANDS:
        status, output, _ = call(name, "--help")
        assert status == 0, name
        assert f"resnets {name}" in output


def test_the_installed_command_imports_no_torch_for_help() -> None:
    program = (
        "import sys; from resnets.cli import main; main(['--help']); sys.exit('torch' in sys.modules or 'tyro' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
    listing = "import sys; from resnets.cli import main; main(['models']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", listing], capture_output=True, check=False).returncode == 0


def test_the_entry_point_is_installed() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "resnets", "models", "resnet18"], capture_output=True, text=True, check=True
    )
    assert "11.7 M" in done.stdout


def test_train_digits_end_to_end(call: Call, in_folder: Path) -> None:
    status, output, errors = call("train", "digits", "--network", "cifar-resnet8", "--epochs", 2)
    assert status == 0
    assert "accuracy " in output
    assert "runs/digits-1/model.safetensors" in output
    assert "epoch 2" in errors
    status, output, _ = call("evaluate", "runs/digits-1", "--json")
    evaluated = objects(output)[0]
    assert {"top1", "top5", "loss", "num_images", "per_class"} <= evaluated.keys()
    logged = [json.loads(line) for line in Path("runs/digits-1/metrics.jsonl").read_text().splitlines()]
    assert evaluated["top1"] == logged[-1]["top1"]


def test_train_json_is_one_object_a_line_ending_with_done(call: Call, in_folder: Path) -> None:
    status, output, _ = call(
        "train", "digits", "--network", "cifar-resnet8", "--epochs", 1, "--json", "--no-report", "--log-every", 5
    )
    lines = objects(output)
    assert status == 0
    assert {"start", "step", "evaluation", "done"} == {line["event"] for line in lines if line["event"] != "message"}
    assert {"top1", "training_seconds", "images_per_second", "directory", "model_path"} <= lines[-1].keys()
    assert not (Path(lines[-1]["directory"]) / "report.html").exists()


def test_a_saved_recipe_repeats_the_run(call: Call, small_run: Run, in_folder: Path) -> None:
    status, output, _ = call("train", "--recipe", small_run.directory / "recipe.yaml", "--json")
    done = objects(output)[-1]
    assert status == 0
    assert done["directory"] == "runs/digits-1"
    assert done["top1"] == small_run.metrics["top1"]
    assert done["loss"] == small_run.metrics["loss"]


def test_evaluate_prints_tables_and_draws(call: Call, small_run: Run, in_folder: Path) -> None:
    status, output, _ = call("evaluate", small_run.directory, "--plot", "confusion.png")
    assert status == 0
    assert "digits test: accuracy" in output
    assert "true \\ predicted" in output
    with PIL.Image.open("confusion.png") as image:
        assert image.width > 400
    status, _, errors = call("evaluate", small_run.directory, "--plot", "confusion.doc")
    assert status == 2
    assert ".png, .svg or .pdf" in errors


def test_predict(call: Call, small_run: Run, in_folder: Path) -> None:
    digits = load("digits", "test")
    for i in range(3):
        PIL.Image.fromarray(digits.images[i, 0].numpy()).save(f"{i}.png")
    status, output, _ = call("predict", small_run.directory, "0.png", "1.png", "2.png", "--top", 2)
    assert status == 0
    assert [line.split()[0] for line in output.splitlines()] == ["0.png", "1.png", "2.png"]
    status, output, _ = call("predict", small_run.model_path, ".", "--json", "--top", 3)
    predictions = objects(output)
    assert status == 0
    assert all(len(p["top"]) == 3 and p["label"] == p["top"][0]["label"] for p in predictions)


def test_a_text_file_named_png_is_counted(call: Call, small_run: Run, in_folder: Path) -> None:
    PIL.Image.new("L", (8, 8)).save("good.png")
    Path("bad.png").write_text("no image")
    status, output, errors = call("predict", small_run.directory, "bad.png", "good.png")
    assert status == 1
    assert output.startswith("good.png")
    assert "skipped bad.png: not an image" in errors
    assert "1 of 2 images could not be read" in errors
    status, output, _ = call("predict", small_run.directory, "bad.png", "good.png", "--json")
    assert status == 1
    assert objects(output)[0].keys() == {"path", "error"}


def test_models(call: Call) -> None:
    status, output, _ = call("models", "--json")
    rows = {row["name"]: row for row in objects(output)}
    assert status == 0
    assert rows["resnet50"] == {
        "name": "resnet50", "parameters": 25_557_032, "macs": 4_089_184_256, "input_size": 224, "paper": "He 2015 (1512.03385)",
    }  # fmt: skip
    _, output, _ = call("models", "cifar-*")
    assert "cifar-resnet1202" in output
    assert "resnet152" not in output
    _, output, _ = call("models", "wrn-10-2", "--json")  # of a family, no row
    assert objects(output)[0]["name"] == "wrn-10-2"


def test_describe(call: Call) -> None:
    status, output, _ = call("describe", "resnet50")
    assert status == 0
    assert "25,557,032" in output
    assert all(name in output for name in ("conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x", "head"))
    _, output, _ = call("describe", "resnet18", "--input-size", 96, "--json")
    described = objects(output)[0]
    assert [stage["output"] for stage in described["stages"]][-2:] == [[512, 3, 3], [1000]]
    assert described["macs"] == sum(stage["macs"] for stage in described["stages"])
    _, output, _ = call("describe", "cifar-resnet20:width=32,shortcut=B")
    assert "32×32×32" in output


def test_data(call: Call) -> None:
    status, output, _ = call("data", "list", "--json")
    assert status == 0
    assert {"fashion-mnist", "digits"} <= {row["name"] for row in objects(output)}
    status, output, _ = call("data", "get", "digits", "--json")
    assert status == 0
    assert Path(objects(output)[0]["path"]).is_dir()
    assert call("data")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean train"),
        (["train"], "name what to train: resnets train fashion-mnist"),
        (["train", "digitz"], "did you mean 'digits'"),
        (["train", "digits", "--lerning-rate", "1"], "did you mean --optimizer.learning-rate"),
        (["train", "digits", "--network", "cifar-resnet21"], "6n + 2"),
        (["train", "digits", "--network", "resnet18:widht=3"], "did you mean 'width'"),
        (["train", "digits", "--data", "fashion-minst"], "did you mean 'fashion-mnist'"),
        (["train", "digits", "--device", "cuda:99"], "device 'cuda:99' is not available"),
        (["train", "digits", "--epochs", "0"], "epochs"),
        (["train", "digits", "--network", "resnet18:stem=inception-v4"], "8 x 8"),
        (["train", "--resume", "absent"], "absent is no run directory"),
        (["train", "--resume"], "--resume needs a value after it, such as --resume PATH"),
        (["train", "--resume", "x", "--epochs", "3"], "takes no other options"),
        (["train", "--recipe", "absent.yaml"], "absent.yaml"),
        (["evaluate", "absent"], "no run directory or model file absent"),
        (["evaluate", "."], "holds no model.safetensors"),
        (["predict", "absent", "x.png"], "no run directory or model file absent"),
        (["models", "resnt*"], "no network's name matches"),
        (["describe", "resnt50"], "did you mean resnet50"),
        (["describe", "resnet50", "--input-size", "0"], "--input-size"),
        (["data", "get", "mnist"], "no dataset 'mnist'"),
        (["data", "put"], "there are list, get, make, check"),
    ],
)
def test_wrong_requests_get_one_clear_sentence(call: Call, in_folder: Path, arguments: list[str], message: str) -> None:
    status, output, errors = call(*arguments)
    assert status == 2
    assert message in errors
    assert output == ""
    assert errors.startswith("resnets: ")
    assert len(errors.splitlines()) == 1
    assert list(in_folder.iterdir()) == []  # nothing half made


def test_debug_shows_where(in_folder: Path) -> None:
    with pytest.raises(ValueError, match="digitz"):
        main(["train", "digitz", "--debug"])
