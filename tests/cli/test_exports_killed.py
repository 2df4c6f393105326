"""Commands that write networks for other runtimes, killed at moments of their life or out of space: what is there is whole, or nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

sys.path.append(str(Path(__file__).parent.parent))

from kill_moments import killed_at

from resnets.cli import main
from resnets.data.datasets.catalogue import load
from resnets.deployment.engines import open_engine
from resnets.training.run import Run

QUANTIZE = ("--calibration", "16", "--limit", "40", "--max-drop", "100", "--format")


OPENS = """
import torch
from resnets.deployment.engines import open_engine
engine = open_engine({0!r}, threads=1)
torch.save(engine.outputs(torch.load({1!r}))[0], {2!r})
"""


def inputs() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def command(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize(("name", "ending"), [("openvino", ".xml"), ("onnx", ".onnx")])
def test_quantize_killed_at_several_moments_leaves_the_old_or_the_new(
    small_run: Run, tmp_path: Path, name: str, ending: str
) -> None:
    """A graph of before with its own weights, or the new one with its own; a further call ends well."""
    pytest.importorskip("openvino" if name == "openvino" else "onnxruntime")
    pytest.importorskip("nncf" if name == "openvino" else "onnx")
    output = tmp_path / f"net{ending}"
    words = ("quantize", small_run.model_path, "--output", output, *QUANTIZE, name)
    assert command(*words) == 0
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    logits = open_engine(output, threads=1).outputs(inputs())[0]
    kills = 0
    for number in (1, 2, 3, 4, 6, 8, 11, 15, 20):
        if not killed_at(number, lambda: command(*words)):
            break
        kills += 1
        # In a process of its own, as the next command is: it sees what the dead one left.
        program = OPENS.format(str(output), str(tmp_path / "in"), str(tmp_path / "out"))
        torch.save(inputs(), tmp_path / "in")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            torch.testing.assert_close(torch.load(tmp_path / "out"), logits, rtol=1e-3, atol=1e-3)
        else:  # between the two files of a pair: said, and never another network's numbers
            assert "UserError" in done.stderr or "FileNotFoundError" in done.stderr, done.stderr
    assert kills >= 3
    assert command(*words) == 0
    names = {path.name for path in tmp_path.iterdir()} - {"in", "out"}
    assert names == whole.keys(), "leftovers of dead processes are cleared away"


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
