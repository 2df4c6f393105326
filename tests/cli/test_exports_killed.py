"""Commands that write networks for other runtimes, killed at moments of their life or out of space: what is there is whole, or nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

sys.path.append(str(Path(__file__).parent.parent))

from kill_moments import killed_at

import resnets
from resnets.cli import main
from resnets.data.datasets.catalogue import load
from resnets.deployment.export import export_model
from resnets.training.run import Run

QUANTIZE = ("--calibration", "16", "--limit", "40", "--max-drop", "100", "--format")

OPENS = """
import json, sys, torch
from resnets.deployment.engines import open_engine
for path in sys.argv[2:]:
    try:
        found = open_engine(path, threads=1).outputs(torch.load(sys.argv[1]))[0].tolist()
    except (ValueError, OSError) as error:
        found = f"{type(error).__name__}: {error}"
    print(json.dumps(found))
"""
"""What each file gives for the inputs, or why it is refused: in a process that knows nothing of those before it."""


def inputs() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def command(*words: object) -> int:
    return main([str(word) for word in words])


def opened(paths: list[Path], folder: Path) -> list[torch.Tensor | str]:
    torch.save(inputs(), folder / "inputs")
    words = [sys.executable, "-c", OPENS, str(folder / "inputs"), *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", '"'))]
    assert len(found) == len(paths), done.stdout
    return [each if isinstance(each, str) else torch.tensor(each) for each in found]


@pytest.mark.parametrize("verb", ["quantize", "export"])
@pytest.mark.parametrize(("name", "ending"), [("openvino", ".xml"), ("onnx", ".onnx")])
def test_networks_killed_at_several_moments_are_whole(small_run: Run, tmp_path: Path, verb: str, name: str, ending: str) -> None:
    """Where nothing was: nothing, or all of the new. Where another network was: that one or the new one, or, between two files, none."""
    pytest.importorskip("openvino" if name == "openvino" else "onnxruntime")
    pytest.importorskip("nncf" if name == "openvino" else "onnx")
    other = resnets.load_model(small_run.model_path)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(-1.5)
    (tmp_path / "old").mkdir()
    export_model(other, tmp_path / "old" / f"net{ending}", format=name)  # type: ignore[arg-type]
    (tmp_path / "whole").mkdir()
    settings = (*QUANTIZE, name) if verb == "quantize" else ("--format", name)

    def written(folder: Path) -> None:
        assert command(verb, small_run.model_path, "--output", folder / f"net{ending}", *settings) == 0

    written(tmp_path / "whole")
    wanted = {path.name for folder in ("old", "whole") for path in (tmp_path / folder).iterdir()}
    killed: list[tuple[Path, bool]] = []
    for number in range(1, 60):
        before = len(killed)
        for empty in (False, True) if verb == "export" else (number % 2 == 0,):  # a quantization takes longer: in turns
            folder = tmp_path / f"killed-{number}-{'nothing' if empty else 'another'}"
            if empty:
                folder.mkdir()
            else:
                shutil.copytree(tmp_path / "old", folder)
            if killed_at(number, lambda folder=folder: written(folder)):  # type: ignore[misc]
                killed.append((folder, empty))
        if len(killed) == before:
            break
    assert len(killed) >= 8
    paths = [tmp_path / "old" / f"net{ending}", tmp_path / "whole" / f"net{ending}"]
    old, new, *found = opened([*paths, *(folder / f"net{ending}" for folder, _ in killed)], tmp_path)
    assert isinstance(old, torch.Tensor)
    assert isinstance(new, torch.Tensor)
    assert (old - new).abs().max() > 0.1
    seen = set()
    for (folder, empty), result in zip(killed, found, strict=True):
        if isinstance(result, str):
            seen.add("none")
            assert result.startswith(("UserError: ", "FileNotFoundError: ")), (folder.name, result)
        elif torch.allclose(result, new, rtol=1e-3, atol=1e-3):
            seen.add("new")
        else:
            seen.add("old")
            assert not empty, folder.name
            torch.testing.assert_close(result, old, rtol=1e-3, atol=1e-3, msg=f"{folder.name} is of two networks")
    assert seen >= {"old", "none"}
    written(killed[-1][0])
    assert {path.name for path in killed[-1][0].iterdir()} <= wanted, "leftovers of dead processes are cleared away"


LIMITED = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); from resnets.cli import main; sys.exit(main({1!r}))"


@pytest.mark.parametrize(
    "words",
    [
        ("export", "--format", "torch-export", "--output", "net.pt2"),
        ("export", "--format", "onnx", "--output", "net.onnx"),
        ("export", "--format", "openvino", "--output", "net.xml"),
        ("quantize", "--output", "int8.onnx", *QUANTIZE, "onnx"),
        ("predict", "--output", "out.parquet"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_a_full_disk_ends_in_one_sentence_and_leaves_what_was_there(
    small_run: Run, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}.get(
        words[2], ("pyarrow",) if words[0] == "predict" else ()
    )
    for package in needed:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    name, *rest = words
    arguments = [name, str(small_run.model_path), *rest]
    output = Path(rest[rest.index("--output") + 1])
    if name == "predict":
        digits = load("digits", "test")
        for number in range(8):
            PIL.Image.fromarray(np.asarray(digits.images[number, 0])).save(f"{number}.png")
        arguments += [f"{number}.png" for number in range(8)]
    before = {path: path.read_bytes() for path in Path().iterdir()}
    limit = 200 if name == "predict" else 3_000
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(limit, arguments)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("resnets: "), done.stderr
    assert not output.exists()
    whole = {path: path.read_bytes() for path in Path().iterdir() if path.suffix not in (".lock", ".parts") and not path.is_dir()}
    assert whole == before
