"""Nothing is lost: kills, damaged checkpoints, full disks and diverging runs."""

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import resnets
from resnets.classification.recipe import Recipe
from resnets.cli import main
from resnets.tasks import open_session, prove, resume, train
from resnets.training import run as run_module
from resnets.training.black_box import replay
from resnets.training.checkpoint import fingerprint, load_checkpoint, previous
from resnets.training.engine.step import Diverged
from resnets.training.run import RunDirectory

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import kills

QUICK = {"log_every": 1, "max_steps": 12, "epochs": 1, "checkpoint_steps": 4, "evaluation__every": 0, "report": False}


def losses(run: Path) -> list[tuple[int, float]]:
    return [(event["step"], event["loss"]) for event in RunDirectory(run).events() if event["event"] == "step"]


def flip_a_bit(path: Path, share: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 16
    path.write_bytes(content)


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path: Path) -> None:
    """`benchmarks/kills.py` does it a thousand times, over every task and way of loading."""
    data = kills.make_data(tmp_path / "data")
    found = kills.harass(kills.CELLS[0], data["classify"], 6, tmp_path / "runs", seed=1)
    assert found["kills"] >= 6
    assert found["half_written"] >= 1
    assert found["equal"] == found["runs"] >= 1, found["differing"]


def test_the_checkpoint_before_is_kept(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = small_recipe.updated(**QUICK, output=tmp_path / "run")
    train(recipe)
    session = open_session(recipe, lambda message: None)
    newest = RunDirectory(tmp_path / "run").checkpoint
    assert load_checkpoint(newest, session).step == 12
    assert load_checkpoint(previous(newest), session).step == 12  # the last one is written at step 12 and again at the end
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "recipe.yaml", "metrics.jsonl", "checkpoint.pt", "checkpoint-previous.pt", "model.safetensors", "best.safetensors",
        "data.json.gz", "environment.json",
    }  # fmt: skip


class Killed(Exception):
    """Stands for a SIGKILL: nothing of the run's own code runs after it."""


def stopped(recipe: Recipe, step: int) -> None:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] in ("step", "progress") and event["step"] == step:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, [listen])


@pytest.mark.parametrize("damage", ["cut short", "a bit", "gone", "compression"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(small_recipe: Recipe, tmp_path: Path, damage: str) -> None:
    recipe = small_recipe.updated(**QUICK)
    train(recipe.updated(output=tmp_path / "whole"))
    stopped(recipe.updated(output=tmp_path / "parts"), 10)
    checkpoint = RunDirectory(tmp_path / "parts").checkpoint
    if damage == "cut short":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-2000])
    elif damage == "a bit":
        flip_a_bit(checkpoint)
    elif damage == "compression":  # the list of members says that one is compressed, which it is not
        content = bytearray(checkpoint.read_bytes())
        content[content.index(b"PK\x01\x02") + 10] = 8
        checkpoint.write_bytes(content)
    else:
        checkpoint.unlink()
    said: list[str] = []
    resume(tmp_path / "parts", [lambda event: said.append(event.get("message", ""))])
    assert any("going on from the previous one, checkpoint-previous.pt, after step 4" in message for message in said)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_with_both_checkpoints_damaged_the_run_stops_and_says_so(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = small_recipe.updated(**QUICK, output=tmp_path / "run")
    stopped(recipe, 10)
    checkpoint = RunDirectory(tmp_path / "run").checkpoint
    flip_a_bit(checkpoint)
    flip_a_bit(previous(checkpoint))
    with pytest.raises(ValueError, match=r"checkpoint-previous\.pt is damaged"):
        resume(tmp_path / "run")


def test_a_run_stopped_before_its_first_checkpoint_begins_again(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = small_recipe.updated(**QUICK)
    train(recipe.updated(output=tmp_path / "whole"))
    stopped(recipe.updated(output=tmp_path / "parts"), 2)
    (tmp_path / "parts" / ".checkpoint.pt.abc.part").write_bytes(b"half")
    resume(tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert not list((tmp_path / "parts").glob(".*.part"))


def test_training_survives_a_disk_that_is_full_for_a_while(
    small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = run_module.save_checkpoint, []

    def save(path: Path, *rest: Any) -> None:
        tried.append(path)
        if len(tried) == 2:
            raise OSError(errno.ENOSPC, f"could not write {path}: No space left on device; nothing was changed")
        real(path, *rest)

    monkeypatch.setattr(run_module, "save_checkpoint", save)
    said: list[str] = []
    recipe = small_recipe.updated(**QUICK, output=tmp_path / "run")
    done = train(recipe, [lambda event: said.append(event.get("message", ""))])
    assert len(tried) == 4
    assert any("No space left on device" in message and "training goes on" in message for message in said)
    assert done.model_path.is_file()


def test_a_proof_holds_and_can_fail(small_recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    stopped(small_recipe.updated(**QUICK, output=run, averaging={"decay": 0.9}), 10)
    proof = prove(run, 3, lambda message: None)
    assert proof.holds
    assert (proof.begun, proof.checkpoint, proof.end) == (4, 8, 11)
    assert proof.continued[0] != proof.continued[1]
    assert main(["train", "--resume", str(run), "--prove"]) == 0
    assert "the same bits" in capsys.readouterr().out
    # One weight of the newest checkpoint changed, with a checksum that fits: the paths must now differ.
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    content["network"]["conv1.conv.weight"].view(-1)[0] += 1e-6
    torch.save(content, run / "checkpoint.pt")
    assert not prove(run, 3, lambda message: None).holds
    assert main(["train", "--resume", str(run), "--prove"]) == 1


DIVERGING = {"optimizer": {"learning_rate": 1e6}, "schedule": {"kind": "constant", "warmup": 0.0}, "precision": "fp32"}


def test_a_diverging_run_leaves_a_black_box_from_which_the_step_can_be_seen_again(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = small_recipe.updated(**{**QUICK, "max_steps": None}, **DIVERGING, network="cifar-plain8", output=tmp_path / "run")
    with pytest.raises(Diverged, match=r"at step \d+.*the first value that is not finite is in .*black-box\.json") as caught:
        train(recipe)
    story = json.loads((tmp_path / "run" / "black-box.json").read_text())
    assert story["step"] == caught.value.step
    assert len(story["indices"]) == 64
    assert story["learning_rates"] == [1e6, 1e6]
    assert story["first_non_finite"]["where"] in ("the output", "the loss", "the gradient")
    assert {"layer", "largest", "non_finite"} <= story["layers"][0].keys()
    session = open_session(recipe, lambda message: None)
    again = replay(tmp_path / "run", session)
    assert (again.step, again.indices, again.first_non_finite) == (story["step"], story["indices"], story["first_non_finite"])
    assert all(bool(torch.isfinite(p).all()) for p in session.network.parameters()), "the weights are those before the step"


def test_the_black_box_names_the_layer(small_recipe: Recipe, tmp_path: Path) -> None:
    """A weight that is not a number, planted in one layer, is found there; a huge one in the layer that it overflows."""
    from resnets.training.black_box import open_black_box

    session = open_session(small_recipe.updated(**QUICK, precision="fp32"), lambda message: None)
    before = fingerprint(session)
    assert open_black_box(session, 1).first_non_finite is None
    layer = dict(session.network.named_modules())["conv3_x.0.residual"]
    name, weight = next((n, p) for n, p in layer.named_parameters() if p.dim() == 4)
    with torch.no_grad():
        weight.fill_(3e38)
    first = open_black_box(session, 1).first_non_finite
    assert first is not None
    assert first["where"] == "the output"
    assert first["layer"] == f"conv3_x.0.residual.{name.removesuffix('.weight')}"
    assert first["kind"] == "Conv2d"
    with torch.no_grad():
        weight[0, 0, 0, 0] = float("nan")
    first = open_black_box(session, 1).first_non_finite
    assert first is not None
    assert (first["where"], first["layer"]) == ("a weight", f"conv3_x.0.residual.{name.removesuffix('.weight')}")
    assert before != fingerprint(session)


def test_a_replay_through_the_command(small_recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with pytest.raises(Diverged):
        train(small_recipe.updated(**{**QUICK, "max_steps": None}, **DIVERGING, network="cifar-plain8", output=run))
    assert main(["train", "--resume", str(run), "--replay"]) == 1
    shown = capsys.readouterr().out
    assert "the first value that is not finite" in shown
    assert "conv2_x.0.residual" in shown
    stopped(small_recipe.updated(**QUICK, output=tmp_path / "sound"), 5)
    assert main(["train", "--resume", str(tmp_path / "sound"), "--replay"]) == 2


def test_resuming_under_another_network_is_still_refused(small_recipe: Recipe, tmp_path: Path) -> None:
    stopped(small_recipe.updated(**QUICK, output=tmp_path / "run"), 10)
    (tmp_path / "run" / "recipe.yaml").write_text(small_recipe.updated(**QUICK, network="cifar-resnet14").to_yaml())
    with pytest.raises(ValueError, match="another network"):
        resume(tmp_path / "run")


def test_models_written_by_a_killed_and_resumed_run_load(small_recipe: Recipe, tmp_path: Path) -> None:
    stopped(small_recipe.updated(**QUICK, output=tmp_path / "run"), 10)
    done = resume(tmp_path / "run")
    assert resnets.load_model(done.model_path).classes == done.classes
